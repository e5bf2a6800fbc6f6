/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the doctor can look at in a target, and what to do to have the rest looked at.
 *
 * An image may be partial, a file old, a process without history yet; leaks are only looked for on
 * request, since that stops the process.  What was not looked at is said, or "nothing to report"
 * would be a lie.  Each need has a query whose first column is 1 if it is met; the others are for
 * gaps in the hint.  An old file may lack its tables: the need is not met then.
 */
#include "report/doctor.h"
#include "cli/view.h"

enum { PROCESS, SAVED, NHINTS }; /* which kind of target a hint is for */

static const struct {
    const char *name;
    const char *query;
    const char *hints[NHINTS];
} needs[NEED_NUMBER] = {
    [NEED_SPANS] = {"fragmentation",
                    "SELECT count(*) > 0 FROM span WHERE snapshot_id = :snapshot",
                    {"the process told of no span",
                     "{target} has no spans; goinspect snapshot makes a file that has"}},
    [NEED_RESIDENT] = {"what is resident",
                       "SELECT count(*) > 0 FROM resident"
                       " WHERE snapshot_id = :snapshot AND name = 'kernel'",
                       {"the process's library is older than goinspect, or can't read its /proc",
                        "{target} does not tell; goinspect snapshot, without --leaks, makes a file "
                        "that does"}},
    /* The copy of a process is made in some 12 ms for each GiB that is resident. */
    [NEED_LEAKS] = {"leaks",
                    "SELECT (SELECT count(*) FROM leak_check WHERE snapshot_id = :snapshot) > 0,"
                    " CAST(1 + rss_bytes * 12 / 1073741824 AS INTEGER) AS pause_ms"
                    " FROM snapshot WHERE snapshot_id = :snapshot",
                    {"goinspect doctor {target} --leaks does; it pauses the process for about "
                     "{pause_ms} ms",
                     "{target} has no leak check; goinspect snapshot PID --leaks makes one"}},
    [NEED_HISTORY] = {"growth",
                      "SELECT count(*) >= 6, count(*) AS ticks FROM tick"
                      " WHERE snapshot_id = :snapshot",
                      {"it takes six ticks of history[, and there {ticks|is|are} {ticks}]: one a "
                       "minute unless GOMALLOC=interval= says otherwise",
                       "it takes six ticks of history[, and {target} has {ticks}]: one a minute "
                       "unless GOMALLOC=interval= says otherwise"}},
    [NEED_PINS] = {"who keeps sparse spans",
                   "SELECT count(*) > 0, (SELECT count(*) FROM pin WHERE snapshot_id = :snapshot)"
                   " FROM span WHERE snapshot_id = :snapshot",
                   {"the process told of no span",
                    "{target} does not tell; goinspect snapshot makes a file that does"}},
    [NEED_SITES] = {"call sites",
                    "SELECT (SELECT count(*) FROM site"
                    " WHERE snapshot_id = :snapshot AND site_id > 0) > 0,"
                    " CASE rate WHEN 0 THEN 'nothing is recorded (rate=0)'"
                    " ELSE 'no allocation has been sampled yet' END AS why"
                    " FROM snapshot WHERE snapshot_id = :snapshot",
                    {"[{why}; ]goinspect profile rate 64k {target} has more recorded",
                     "[{why}; ]GOMALLOC=rate=64k has more recorded"}},
    [NEED_CACHES] = {"threads' caches",
                     "SELECT count(*) > 0 FROM mheap WHERE snapshot_id = :snapshot",
                     {"the process's library is older than goinspect",
                      "{target} does not tell; goinspect snapshot makes a file that does"}},
    [NEED_ESCAPE] = {"lifetimes",
                     "SELECT count(*) > 0 FROM verdict WHERE snapshot_id = :snapshot",
                     {"no object was judged: see escape= in gomalloc(7)",
                      "no object was judged: see escape= in gomalloc(7)"}},
    [NEED_CGROUP] = {"the cgroup's limit",
                     "SELECT cgroup_limit() IS NOT NULL",
                     {"its files can't be read; $GOINSPECT_CGROUP says where they are",
                      "only that of a live process is known"}},
};

/* look tells whether a need is met; else *ret_hint is what to do. */
static bool look(const struct target *target, enum doctor_need need, char **ret_hint) {
    sqlite3_stmt *stmt = NULL;
    struct failure ignored;
    bool row = view_prepare(target, needs[need].query, NULL, &stmt, &ignored) == STATUS_DONE &&
               sqlite3_step(stmt) == SQLITE_ROW;
    bool met = row && sqlite3_column_int(stmt, 0) == 1;
    int kind = target->kind == TARGET_PROCESS ? PROCESS : SAVED;
    if (!met)
        *ret_hint = doctor_text(target, row ? stmt : NULL, needs[need].hints[kind], NULL);
    sqlite3_finalize(stmt);
    return met;
}

void doctor_needs(const struct target *target, struct doctor_report *report) {
    for (enum doctor_need need = 0; need < NEED_NUMBER; need++)
        if (look(target, need, &report->missing[need]))
            report->seen |= 1u << need;
}

const char *doctor_need_name(enum doctor_need need) {
    return needs[need].name;
}
