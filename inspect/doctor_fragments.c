/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor on memory within spans that no object uses: spans that few objects keep, free slots
 * between objects, slots that are larger than their objects, ends of spans.
 *
 * The first two divide spans with live objects between them: those less than a quarter used have
 * somebody to blame, the others are spread.  Free slots that were never touched are not resident;
 * how many of all are is known, of which class is not: so they are taken off the sum.
 *
 * What is inside of slots is an estimate where allocations are sampled: of n objects recorded with
 * a weight w each, the variance is the sum of w (w - 1) x^2.  Fewer than 20 samples say nothing.
 */
#include "doctor.h"

/* Of the pins those of spans that are less than a quarter used. */
#define SPARSE                                                                                     \
    "      WHERE snapshot_id = :snapshot AND unit = 0\n"                                           \
    "            AND block_used * 4 < block_bytes\n"

static const struct doctor_rule rules[] = {
    {
        .kind = "pins",
        .rank = DOCTOR_MEMORY,
        .needs = NEED(PINS),
        .least_bytes = 1 * MIB,
        .least_percent = 3,
        .query = "SELECT g.bytes, g.objects, nullif(g.sites, 0) AS sites, t.spans,\n"
                 "       nullif(t.unknown, 0) AS unknown,\n"
                 "       CASE WHEN t.unknown * 2 > g.objects THEN 'A smaller GOMALLOC=rate= has '\n"
                 "            || 'more of them recorded.' END AS unknown_hint,\n"
                 "       nullif(t.shared, 0) AS shared_bytes, g.row_bytes,\n"
                 "       " DOCTOR_SITE_NAME "\n"
                 "FROM (SELECT snapshot_id, site_id, sum(bytes) AS row_bytes,\n"
                 "             sum(sum(bytes)) OVER () AS bytes,\n"
                 "             sum(sum(objects)) OVER () AS objects,\n"
                 "             count(nullif(site_id, 0)) OVER () AS sites\n"
                 "      FROM pin\n" SPARSE "      GROUP BY site_id\n"
                 "      ORDER BY site_id = 0, row_bytes DESC LIMIT 3) g\n" DOCTOR_SITE_JOIN
                 "JOIN (SELECT count(DISTINCT base) AS spans,\n"
                 "             sum(CASE site_id WHEN 0 THEN objects END) AS unknown,\n"
                 "             sum(CASE WHEN block_sites > 1 THEN bytes END) AS shared\n"
                 "      FROM pin\n" SPARSE "      ) t\n"
                 "ORDER BY g.site_id = 0, g.row_bytes DESC",
        .sentence =
            "{objects} object{objects||s}[ of {sites} site{sites||s}] {objects|keeps|keep} "
            "{spans} span{spans||s} ({bytes}) that are less than a quarter used: {rows}."
            "[ The site of {unknown} of the objects is not recorded.][ {shared_bytes} of it "
            "are shared by sites, and divided by objects.]",
        .row = "{function}[ ({location})] {row_bytes}",
        .advice = "A span goes back when its last object is freed: free these, or allocate what "
                  "lives long apart from what does not, in one block or early. goinspect pins "
                  "{target} lists the sites.[ {unknown_hint}]",
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
                 "LEFT JOIN (SELECT min(0, r.resident_bytes - sum(s.span_bytes)) AS bytes\n"
                 "           FROM resident r JOIN v1_span s ON s.snapshot_id = r.snapshot_id\n"
                 "           WHERE r.snapshot_id = :snapshot AND r.name = 'heap.spans'\n"
                 "                 AND s.state = 'in use') u\n"
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
        .query = "SELECT sum(tail_bytes) OVER () AS bytes,\n"
                 "       slot_bytes, tail_bytes / spans AS lost, span_slots AS slots,\n"
                 "       tail_bytes AS row_bytes\n"
                 "FROM v1_class\n"
                 "WHERE snapshot_id = :snapshot AND size_class > 0 AND tail_bytes > 0\n"
                 "ORDER BY tail_bytes DESC LIMIT 3",
        .sentence = "{bytes} are ends of spans, too short for one more slot: {rows}.",
        .row = "{row_bytes} in those of {slot_bytes} ({slots} slots, {lost} bytes left)",
        .advice = "Objects of another size class waste less: goinspect classes {target} shows "
                  "TAIL of each.",
    },
};

const struct doctor_family doctor_fragments = {rules, sizeof(rules) / sizeof(*rules)};
