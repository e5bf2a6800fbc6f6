/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The two heaps that a command line asks to compare: which they are, and what is said of them.
 */
#include <stdlib.h>
#include <string.h>

#include "report/pair.h"
#include "base/text.h"
#include "cli/view.h"

static void copy_text(char *buf, size_t size, sqlite3_stmt *row, int column) {
    const char *text = (const char *)sqlite3_column_text(row, column);
    char *clean = text_clean(text ? text : "", text ? strlen(text) : 0, text_utf8_locale());
    snprintf(buf, size, "%s", clean);
    free(clean);
}

static enum status moment_of(const struct target *target, struct pair_moment *ret,
                             struct failure *failure) {
    static const char sql[] =
        "SELECT comm, boot_id || ' ' || pid || ' ' || start_ticks, exe, pid, captured_ns, start_ns,"
        " rate FROM snapshot s JOIN process p ON p.process_id = s.process_id"
        " WHERE s.snapshot_id = :snapshot";
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        copy_text(ret->comm, sizeof(ret->comm), stmt, 0);
        copy_text(ret->process, sizeof(ret->process), stmt, 1);
        copy_text(ret->exe, sizeof(ret->exe), stmt, 2);
        ret->pid = sqlite3_column_int64(stmt, 3);
        ret->captured_ns = sqlite3_column_int64(stmt, 4);
        ret->start_ns = sqlite3_column_int64(stmt, 5);
        ret->rate = sqlite3_column_int64(stmt, 6);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* first_of sets a to the first snapshot of b's process, else of the file. */
static enum status first_of(const struct target *b, struct target *a, struct failure *failure) {
    static const char sql[] =
        "SELECT a.snapshot_id FROM snapshot b, snapshot a WHERE b.snapshot_id = :snapshot"
        " AND a.snapshot_id <> b.snapshot_id"
        " ORDER BY a.process_id = b.process_id DESC, a.captured_ns, a.snapshot_id LIMIT 1";
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(b, sql, NULL, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW)
        a->snapshot = sqlite3_column_int64(stmt, 0);
    else if (status == STATUS_DONE)
        status = fail(failure, STATUS_NO_TARGET,
                      "%s holds one snapshot only; add another with \"goinspect snapshot PID -o "
                      "%s\", or name what it is to be compared with",
                      b->word, b->word);
    sqlite3_finalize(stmt);
    return status;
}

/* open_within opens a file twice: word says which of its snapshots is a, or none. */
static enum status open_within(const char *word, struct pair *pair, struct failure *failure) {
    enum status status = target_open(word, NULL, &pair->a, failure);
    if (status != STATUS_DONE)
        return status;
    if (pair->a.kind != TARGET_DATABASE)
        return fail(failure, STATUS_USAGE, "diff compares two heaps, and %s is one%s", word,
                    pair->a.kind == TARGET_PROCESS
                        ? ": save it with \"goinspect snapshot PID -o FILE.gmi\", and name that "
                          "file and the process later on"
                        : ": name another file, or a process");
    status = target_open(pair->a.word, NULL, &pair->b, failure);
    if (status == STATUS_DONE && !pair->a.file)
        status = first_of(&pair->b, &pair->a, failure);
    return status;
}

enum status pair_open(const char *first, const char *second, struct pair *ret,
                      struct failure *failure) {
    *ret = (struct pair){.a = {.word = first}};
    enum status status =
        second ? target_open(first, NULL, &ret->a, failure) : open_within(first, ret, failure);
    if (status == STATUS_DONE && second)
        status = target_open(second, NULL, &ret->b, failure);
    if (status == STATUS_DONE)
        status = moment_of(&ret->a, &ret->moments[0], failure);
    if (status == STATUS_DONE)
        status = moment_of(&ret->b, &ret->moments[1], failure);
    if (status != STATUS_DONE)
        pair_close(ret);
    return status;
}

void pair_close(struct pair *pair) {
    target_close(&pair->a);
    target_close(&pair->b);
}

static void print_moment(const char *what, const struct target *target,
                         const struct pair_moment *moment, FILE *out) {
    char when[TEXT_NUMBER_SIZE];
    text_moment(when, moment->captured_ns);
    fprintf(out, "%s %s", what, target->word);
    if (target->kind == TARGET_DATABASE)
        fprintf(out, "@%lld", (long long)target->snapshot);
    fprintf(out, ": %s %lld, %s", moment->comm, (long long)moment->pid, when);
}

void pair_print(const struct pair *pair, FILE *out) {
    char apart[TEXT_NUMBER_SIZE];
    int64_t ns = pair->moments[1].captured_ns - pair->moments[0].captured_ns;
    print_moment("From", &pair->a, &pair->moments[0], out);
    print_moment("\n  to", &pair->b, &pair->moments[1], out);
    text_duration(apart, ns < 0 ? -ns : ns);
    fprintf(out, " (%s %s)\n\n", apart, ns < 0 ? "earlier" : "later");
}

void pair_say(const struct pair *pair, bool by_name) {
    const struct pair_moment *a = &pair->moments[0], *b = &pair->moments[1];
    const char *how =
        by_name ? "; the builds differ, so call stacks are matched by the functions' names" : "";
    if (strcmp(a->process, b->process) != 0)
        say("note: %s: %s %lld and %s %lld%s",
            strcmp(a->exe, b->exe) != 0 ? "different programs" : "two processes of one program",
            a->comm, (long long)a->pid, b->comm, (long long)b->pid, how);
    else if (a->start_ns != b->start_ns)
        say("note: process %lld has executed a program between the two%s", (long long)a->pid, how);
    else if (by_name)
        say("note: %s", how + 2);
}
