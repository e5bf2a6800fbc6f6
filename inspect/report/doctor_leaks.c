/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor on objects that nothing leads to any more, and on sites that grow.
 *
 * A leak is counted, not estimated: the check meets each live object, recorded or not.  That it
 * goes on is seen from ages: if leaking is steady, a quarter of the bytes is from the last quarter
 * of the time since the oldest leak.  Growth is what v1_site_trend calls so; its error is that of
 * the samples, twice the standard deviation.
 */
#include "report/doctor.h"

static const struct doctor_rule rules[] = {
    {
        .kind = "leaks",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(LEAKS),
        .least_bytes = 64 * KIB,
        .least_percent = 0.2,
        .query =
            "SELECT sum(bytes + indirect_bytes) OVER () AS bytes,\n"
            "       sum(objects) OVER () AS direct_objects, sum(bytes) OVER () AS direct_bytes,\n"
            "       nullif(sum(indirect_objects) OVER (), 0) AS indirect_objects,\n"
            "       count(*) OVER () AS sites,\n"
            "       nullif(max(oldest_s) OVER (), 0) AS oldest_s,\n"
            "       min(youngest_s) OVER () AS youngest_s,\n"
            "       (SELECT 100.0 * sum(CASE WHEN l.born > t.last - t.span / 4\n"
            "                                THEN coalesce(l.requested, l.size) ELSE 0 END)\n"
            "               / sum(coalesce(l.requested, l.size))\n"
            "        FROM leak l,\n"
            "             (SELECT (p.captured_ns - p.start_ns) / 1000000000 AS last,\n"
            "                     (p.captured_ns - p.start_ns) / 1000000000 - min(b.born) AS span\n"
            "              FROM snapshot p JOIN leak b ON b.snapshot_id = p.snapshot_id\n"
            "              WHERE p.snapshot_id = :snapshot) t\n"
            "        WHERE l.snapshot_id = :snapshot AND t.span >= 8) AS late_percent,\n"
            "       (SELECT replace(incomplete, char(10), '; ') FROM v1_leak_check\n"
            "        WHERE snapshot_id = :snapshot) AS incomplete,\n"
            "       function, nullif(location, function) AS location,\n"
            "       bytes + indirect_bytes AS row_bytes\n"
            "FROM v1_leak_site WHERE snapshot_id = :snapshot\n"
            "ORDER BY row_bytes DESC LIMIT 3",
        .sentence = "{bytes} have leaked: nothing leads any more to {direct_objects} object"
                    "{direct_objects||s} from {sites} site{sites||s}[, nor to {indirect_objects} "
                    "that only these lead to]. {rows}.[ The oldest is {oldest_s} old, the youngest "
                    "{youngest_s}.][ {late_percent} of the bytes are from the last quarter of that "
                    "time.][ The check was not complete: {incomplete}.]",
        .row = "{function}[ ({location})] has lost {row_bytes}",
        .advice = "Free them where the last pointer is dropped. goinspect leaks {target} --stacks "
                  "shows who allocated them.",
    },
    {
        .kind = "growth",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(HISTORY) | NEED(SITES),
        .least_bytes = 1 * MIB,
        .least_percent = 2,
        .query =
            "SELECT sum(t.grown_bytes) OVER () AS bytes, count(*) OVER () AS sites,\n"
            "       sum(t.bytes_per_hour) OVER () AS hour_bytes,\n"
            "       max(t.when_ns - t.from_ns) OVER () / 1000000000 AS history_s,\n"
            "       CASE WHEN sum(t.bytes_variance) OVER () > 0\n"
            "            THEN 2 * sqrt(sum(t.bytes_variance) OVER ()) END AS error_bytes,\n"
            "       CASE WHEN cgroup_limit() > 0\n"
            "            THEN max(0, cgroup_limit() - cgroup_used()) * 3600.0\n"
            "                 / sum(t.bytes_per_hour) OVER () END AS limit_s,\n"
            "       CASE WHEN cgroup_limit() > 0 THEN NULL\n"
            "            ELSE 1073741824 * 3600.0 / sum(t.bytes_per_hour) OVER () END AS gib_s,\n"
            "       t.function, nullif(t.location, t.function) AS location,\n"
            "       t.grown_bytes AS row_bytes\n"
            "FROM v1_site_trend t\n"
            "WHERE t.snapshot_id = :snapshot AND t.grows\n"
            "ORDER BY row_bytes DESC LIMIT 3",
        .sentence = "{sites} site{sites||s} {sites|grows|grow}: {bytes} in the last {history_s}"
                    "[, an estimate from samples that may err by {error_bytes}]; {rows}. At this "
                    "rate, about {hour_bytes} an hour, [the limit of the cgroup is reached in "
                    "{limit_s}][1 GiB more is reached in {gib_s}].",
        .row = "{function}[ ({location})] by {row_bytes}",
        .advice = "Bound what these sites fill: a cache, a queue, a list. goinspect sites {target} "
                  "--growth draws it; goinspect leaks {process} tells whether anything leads to it "
                  "still.",
    },
};

const struct doctor_family doctor_leaks = {rules, sizeof(rules) / sizeof(*rules)};
