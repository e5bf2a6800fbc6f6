/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Leak checks: filters, sums, and words on standard error.
 */
#include <stdlib.h>
#include <string.h>

#include "report/held.h"
#include "report/leakcheck.h"
#include "target/proc.h"
#include "base/text.h"
#include "cli/view.h"

#define MOST_LINE 256 /* of what was incomplete */

/* row prepares a query and makes its first step; NULL: there is none, or no such table. */
static sqlite3_stmt *row(const struct target *target, const char *sql) {
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW)
        return stmt;
    sqlite3_finalize(stmt);
    return NULL;
}

static int64_t integer(const struct target *target, const char *sql, int64_t missing) {
    sqlite3_stmt *stmt = row(target, sql);
    int64_t n = stmt ? sqlite3_column_int64(stmt, 0) : missing;
    sqlite3_finalize(stmt);
    return n;
}

enum status leakcheck_there(const struct target *target, struct failure *failure) {
    int64_t n =
        integer(target, "SELECT count(*) FROM leak_check WHERE snapshot_id = :snapshot", -1);
    if (n > 0)
        return STATUS_DONE;
    if (target->kind == TARGET_PROCESS)
        return fail(failure, STATUS_BAD_VERSION,
                    "%s can't check for leaks: its library is older than goinspect", target->word);
    return fail(failure, STATUS_FAILURE,
                "%s holds no leak check%s; \"goinspect snapshot PID --leaks -o FILE\" makes one",
                target->word, target->kind == TARGET_DATABASE && n == 0 ? " of that snapshot" : "");
}

/* ---- which leaks are meant ---------------------------------------------------------------- */

#define HEADS "(SELECT DISTINCT site_id FROM leak WHERE snapshot_id = :snapshot AND address = head)"

/* accept appends a site to the list. */
static void accept(char **sites, int64_t site) {
    char *more = must_format("%s%s%lld", *sites ? *sites : "", *sites ? "," : "", (long long)site);
    free(*sites);
    *sites = more;
}

enum status leakcheck_filter(const struct target *target, struct leak_filter *filter,
                             struct failure *failure) {
    static const char sql[] =
        "SELECT site_id, function, file, module FROM v1_stack"
        " WHERE +snapshot_id = :snapshot AND site_id IN " HEADS " ORDER BY site_id";
    sqlite3_stmt *stmt = NULL;
    int64_t last = 0;
    int step;
    if (!filter->accepted || filter->accepted->n == 0)
        return STATUS_DONE;
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    while (status == STATUS_DONE && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t site = sqlite3_column_int64(stmt, 0);
        for (int i = 1; i <= 3 && site != last; i++)
            if (suppress_match(filter->accepted, (const char *)sqlite3_column_text(stmt, i))) {
                accept(&filter->sites, site);
                last = site;
            }
    }
    if (status == STATUS_DONE && step != SQLITE_DONE)
        status = fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    sqlite3_finalize(stmt);
    return status;
}

/* Seconds from the start of the process to the check. */
#define CHECKED                                                                                    \
    "(SELECT (captured_ns - start_ns) / 1000000000 FROM snapshot WHERE snapshot_id = :snapshot)"

char *leakcheck_condition(const struct leak_filter *filter, const struct leak_columns *head) {
    long long seconds = filter->older_than;
    char *age = seconds == 0 ? must_dup("")
                : head->born ? must_format(" AND %s <= " CHECKED " - %lld", head->born, seconds)
                             : must_format(" AND head_age_s >= %lld", seconds);
    char *since =
        filter->since.word ? must_format(" AND leak_since(%s) = 0", head->address) : must_dup("");
    char *sql = must_format("%s NOT IN (%s)%s%s", head->site, filter->sites ? filter->sites : "",
                            age, since);
    free(age);
    free(since);
    return sql;
}

static const struct leak_columns of_head = {"h.address", "h.site_id", "h.born"};

#define SUMS                                                                                       \
    "SELECT coalesce(sum(l.address = l.head), 0),"                                                 \
    " coalesce(sum((l.address = l.head) * coalesce(l.requested, l.size)), 0),"                     \
    " coalesce(sum(l.address <> l.head), 0),"                                                      \
    " coalesce(sum((l.address <> l.head) * coalesce(l.requested, l.size)), 0)"                     \
    " FROM leak l CROSS JOIN leak h ON h.snapshot_id = l.snapshot_id AND h.address = l.head"       \
    " WHERE l.snapshot_id = :snapshot AND "

/* sums adds the leaks up of whose head the condition holds. */
static bool sums(const struct target *target, const char *condition, struct leak_totals *ret) {
    char *sql = must_format(SUMS "%s", condition);
    sqlite3_stmt *stmt = row(target, sql);
    free(sql);
    if (!stmt)
        return false;
    *ret = (struct leak_totals){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
                                sqlite3_column_int64(stmt, 2), sqlite3_column_int64(stmt, 3)};
    sqlite3_finalize(stmt);
    return true;
}

enum status leakcheck_totals(const struct target *target, const struct leak_filter *filter,
                             struct leak_totals *ret, struct failure *failure) {
    char *condition = leakcheck_condition(filter, &of_head);
    bool ok = sums(target, condition, ret);
    free(condition);
    return ok ? STATUS_DONE
              : fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
}

/* ---- words -------------------------------------------------------------------------------- */

/* amount writes "1.2 KiB in 3 objects". */
static const char *amount(char *buf, size_t size, const struct leak_totals *t) {
    char bytes[TEXT_NUMBER_SIZE], n[TEXT_NUMBER_SIZE];
    int64_t objects = t->direct + t->indirect;
    text_bytes_plain(bytes, (double)(t->direct_bytes + t->indirect_bytes));
    text_count(n, objects);
    snprintf(buf, size, "%s in %s object%s", bytes, n, objects == 1 ? "" : "s");
    return buf;
}

static void say_found(const struct target *target, const struct leak_filter *filter,
                      const struct leak_totals *shown) {
    char text[128], n[TEXT_NUMBER_SIZE];
    if (shown->direct) {
        text_count(n, shown->direct);
        say("leaked: %s, %s of them directly", amount(text, sizeof(text), shown), n);
        return;
    }
    text_count(
        n, integer(target, "SELECT live_objects FROM leak_check WHERE snapshot_id = :snapshot", 0));
    bool filtered = filter->older_than || filter->sites || filter->since.word;
    say("no leaks%s among %s objects", filtered ? " to show" : "", n);
}

static void say_accepted(const struct target *target, const struct leak_filter *filter) {
    struct leak_totals t;
    char text[128];
    char *condition = must_format("h.site_id IN (%s)", filter->sites ? filter->sites : "");
    if (filter->sites && sums(target, condition, &t))
        say("suppressed: %s", amount(text, sizeof(text), &t));
    free(condition);
}

/* say_ignored says how many objects are no leaks because the program says so. */
static void say_ignored(const struct target *target) {
    sqlite3_stmt *stmt = row(target, "SELECT ignored_objects, spared_objects FROM leak_check"
                                     " WHERE snapshot_id = :snapshot AND spared_objects > 0");
    char ignored[TEXT_NUMBER_SIZE], spared[TEXT_NUMBER_SIZE];
    if (!stmt)
        return;
    int64_t n = sqlite3_column_int64(stmt, 0);
    text_count(ignored, n);
    text_count(spared, sqlite3_column_int64(stmt, 1));
    say("ignored, as the program asks: %s object%s; with what only they lead to, %s are no leaks",
        ignored, n == 1 ? "" : "s", spared);
    sqlite3_finalize(stmt);
}

/* say_younger says what is left out by age. */
static void say_younger(const struct target *target, const struct leak_filter *filter) {
    struct leak_totals young, unknown;
    char text[128], age[TEXT_NUMBER_SIZE];
    const char *sites = filter->sites ? filter->sites : "";
    char *younger = must_format("h.born > " CHECKED " - %lld AND h.site_id NOT IN (%s)",
                                (long long)filter->older_than, sites);
    char *ageless = must_format("h.born IS NULL AND h.site_id NOT IN (%s)", sites);
    text_duration(age, filter->older_than * 1000000000);
    if (filter->older_than && sums(target, younger, &young) && young.direct)
        say("younger than %s, not shown: %s", age, amount(text, sizeof(text), &young));
    if (filter->older_than && sums(target, ageless, &unknown) && unknown.direct)
        say("of unknown age, not shown: %s", amount(text, sizeof(text), &unknown));
    free(younger);
    free(ageless);
}

/* say_not_new says what is left out because it had leaked, or had been allocated, before. */
static void say_not_new(const struct target *target, const struct leak_filter *filter) {
    struct leak_totals old, unknown;
    char text[128];
    if (!filter->since.word)
        return;
    if (sums(target, "leak_since(h.address) = 1", &old) && old.direct)
        say("%s before %s, not shown: %s", filter->since.checked ? "leaked" : "allocated",
            filter->since.word, amount(text, sizeof(text), &old));
    if (sums(target, "leak_since(h.address) = 2", &unknown) && unknown.direct)
        say("of unknown age, and %s has no leak check, not shown: %s", filter->since.word,
            amount(text, sizeof(text), &unknown));
}

/* say_unrecorded says what to do where the sites of leaks are not known. */
static void say_unrecorded(const struct target *target) {
    struct leak_totals t;
    char text[128];
    if (sums(target, "l.site_id = 0", &t) && t.direct + t.indirect)
        say("not recorded, hence without site and age: %s; GOMALLOC=rate=1 records every "
            "allocation",
            amount(text, sizeof(text), &t));
}

/* say_incomplete says a line for each thing that the check could not see. */
static void say_incomplete(const char *lines) {
    while (lines && *lines) {
        size_t n = strcspn(lines, "\n");
        say("incomplete: %.*s", (int)(n < MOST_LINE ? n : MOST_LINE), lines);
        lines += n + (lines[n] == '\n');
    }
}

/* say_debugger says which of the threads that did not stop are held by a debugger.  Not of a
 * process in a container, whose numbers of threads are its own. */
static void say_debugger(const struct target *target) {
    struct proc proc, holder;
    if (target->kind != TARGET_PROCESS || proc_read(target->pid, &proc) != 0 ||
        proc.ns_pid != proc.pid)
        return;
    sqlite3_stmt *stmt =
        row(target, "SELECT missing_tids FROM leak_check WHERE snapshot_id = :snapshot");
    const char *tids = stmt ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    for (char *end; tids && *tids; tids = end) {
        long tid = strtol(tids, &end, 10);
        pid_t by = end != tids && tid > 0 ? proc_holder((pid_t)tid) : 0;
        if (by != 0 && proc_read(by, &holder) == 0)
            say("thread %ld is held by a debugger, process %d (%s): when it goes on, the check can "
                "be complete",
                tid, (int)by, holder.comm);
        if (end == tids)
            break;
    }
    sqlite3_finalize(stmt);
}

void leakcheck_say_cost(const struct target *target) {
    sqlite3_stmt *stmt = row(target, "SELECT pause_ns, threads, live_objects, mark_ns + group_ns,"
                                     " incomplete, in_place, (SELECT at_exit FROM snapshot"
                                     " WHERE snapshot_id = :snapshot) FROM v1_leak_check"
                                     " WHERE snapshot_id = :snapshot");
    char pause[TEXT_NUMBER_SIZE], mark[TEXT_NUMBER_SIZE], objects[TEXT_NUMBER_SIZE];
    if (!stmt)
        return;
    say_incomplete((const char *)sqlite3_column_text(stmt, 4));
    say_debugger(target);
    bool in_place = sqlite3_column_int(stmt, 5) != 0;
    int64_t threads = sqlite3_column_int64(stmt, 1);
    text_duration(pause, sqlite3_column_int64(stmt, in_place ? 3 : 0));
    text_duration(mark, sqlite3_column_int64(stmt, 3));
    text_count(objects, sqlite3_column_int64(stmt, 2));
    if (sqlite3_column_int(stmt, 6))
        say("at the end of the program: marked %s objects in %s", objects, mark);
    else
        say("paused %s%s (%lld thread%s), marked %s objects in %s", in_place ? "at least " : "",
            pause, (long long)threads, threads == 1 ? "" : "s", objects, mark);
    sqlite3_finalize(stmt);
}

void leakcheck_say(const struct target *target, const struct leak_filter *filter,
                   const struct leak_totals *shown, bool held) {
    say_found(target, filter, shown);
    say_accepted(target, filter);
    say_ignored(target);
    say_younger(target, filter);
    say_not_new(target, filter);
    say_unrecorded(target);
    held_say(target, held);
    leakcheck_say_cost(target);
}
