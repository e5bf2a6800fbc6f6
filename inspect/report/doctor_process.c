/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor on what is around the heap: memory that is not malloc's, swap, and the limit at which
 * the kernel ends the process.
 *
 * Who else maps memory is guessed from the files that are mapped, and only named as a place to
 * look.
 */
#include "report/doctor.h"

static const struct doctor_rule rules[] = {
    {
        .kind = "cgroup",
        .rank = DOCTOR_URGENT,
        .needs = NEED(CGROUP),
        .query = "SELECT cgroup_used() AS bytes, cgroup_limit() AS limit_bytes,\n"
                 "       100.0 * cgroup_used() / cgroup_limit() AS used_percent,\n"
                 "       (SELECT rss_bytes FROM snapshot\n"
                 "        WHERE snapshot_id = :snapshot) AS rss_bytes\n"
                 "WHERE cgroup_limit() > 0 AND cgroup_used() * 10 >= cgroup_limit() * 9",
        .sentence =
            "The cgroup uses {bytes} of its {limit_bytes} ({used_percent}), files in memory "
            "included: at the limit, when nothing is left to be dropped, the kernel ends "
            "a process. {rss_bytes} are resident in this one.",
        .advice = "goinspect scavenge {process} returns what is free; raise memory.max, or see the "
                  "next findings for what takes the memory.",
    },
    {
        .kind = "not_malloc",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(RESIDENT),
        .least_bytes = 8 * MIB,
        .least_percent = 25,
        .query =
            "SELECT sum(CASE WHEN r.name IN ('anonymous', 'shared')\n"
            "                THEN r.resident_bytes END) OVER () AS bytes,\n"
            "       sum(r.resident_bytes) OVER () AS foreign_bytes,\n"
            "       100.0 * sum(r.resident_bytes) OVER () / nullif(k.resident_bytes, 0)\n"
            "       AS foreign_percent,\n"
            "       CASE r.name WHEN 'anonymous' THEN 'memory that the program maps itself'\n"
            "                   WHEN 'shared' THEN 'shared memory and files mapped shared'\n"
            "                   WHEN 'code' THEN 'code of mapped files'\n"
            "                   ELSE 'data of mapped files' END AS item,\n"
            "       r.resident_bytes AS row_bytes,\n"
            "       CASE WHEN m.path LIKE '%python%'\n"
            "            THEN 'Python maps arenas for small objects: with '\n"
            "                 || 'PYTHONMALLOC=malloc they are malloc''s, and their call sites '\n"
            "                 || 'are told. '\n"
            "            WHEN m.path LIKE '%/node' OR m.path LIKE '%libnode%'\n"
            "                 OR m.path LIKE '%libv8%'\n"
            "            THEN 'V8 maps the heap of JavaScript itself: with node '\n"
            "                 || '--heapsnapshot-signal=SIGUSR2 it writes what is in it. '\n"
            "            WHEN m.path LIKE '%libjvm%'\n"
            "            THEN 'The JVM maps its heap itself: jcmd PID GC.class_histogram and '\n"
            "                 || 'VM.native_memory tell of it. '\n"
            "            WHEN m.path IS NOT NULL\n"
            "            THEN m.path || ' is another allocator. ' END AS hint\n"
            "FROM resident r\n"
            "JOIN resident k ON k.snapshot_id = r.snapshot_id AND k.name = 'kernel'\n"
            "LEFT JOIN (SELECT path FROM v1_mapping\n"
            "           WHERE snapshot_id = :snapshot\n"
            "                 AND (path LIKE '%/python3%' OR path LIKE '%/libpython%'\n"
            "                      OR path LIKE '%/node' OR path LIKE '%libnode%'\n"
            "                      OR path LIKE '%libv8%' OR path LIKE '%libjvm%'\n"
            "                      OR path LIKE '%libjemalloc%' OR path LIKE '%libtcmalloc%'\n"
            "                      OR path LIKE '%libmimalloc%') LIMIT 1) m\n"
            "WHERE r.snapshot_id = :snapshot\n"
            "      AND r.name IN ('anonymous', 'shared', 'code', 'data')\n"
            "ORDER BY row_bytes DESC",
        .sentence = "{foreign_percent} of the resident set ({foreign_bytes}) is "
                    "not malloc's: {rows}.",
        .row = "{item} {row_bytes}",
        .advice = "Nothing done to malloc's heap changes it. [{hint}]pmap -X {process} lists the "
                  "mappings.",
    },
    {
        .kind = "swap",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(RESIDENT),
        .least_bytes = 1 * MIB,
        .least_percent = 1,
        .query = "SELECT sum(swapped_bytes) OVER () AS bytes, name, swapped_bytes AS row_bytes\n"
                 "FROM resident\n"
                 "WHERE snapshot_id = :snapshot AND swapped_bytes > 0 AND name <> 'kernel'\n"
                 "ORDER BY swapped_bytes DESC LIMIT 3",
        .sentence = "{bytes} are swapped out, and not in the resident set: {rows}.",
        .row = "{name} {row_bytes}",
        .advice = "What the program touches of it comes back slowly. The machine or the cgroup is "
                  "short of memory, or was.",
    },
};

const struct doctor_family doctor_process = {rules, sizeof(rules) / sizeof(*rules)};
