/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor on memory that is kept for what may come: free pages, what threads keep, what nobody
 * has swept, stacks, huge pages, and what the library needs itself.
 *
 * What threads keep are spans without a live object and pages of their page caches; free slots
 * beside live objects are fragmentation, whoever owns the span.  Spans with marks are counted
 * apart: they wait for their owner.
 */
#include "report/doctor.h"

/* What caches keep in empty spans and pages, and what waits there to be swept; the conditions on
 * spans and on caches, and the columns, are the caller's. */
#define CACHES(spans)                                                                              \
    "FROM (SELECT m.mcache, m.name, m.tid,\n"                                                      \
    "             coalesce(s.bytes, 0) + (m.page_cache_pages - m.page_cache_scavenged) * 8192\n"   \
    "             + m.stack_bytes AS kept\n"                                                       \
    "      FROM v1_cache m\n"                                                                      \
    "      LEFT JOIN (SELECT owner_number,\n"                                                      \
    "                        sum(CASE live_objects WHEN 0 THEN span_bytes\n"                       \
    "                            ELSE unswept_objects * elem_size END) AS bytes\n"                 \
    "                 FROM v1_span\n"                                                              \
    "                 WHERE snapshot_id = :snapshot AND state = 'in use'\n"                        \
    "                       AND (live_objects = 0 " spans " unswept_objects > 0)\n"                \
    "                 GROUP BY owner_number) s ON s.owner_number = m.mcache\n"                     \
    "      WHERE m.snapshot_id = :snapshot AND "

static const struct doctor_rule rules[] = {
    {
        .kind = "free_pages",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(RESIDENT),
        .least_bytes = 4 * MIB,
        .least_percent = 10,
        .query = "SELECT r.resident_bytes AS bytes, s.goal_bytes, s.retained_bytes,\n"
                 "       nullif(s.surplus_bytes, 0) AS surplus_bytes\n"
                 "FROM resident r LEFT JOIN v1_scavenger s ON s.snapshot_id = r.snapshot_id\n"
                 "WHERE r.snapshot_id = :snapshot AND r.name = 'heap.free'\n"
                 "      AND r.resident_bytes > 0",
        .sentence = "{bytes} are free pages that have not been given back yet.[ The heap has "
                    "{retained_bytes}, and may keep {goal_bytes}: that follows the most that was "
                    "in use of late.]"
                    "[ {surplus_bytes} will go back by themselves.]",
        .advice = "goinspect scavenge {process} gives them back now, as malloc_trim(0) in the "
                  "program does. If the program will soon need as much again, leave it.",
    },
    {
        .kind = "thread_reserves",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(CACHES) | NEED(SPANS),
        .least_bytes = 2 * MIB,
        .least_percent = 5,
        .query = "SELECT sum(kept) OVER () AS bytes, count(*) OVER () AS threads,\n"
                 "       name, tid, kept AS row_bytes\n" CACHES(
                     "AND NOT") "m.state = 'attached')\n"
                                "WHERE kept > 0 ORDER BY kept DESC LIMIT 3",
        .sentence =
            "{bytes} are kept by {threads} thread{threads||s} for reuse, in empty spans and "
            "pages: {rows}.",
        .row = "{name} (thread {tid}) {row_bytes}",
        .advice =
            "A thread gives up what it does not use as it goes on allocating; one that sleeps "
            "keeps it. Before it sleeps for long, have it call malloc_trim(0).",
    },
    {
        .kind = "ended_threads",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(CACHES) | NEED(SPANS),
        .least_bytes = 1 * MIB,
        .least_percent = 3,
        .query = "SELECT sum(kept) AS bytes, count(*) AS caches\n" CACHES(
            "OR") "m.state <> 'attached')\n"
                  "WHERE kept > 0 HAVING bytes > 0",
        .sentence = "{bytes} are kept in {caches} cache{caches||s} of threads that have ended, for "
                    "the next threads.",
        .advice = "New threads take them over, and goinspect scavenge {process} gives back what is "
                  "empty. Threads that are reused (a pool) leave less behind.",
    },
    {
        .kind = "freed_elsewhere",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(SPANS),
        .least_bytes = 1 * MIB,
        .least_percent = 3,
        .query =
            "SELECT sum(kept) OVER () AS bytes, sum(slots) OVER () AS slots,\n"
            "       sum(spans) OVER () AS spans, count(*) OVER () AS threads,\n"
            "       owner, kept AS row_bytes\n"
            "FROM (SELECT owner, count(*) AS spans, sum(unswept_objects) AS slots,\n"
            "             sum(CASE live_objects WHEN 0 THEN span_bytes\n"
            "                 ELSE unswept_objects * elem_size END) AS kept\n"
            "      FROM v1_span\n"
            "      WHERE snapshot_id = :snapshot AND state = 'in use' AND unswept_objects > 0\n"
            "            AND owner LIKE 'thread %'\n"
            "      GROUP BY owner_number)\n"
            "ORDER BY kept DESC LIMIT 3",
        .sentence = "{bytes} wait in spans of {threads} thread{threads||s}: other threads freed "
                    "{slots} objects there, and the owners have not come by since. {rows}.",
        .row = "{owner} has {row_bytes}",
        .advice = "An owner sweeps its spans when it allocates again or ends. If these threads "
                  "sleep for long, have them call malloc_trim(0) first, or let those that free "
                  "allocate.",
    },
    {
        .kind = "large_spans",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(SPANS),
        .least_bytes = 4 * MIB,
        .least_percent = 10,
        .query = "SELECT sum(span_bytes) AS bytes, count(*) AS spans FROM v1_span\n"
                 "WHERE snapshot_id = :snapshot AND place = 'cached large' HAVING bytes > 0",
        .sentence =
            "{bytes} are {spans} freed large object{spans||s} that the heap keeps whole for "
            "the next of {spans|its|their} size.",
        .advice = "They go back within seconds when they are not used, or at once by goinspect "
                  "scavenge {process}.",
    },
    {
        .kind = "stacks",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(RESIDENT),
        .least_bytes = 8 * MIB,
        .least_percent = 15,
        .query = "SELECT r.resident_bytes AS bytes, p.nthreads AS threads,\n"
                 "       r.resident_bytes / max(1, p.nthreads) AS each_bytes\n"
                 "FROM resident r JOIN v1_snapshot p ON p.snapshot_id = r.snapshot_id\n"
                 "WHERE r.snapshot_id = :snapshot AND r.name = 'stacks' AND r.resident_bytes > 0",
        .sentence = "{bytes} are stacks of {threads} thread{threads||s}, {each_bytes} each on "
                    "average.",
        .advice = "A stack keeps what it has once touched: fewer threads, smaller local arrays or "
                  "less recursion make it less.",
    },
    {
        .kind = "coroutines",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(SPANS),
        .least_bytes = 4 * MIB,
        .least_percent = 10,
        .query = "SELECT sum(free_bytes) AS bytes, sum(free_objects) AS stacks,\n"
                 "       sum(live_objects) AS live_stacks\n"
                 "FROM v1_span WHERE snapshot_id = :snapshot AND state = 'manual'\n"
                 "HAVING bytes > 0",
        .sentence = "{bytes} are {stacks} free stack{stacks||s} of gomalloc_stack_alloc, beside "
                    "{live_stacks} in use.",
        .advice = "A span of stacks goes back when all of it is free: coroutines that live long "
                  "keep those of the others.",
    },
    {
        .kind = "huge_pages",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(RESIDENT) | NEED(PINS),
        .least_bytes = 4 * MIB,
        .least_percent = 10,
        .query =
            "SELECT min(b.bytes, h.huge_bytes) AS bytes, h.huge_bytes, b.blocks, b.used_bytes\n"
            "FROM (SELECT sum(huge_bytes) AS huge_bytes FROM resident\n"
            "      WHERE snapshot_id = :snapshot AND name LIKE 'heap.%') h,\n"
            "     (SELECT count(*) AS blocks, sum(2097152 - block_used) AS bytes,\n"
            "             sum(block_used) AS used_bytes\n"
            "      FROM (SELECT DISTINCT base, block_used FROM pin\n"
            "            WHERE snapshot_id = :snapshot AND unit = 1\n"
            "                  AND block_used * 4 < 2097152)) b\n"
            "WHERE h.huge_bytes > 0 AND b.blocks > 0",
        .sentence =
            "{huge_bytes} of the heap are in huge pages, and {blocks} stretch{blocks||es} "
            "of 2 MiB {blocks|holds|hold} only {used_bytes} of live objects: up to {bytes} are "
            "backed for nothing.",
        .advice = "GOMALLOC=thp=off backs the heap by small pages, which go back one by one. "
                  "goinspect pins {target} --by huge says whose objects keep the huge ones.",
    },
    {
        .kind = "library",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(RESIDENT),
        .least_bytes = 4 * MIB,
        .least_percent = 12,
        .query = "SELECT sum(r.resident_bytes) OVER () AS bytes,\n"
                 "       r.name, r.resident_bytes AS row_bytes,\n"
                 "       CASE p.rate WHEN 1 THEN 'rate=1 records every allocation: '\n"
                 "                   ELSE '' END AS rate_text\n"
                 "FROM resident r JOIN snapshot p ON p.snapshot_id = r.snapshot_id\n"
                 "WHERE r.snapshot_id = :snapshot\n"
                 "      AND r.name IN ('metadata', 'recorder', 'agent', 'library')\n"
                 "ORDER BY row_bytes DESC",
        .sentence = "{bytes} are the library's own: {rows}.",
        .row = "{name} {row_bytes}",
        .advice = "{rate_text}a larger rate= takes less (512k is the default), and frames= bounds "
                  "the table of stacks. The agent's part is this very answer, and goes with it.",
    },
};

const struct doctor_family doctor_kept = {rules, sizeof(rules) / sizeof(*rules)};
