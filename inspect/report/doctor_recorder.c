/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor on its own eyesight: what was not recorded, so that other findings lack sites.
 */
#include "report/doctor.h"

static const struct doctor_rule rules[] = {
    {
        .kind = "stack_table_full",
        .rank = DOCTOR_RECORD,
        .query = "SELECT 0 AS bytes, value AS stacks FROM v1_counter\n"
                 "WHERE snapshot_id = :snapshot AND name = 'recorder.stack_table_full'\n"
                 "      AND value > 0",
        .sentence = "The table of call stacks was full: {stacks} allocations were recorded without "
                    "one.",
        .advice = "Start the program with a larger GOMALLOC=frames=, or with a smaller stack=.",
    },
    {
        .kind = "no_memory",
        .rank = DOCTOR_RECORD,
        .query = "SELECT 0 AS bytes, sum(value) AS samples FROM v1_counter\n"
                 "WHERE snapshot_id = :snapshot\n"
                 "      AND name IN ('recorder.no_memory', 'recorder.dropped')\n"
                 "HAVING samples > 0",
        .sentence = "The recorder had no memory for {samples} allocation{samples||s}: "
                    "{samples|it is|they are} missing in every figure of call sites.",
        .advice = "A larger rate= needs less; a limit on address space (ulimit -v) may be in the "
                  "way.",
    },
    {
        .kind = "bound_met",
        .rank = DOCTOR_RECORD,
        .query = "SELECT 0 AS bytes FROM snapshot WHERE snapshot_id = :snapshot AND cut = 1",
        .sentence = "The image met a bound, and records are missing: all figures may be too low.",
        .advice = "A smaller part of the process, or a larger rate=, makes a smaller image.",
    },
    {
        .kind = "coarse",
        .rank = DOCTOR_RECORD,
        .needs = NEED(SPANS),
        .query = "SELECT 0 AS bytes, p.rate AS rate_bytes,\n"
                 "       (SELECT coalesce(sum(objects), 0) FROM site_live\n"
                 "        WHERE snapshot_id = :snapshot AND site_id > 0) AS recorded,\n"
                 "       v.live_objects, v.live_bytes\n"
                 "FROM snapshot p JOIN v1_snapshot v ON v.snapshot_id = p.snapshot_id\n"
                 "WHERE p.snapshot_id = :snapshot AND p.rate > 1 AND v.live_bytes >= 16777216\n"
                 "      AND recorded < 20",
        .sentence = "Only {recorded} of {live_objects} live objects ({live_bytes}) are recorded, a "
                    "sample every {rate_bytes}: figures of call sites are rough.",
        .advice = "goinspect profile rate 64k {process} records more from now on.",
    },
};

const struct doctor_family doctor_recorder = {rules, sizeof(rules) / sizeof(*rules)};
