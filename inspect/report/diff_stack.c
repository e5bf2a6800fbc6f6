/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Numbers for call stacks that two heaps share.
 *
 * Addresses differ from run to run, numbers of stacks from file to file.  So a stack is known by
 * its caller's number and a text for its innermost frame: build-id and offset, or what the
 * functions there are called.  Stacks are numbered from the outermost frame on (a caller's stack_id
 * is always the smaller one), and equal texts below equal callers get equal numbers.
 *
 * By names, a frame with functions inlined into it counts as that many, since another build may
 * inline others; functions of the allocator and wrappers count as none; and frames of a module
 * without names count as one each run, as there is nothing to tell them apart.
 */
#include <string.h>

#include "report/diff.h"
#include "cli/view.h"

#define BASENAME(path) "replace(" path ", rtrim(" path ", replace(" path ", '/', '')), '')"

/* (stack_id, parent_id, text, nameless), callers first; a text of NULL adds no frame. */
static const char by_stack[] =
    "SELECT k.stack_id, k.parent_id, CASE f.build_id WHEN '' THEN f.module ELSE f.build_id END"
    " || printf('+%x', f.module_offset), 0"
    " FROM stack k CROSS JOIN frame f ON f.frame_id = k.frame_id"
    " WHERE k.stack_id > 0 ORDER BY k.stack_id";

#define BY_NAME(text)                                                                              \
    "SELECT k.stack_id, k.parent_id, CASE WHEN y.allocator THEN NULL"                              \
    " WHEN y.function IS NULL THEN '?' || " BASENAME(                                              \
        "f.module") " ELSE " text " END,"                                                          \
                    " y.function IS NULL"                                                          \
                    " FROM stack k CROSS JOIN frame f ON f.frame_id = k.frame_id"                  \
                    " CROSS JOIN symbol y ON y.frame_id = f.frame_id"                              \
                    " WHERE k.stack_id > 0 ORDER BY k.stack_id, y.inline_depth DESC"

static const char by_function[] = BY_NAME("y.function");
static const char by_line[] =
    BY_NAME("y.function || coalesce(' ' || " BASENAME("y.file") " || ':' || y.line, '')");

static const char *const queries[] = {
    [DIFF_BY_STACK] = by_stack, [DIFF_BY_FUNCTION] = by_function, [DIFF_BY_LINE] = by_line};

int64_t diff_number(struct diff *d, int64_t parent, const char *frame) {
    int64_t number = -1;
    sqlite3_bind_int64(d->find, 1, parent);
    sqlite3_bind_text(d->find, 2, frame, -1, SQLITE_STATIC);
    if (sqlite3_step(d->find) == SQLITE_ROW)
        number = sqlite3_column_int64(d->find, 0);
    sqlite3_reset(d->find);
    if (number >= 0)
        return number;
    sqlite3_bind_int64(d->insert, 1, parent);
    sqlite3_bind_text(d->insert, 2, frame, -1, SQLITE_STATIC);
    sqlite3_step(d->insert);
    return sqlite3_reset(d->insert) == SQLITE_OK ? sqlite3_last_insert_rowid(d->target.db) : -1;
}

/* Where the walk over a target's stacks is. */
struct walk {
    struct diff *d;
    sqlite3_stmt *known; /* number of a stack of the target */
    sqlite3_stmt *note;  /* it is this one */
    sqlite3_stmt *again; /* whether a number's own frame is such a text */
    int64_t stack;       /* of the target; 0 = none yet */
    int64_t number;      /* its own, as far as its functions were seen */
};

static int64_t known_number(struct walk *w, int64_t stack) {
    int64_t number = 0;
    sqlite3_bind_int64(w->known, 1, stack);
    if (stack > 0 && sqlite3_step(w->known) == SQLITE_ROW)
        number = sqlite3_column_int64(w->known, 0);
    sqlite3_reset(w->known);
    return number;
}

static bool same_frame(struct walk *w, int64_t number, const char *text) {
    sqlite3_bind_int64(w->again, 1, number);
    sqlite3_bind_text(w->again, 2, text, -1, SQLITE_STATIC);
    bool same = sqlite3_step(w->again) == SQLITE_ROW;
    sqlite3_reset(w->again);
    return same;
}

static bool note_number(struct walk *w) {
    if (w->stack == 0)
        return true;
    sqlite3_bind_int64(w->note, 1, w->stack);
    sqlite3_bind_int64(w->note, 2, w->number);
    sqlite3_step(w->note);
    return sqlite3_reset(w->note) == SQLITE_OK;
}

/* visit takes one row of the target; false: memory is short. */
static bool visit(struct walk *w, sqlite3_stmt *row) {
    int64_t stack = sqlite3_column_int64(row, 0);
    if (stack != w->stack) {
        if (!note_number(w))
            return false;
        w->stack = stack;
        w->number = known_number(w, sqlite3_column_int64(row, 1));
    }
    const char *text = (const char *)sqlite3_column_text(row, 2);
    if (text && !(sqlite3_column_int(row, 3) && same_frame(w, w->number, text)))
        w->number = diff_number(w->d, w->number, text);
    return w->number >= 0;
}

static enum status prepare_walk(struct walk *w, struct failure *failure) {
    sqlite3 *db = w->d->target.db;
    enum status status = diff_prepare(db, "diff", "SELECT number FROM own_stack WHERE stack_id = ?",
                                      &w->known, failure);
    if (status == STATUS_DONE)
        status = diff_prepare(db, "diff", "INSERT OR REPLACE INTO own_stack VALUES (?, ?)",
                              &w->note, failure);
    if (status == STATUS_DONE)
        status = diff_prepare(db, "diff", "SELECT 1 FROM stack WHERE stack_id = ? AND frame = ?",
                              &w->again, failure);
    return status;
}

enum status diff_stacks(struct diff *d, const struct target *target, struct failure *failure) {
    struct walk w = {.d = d};
    sqlite3_stmt *row = NULL;
    int step = SQLITE_DONE;
    bool room = true;
    enum status status = prepare_walk(&w, failure);
    if (status == STATUS_DONE)
        status = view_prepare(target, queries[d->match], NULL, &row, failure);
    while (status == STATUS_DONE && room && (step = sqlite3_step(row)) == SQLITE_ROW)
        room = visit(&w, row);
    if (status == STATUS_DONE && (!room || !note_number(&w)))
        status = fail(failure, STATUS_FAILURE, "not enough memory");
    if (status == STATUS_DONE && step != SQLITE_DONE)
        status = fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    sqlite3_finalize(row);
    sqlite3_finalize(w.known);
    sqlite3_finalize(w.note);
    sqlite3_finalize(w.again);
    return status;
}
