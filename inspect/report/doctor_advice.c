/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor on time: sites that allocate again and again what need not be allocated so.
 *
 * No bytes come back from it, so it stands last.  Worth a word is a site that makes at least
 * 100,000 objects a second on average since the start, which is half a percent of a CPU or more,
 * and of which enough objects were judged.
 */
#include "report/doctor.h"

/* Places with the verdict, a quoted text, and the rate of each. */
#define PLACES(verdict, more)                                                                      \
    "SELECT 0 AS bytes, count(*) OVER () AS places,\n"                                             \
    "       sum(e.objects / p.seconds) OVER () AS per_second,\n"                                   \
    "       e.function, nullif(e.location, e.function) AS location,\n"                             \
    "       CAST(e.objects / p.seconds AS INTEGER) AS place_per_second,\n"                         \
    "       e.freed, e.suggestion" more "\n"                                                       \
    "FROM v1_escape_place e\n"                                                                     \
    "JOIN (SELECT snapshot_id, (captured_ns - start_ns) / 1e9 AS seconds FROM snapshot) p\n"       \
    "     ON p.snapshot_id = e.snapshot_id\n"                                                      \
    "WHERE e.snapshot_id = :snapshot AND e.verdict = " verdict " AND e.freed >= 30\n"              \
    "      AND e.objects >= 100000 AND e.objects >= 100000 * p.seconds\n"                          \
    "ORDER BY e.objects DESC LIMIT 3"

static const struct doctor_rule rules[] = {
    {
        .kind = "could_be_local",
        .rank = DOCTOR_ADVICE,
        .needs = NEED(ESCAPE),
        .query = PLACES("'no escape observed'", ", e.within_proved"),
        .sentence =
            "{places} place{places||s} make{places|s|} objects at a high rate that were not "
            "seen to outlive the call which makes them: {rows}.",
        .row = "{function}[ ({location})] {place_per_second} a second, {freed} judged[; "
               "{suggestion}]",
        .advice = "A local variable, or a buffer that is kept between calls, saves the malloc and "
                  "the free. goinspect escape {target} says what is proved.",
    },
    {
        .kind = "handed_over",
        .rank = DOCTOR_ADVICE,
        .needs = NEED(ESCAPE),
        .query = PLACES("'escapes to thread'", ", e.thread, e.other_thread"),
        .sentence = "{places} place{places||s} allocate{places|s|} at a high rate what another "
                    "thread frees: {rows}.",
        .row = "{function}[ ({location})] {place_per_second} a second, {other_thread} of {freed} "
               "judged freed by {thread}",
        .advice = "Frees by another thread cost more than one's own: a pool that both use, or "
                  "handing over in batches, saves it. goinspect escape {target} tells more.",
    },
    {
        .kind = "resized",
        .rank = DOCTOR_ADVICE,
        .needs = NEED(ESCAPE),
        .query = PLACES("'realloc chain'", ", e.growths / e.chains AS times, e.final_size_p50 AS "
                                           "final_bytes"),
        .sentence = "{places} place{places||s} make{places|s|} at a high rate what realloc resizes "
                    "again and again: {rows}.",
        .row = "{function}[ ({location})] {place_per_second} a second, resized {times} time"
               "{times||s} to about {final_bytes} in the end",
        .advice =
            "Begin with the size that most have in the end, or double it each time. goinspect "
            "escape {target} tells more.",
    },
};

const struct doctor_family doctor_advice = {rules, sizeof(rules) / sizeof(*rules)};
