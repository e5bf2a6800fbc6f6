/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which leaks are new since an earlier snapshot.
 *
 * An object is known by its address and by the second in which it was allocated.  Two that follow
 * each other in one place within a second, both leaked, can't be: the first would have been freed.
 */
#include "report/leaksince.h"

#include <stdlib.h>
#include <string.h>

#include "cli/view.h"

enum { NEW, OLD, NOT_TOLD };

struct leaked {
    int64_t address;
    int64_t born; /* seconds from the process's start; -1: not known */
    int state;
};

/* By address. */
struct leaked_list {
    struct leaked *all;
    size_t n;
};

static void free_list(void *p) {
    struct leaked_list *l = p;
    free(l->all);
    free(l);
}

/* read_leaks returns the leaks that a target names, NULL after *failure. */
static struct leaked_list *read_leaks(const struct target *target, struct failure *failure) {
    struct leaked_list *l = must_calloc(1, sizeof(*l));
    size_t room = 0;
    int step = SQLITE_DONE;
    sqlite3_stmt *stmt = NULL;
    enum status status =
        view_prepare(target,
                     "SELECT address, coalesce(born, -1) FROM leak WHERE snapshot_id = :snapshot"
                     " ORDER BY address",
                     NULL, &stmt, failure);
    while (status == STATUS_DONE && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (l->n == room) {
            room = room ? 2 * room : 1024;
            l->all = must_realloc(l->all, room, sizeof(*l->all));
        }
        l->all[l->n++] = (struct leaked){.address = sqlite3_column_int64(stmt, 0),
                                         .born = sqlite3_column_int64(stmt, 1)};
    }
    if (status == STATUS_DONE && step != SQLITE_DONE)
        status = fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    sqlite3_finalize(stmt);
    if (status == STATUS_DONE)
        return l;
    free_list(l);
    return NULL;
}

static int by_address(const void *a, const void *b) {
    int64_t x = ((const struct leaked *)a)->address, y = ((const struct leaked *)b)->address;
    return (x > y) - (x < y);
}

static const struct leaked *find(const struct leaked_list *l, int64_t address) {
    const struct leaked key = {.address = address};
    return l->n ? bsearch(&key, l->all, l->n, sizeof(*l->all), by_address) : NULL;
}

/* tell_by_list: those that the earlier snapshot names are old. */
static void tell_by_list(struct leaked_list *l, const struct leaked_list *earlier) {
    for (size_t i = 0; i < l->n; i++) {
        const struct leaked *e = find(earlier, l->all[i].address);
        l->all[i].state = e && e->born == l->all[i].born ? OLD : NEW;
    }
}

/* tell_by_age: those that had been allocated then are old. */
static void tell_by_age(struct leaked_list *l, int64_t seconds) {
    for (size_t i = 0; i < l->n; i++)
        l->all[i].state = l->all[i].born < 0 ? NOT_TOLD : l->all[i].born < seconds ? OLD : NEW;
}

static void leak_since(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    const struct leaked *l = find(sqlite3_user_data(ctx), sqlite3_value_int64(argv[0]));
    (void)argc;
    sqlite3_result_int(ctx, l ? l->state : NOT_TOLD);
}

/* ---- the two snapshots -------------------------------------------------------------------- */

/* Whose snapshot it is, and of when. */
struct moment {
    char boot_id[40];
    int64_t pid, start_ticks, start_ns, captured_ns, checks;
};

static enum status read_moment(const struct target *target, struct moment *ret,
                               struct failure *failure) {
    static const char sql[] =
        "SELECT boot_id, pid, start_ticks, start_ns, captured_ns,"
        " (SELECT count(*) FROM leak_check c WHERE c.snapshot_id = s.snapshot_id)"
        " FROM snapshot s JOIN process p ON p.process_id = s.process_id"
        " WHERE s.snapshot_id = :snapshot";
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        snprintf(ret->boot_id, sizeof(ret->boot_id), "%s",
                 (const char *)sqlite3_column_text(stmt, 0));
        ret->pid = sqlite3_column_int64(stmt, 1);
        ret->start_ticks = sqlite3_column_int64(stmt, 2);
        ret->start_ns = sqlite3_column_int64(stmt, 3);
        ret->captured_ns = sqlite3_column_int64(stmt, 4);
        ret->checks = sqlite3_column_int64(stmt, 5);
    } else if (status == STATUS_DONE) {
        status = fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    }
    sqlite3_finalize(stmt);
    return status;
}

/* compare checks that the snapshots are of one process, and in order.  One that has called exec has
 * another heap. */
static enum status compare(const struct target *target, const struct moment *now, const char *word,
                           const struct moment *then, struct failure *failure) {
    if (strcmp(now->boot_id, then->boot_id) != 0 || now->pid != then->pid ||
        now->start_ticks != then->start_ticks || now->start_ns != then->start_ns)
        return fail(failure, STATUS_FAILURE,
                    "--since: %s is a snapshot of another process (pid %lld) than %s (pid %lld), "
                    "or of one before an exec; goinspect diff compares different ones",
                    word, (long long)then->pid, target->word, (long long)now->pid);
    if (then->captured_ns >= now->captured_ns)
        return fail(failure, STATUS_FAILURE,
                    "--since: %s is not earlier than %s; an earlier snapshot of a file is named "
                    "FILE.db@NUMBER",
                    word, target->word);
    return STATUS_DONE;
}

static enum status tell(const struct target *target, const struct target *earlier,
                        const struct moment *then, struct failure *failure) {
    struct leaked_list *l = read_leaks(target, failure), *before = NULL;
    if (l && then->checks)
        before = read_leaks(earlier, failure);
    if (!l || (then->checks && !before)) {
        if (l)
            free_list(l);
        return failure->status;
    }
    if (before)
        tell_by_list(l, before);
    else
        tell_by_age(l, (then->captured_ns - then->start_ns) / 1000000000);
    if (before)
        free_list(before);
    if (sqlite3_create_function_v2(target->db, "leak_since", 1, SQLITE_UTF8, l, leak_since, NULL,
                                   NULL, free_list) != SQLITE_OK)
        return fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    return STATUS_DONE;
}

enum status leaksince_open(const struct target *target, const char *word, struct leak_since *ret,
                           struct failure *failure) {
    struct target earlier;
    struct moment now = {.pid = 0}, then = {.pid = 0};
    enum status status = target_open(word, NULL, &earlier, failure);
    if (status != STATUS_DONE)
        return status;
    status = read_moment(target, &now, failure);
    if (status == STATUS_DONE)
        status = read_moment(&earlier, &then, failure);
    if (status == STATUS_DONE)
        status = compare(target, &now, word, &then, failure);
    if (status == STATUS_DONE)
        status = tell(target, &earlier, &then, failure);
    if (status == STATUS_DONE)
        *ret = (struct leak_since){.word = word, .checked = then.checks > 0};
    target_close(&earlier);
    return status;
}
