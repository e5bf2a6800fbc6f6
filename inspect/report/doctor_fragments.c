/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor on memory within spans that no object uses: spans that few objects keep, free slots
 * between objects, slots that are larger than their objects, ends of spans.
 *
 * The first two divide spans with live objects between them: those less than a quarter used have
 * somebody to blame, the others are spread.  Free slots that were never touched are not resident;
 * how many of all are is known, of which class is not: so they are taken off the sum.
 *
 * Where allocations are sampled, each recorded object stands for w = 1 / (1 - exp(-size / rate)).
 * Whose a pinned span is, and what is inside of slots, are estimates then: the sum of w x, of which
 * the variance is the sum of w (w - 1) x^2.  Sites of which few objects are recorded are not named.
 */
#include "report/doctor.h"

static const struct doctor_rule rules[] = {
    {
        .kind = "pins",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(PINS),
        .least_bytes = 1 * MIB,
        .least_percent = 3,
        .query =
            "WITH p AS (\n"
            "    SELECT n.site_id, n.base, n.objects, n.bytes, n.block_sites, s.rate,\n"
            "           n.bytes / CASE WHEN s.rate > 1 THEN\n"
            "                          1 - exp(-1.0 * n.block_used / n.block_objects / s.rate)\n"
            "                     ELSE 1 END AS estimate\n"
            "    FROM snapshot s JOIN pin n ON n.snapshot_id = s.snapshot_id\n"
            "    WHERE s.snapshot_id = :snapshot AND n.unit = 0\n"
            "          AND n.block_used * 4 < n.block_bytes\n"
            "), t AS (\n"
            "    SELECT max(rate) > 1 AS sampled,\n"
            "           sum(bytes) AS bytes, sum(objects) AS objects,\n"
            "           count(DISTINCT base) AS spans,\n"
            "           count(DISTINCT nullif(site_id, 0)) AS sites,\n"
            "           sum(CASE WHEN site_id > 0 THEN objects ELSE 0 END) AS recorded,\n"
            "           sum(CASE WHEN block_sites > 1 THEN bytes END) AS shared FROM p\n"
            "), e AS (\n"
            "    SELECT site_id, sum(estimate) AS bytes FROM p WHERE site_id > 0\n"
            "    GROUP BY site_id HAVING max(rate) <= 1 OR sum(objects) >= 10\n"
            "), g AS (\n"
            "    SELECT :snapshot AS snapshot_id, site_id, bytes AS row_bytes\n"
            "    FROM (SELECT site_id, bytes FROM e\n"
            "          UNION ALL\n"
            "          SELECT 0, max(0, bytes - (SELECT coalesce(sum(bytes), 0) FROM e)) FROM t)\n"
            "    ORDER BY site_id = 0, bytes DESC LIMIT 3\n"
            ")\n"
            "SELECT t.bytes, t.objects, t.spans,\n"
            "       CASE WHEN NOT t.sampled THEN t.sites END AS sites,\n"
            "       CASE WHEN NOT t.sampled THEN nullif(t.shared, 0) END AS shared_bytes,\n"
            "       CASE WHEN NOT t.sampled THEN nullif(t.objects - t.recorded, 0) END\n"
            "       AS unknown,\n"
            "       CASE WHEN t.sampled AND g.site_id > 0 THEN t.recorded END AS recorded,\n"
            "       CASE WHEN t.recorded < 20 AND t.recorded < t.objects\n"
            "            THEN 'A smaller GOMALLOC=rate= has more recorded.' END AS hint,\n"
            "       CASE WHEN t.sampled AND g.site_id > 0 THEN 'about' END AS about,\n"
            "       min(g.row_bytes, t.bytes) AS row_bytes,\n"
            "       " DOCTOR_SITE_NAME "\n"
            "FROM t CROSS JOIN g\n" DOCTOR_SITE_JOIN "ORDER BY g.site_id = 0, g.row_bytes DESC",
        .sentence =
            "{objects} object{objects||s}[ of {sites} site{sites||s}] {objects|keeps|keep} "
            "{spans} span{spans||s} ({bytes}) that are less than a quarter used: {rows}."
            "[ The site of {unknown} of the objects is not recorded.][ {shared_bytes} of it "
            "are shared by sites, and divided by objects.][ Whose they are is estimated from the "
            "{recorded} that are recorded.]",
        .row = "{function}[ ({location})][ {about}] {row_bytes}",
        .advice = "A span goes back when its last object is freed: free these, or allocate what "
                  "lives long apart from what does not, in one block or early. goinspect pins "
                  "{target} lists the sites.[ {hint}]",
    },
    {
        .kind = "free_slots",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(SPANS),
        .least_bytes = 4 * MIB,
        .least_percent = 10,
        .query = "SELECT max(0, sum(c.free_bytes) OVER () + coalesce(u.bytes, 0)) AS bytes,\n"
                 "       sum(c.spans) OVER () AS spans,\n"
                 "       100.0 * sum(c.live_bytes) OVER ()\n"
                 "       / sum(c.span_bytes) OVER () AS used_percent,\n"
                 "       c.slot_bytes, c.free_bytes AS row_bytes\n"
                 "FROM (SELECT elem_size AS slot_bytes, count(*) AS spans,\n"
                 "             sum(free_bytes) AS free_bytes, sum(live_bytes) AS live_bytes,\n"
                 "             sum(span_bytes) AS span_bytes\n"
                 "      FROM v1_span\n"
                 "      WHERE snapshot_id = :snapshot AND state = 'in use' AND size_class > 0\n"
                 "            AND live_objects > 0 AND live_bytes * 4 >= span_bytes\n"
                 "      GROUP BY size_class, elem_size) c\n"
                 "LEFT JOIN (SELECT min(0, resident_bytes - (SELECT sum(npages) * 8192 FROM span\n"
                 "                                           WHERE snapshot_id = :snapshot\n"
                 "                                                 AND state = 1)) AS bytes\n"
                 "           FROM resident\n"
                 "           WHERE snapshot_id = :snapshot AND name = 'heap.spans') u\n"
                 "ORDER BY row_bytes DESC LIMIT 3",
        .sentence = "{bytes} are free slots between live objects: {spans} span{spans||s} "
                    "{spans|is|are} {used_percent} used. Most are of {rows}.",
        .row = "{slot_bytes} each ({row_bytes})",
        .advice = "New objects of these sizes will fill it at no cost. If none come, it stays: "
                  "goinspect pins {target} --util 75 says whose objects are in the way.",
    },
    {
        .kind = "slack",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(SITES),
        .least_bytes = 1 * MIB,
        .least_percent = 5,
        .query = "SELECT g.bytes, g.sites,\n"
                 "       max(0, g.bytes - 2 * sqrt(nullif(g.variance, 0))) AS low_bytes,\n"
                 "       g.bytes + 2 * sqrt(nullif(g.variance, 0)) AS high_bytes,\n"
                 "       g.row_bytes, g.requested, g.given,\n"
                 "       " DOCTOR_SITE_NAME "\n"
                 "FROM (SELECT *, sum(row_bytes) OVER () AS bytes,\n"
                 "             sum(site_variance) OVER () AS variance,\n"
                 "             count(*) OVER () AS sites\n"
                 "      FROM (SELECT l.snapshot_id, l.site_id, l.requested, l.given,\n"
                 "                   sum(objects * weight * (given - requested)) AS row_bytes,\n"
                 "                   sum(objects * weight * (weight - 1)\n"
                 "                       * (given - requested) * (given - requested))\n"
                 "                   AS site_variance,\n"
                 "                   max(objects * weight * (given - requested))\n"
                 "            FROM site_live l JOIN snapshot p ON p.snapshot_id = l.snapshot_id\n"
                 "            WHERE l.snapshot_id = :snapshot AND l.site_id > 0\n"
                 "                  AND l.requested IS NOT NULL\n"
                 "            GROUP BY l.site_id\n"
                 "            HAVING row_bytes * 10 >= sum(objects * weight * given)\n"
                 "                   AND (p.rate = 1 OR sum(objects) >= 20))\n"
                 "      ORDER BY row_bytes DESC LIMIT 3) g\n" DOCTOR_SITE_JOIN
                 "ORDER BY g.row_bytes DESC",
        .sentence =
            "{bytes}[ (an estimate: {low_bytes} to {high_bytes})] of live objects are slack: "
            "{sites} site{sites||s} {sites|asks|ask} for sizes a tenth or more below those "
            "of their slots. {rows}.",
        .row = "{function}[ ({location})] wastes {row_bytes}, mostly by asking for {requested} "
               "bytes and getting {given}",
        .advice =
            "Ask for the size of the slot and use it, or for one that fits: goinspect classes "
            "{target} lists the sizes.",
    },
    {
        .kind = "tails",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(SPANS),
        .least_bytes = 1 * MIB,
        .least_percent = 3,
        .query = "SELECT sum(row_bytes) OVER () AS bytes, slot_bytes, slots, lost, row_bytes\n"
                 "FROM (SELECT elem_size AS slot_bytes, nelems AS slots,\n"
                 "             span_bytes - nelems * elem_size AS lost,\n"
                 "             sum(span_bytes - nelems * elem_size) AS row_bytes\n"
                 "      FROM v1_span\n"
                 "      WHERE snapshot_id = :snapshot AND state = 'in use' AND size_class > 0\n"
                 "      GROUP BY size_class)\n"
                 "WHERE row_bytes > 0 ORDER BY row_bytes DESC LIMIT 3",
        .sentence = "{bytes} are ends of spans, too short for one more slot: {rows}.",
        .row = "{row_bytes} in those of {slot_bytes} ({slots} slots, {lost} bytes left)",
        .advice = "Objects of another size class waste less: goinspect classes {target} shows "
                  "TAIL of each.",
    },
};

const struct doctor_family doctor_fragments = {rules, sizeof(rules) / sizeof(*rules)};
