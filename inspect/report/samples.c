/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sites of a target as samples.
 *
 * Everything is looked up by key, frame by frame, so that over an image names are looked up for
 * what is on some stack and for nothing else.
 */
#include <stdlib.h>
#include <string.h>

#include "report/samples.h"
#include "base/text.h"
#include "cli/view.h"

#define MAX_FRAMES 4096 /* of a stack; the library keeps 512 */

struct samples {
    sqlite3_stmt *sites;
    sqlite3_stmt *stack;
    sqlite3_stmt *code;
    sqlite3_stmt *symbols;
    int error; /* SQLITE_OK, or the first */
    int64_t frames[MAX_FRAMES];
};

static const char sites_sql[] =
    "SELECT s.site_id, s.alloc_objects, s.alloc_bytes, s.live_objects, s.live_bytes,"
    " CASE k.caller_id WHEN 0 THEN k.stack_id ELSE k.caller_id END, e.words"
    " FROM site_figure s JOIN stack k ON k.stack_id = s.stack_id"
    " LEFT JOIN (SELECT %s) e ON e.site_id = s.site_id"
    " WHERE s.snapshot_id = :snapshot ORDER BY s.live_bytes DESC, s.alloc_bytes DESC";

/* The verdict, shorter than v1_escape's own text, so that equal ones can be summed up. */
static const char escape_sql[] =
    "site_id, CASE verdict WHEN 'escapes to thread' THEN 'thread'"
    " WHEN 'escapes' THEN coalesce('escapes ' || calls_up || CASE calls_up WHEN 1"
    " THEN ' call up' ELSE ' calls up' END, verdict) ELSE verdict END AS words"
    " FROM v1_escape WHERE snapshot_id = :snapshot";

static const char stack_sql[] = "SELECT parent_id, frame_id FROM stack WHERE stack_id = ?1";
static const char code_sql[] = "SELECT module, module_offset FROM frame WHERE frame_id = ?1";
static const char symbols_sql[] = "SELECT function, file, line, %s, allocator FROM symbol"
                                  " WHERE frame_id = ?1 ORDER BY inline_depth";

/* prepare tries the statement with one piece and then with the other: files of older versions do
 * not have all views and columns. */
static enum status prepare(const struct target *target, const char *sql, const char *piece,
                           const char *other, sqlite3_stmt **ret, struct failure *failure) {
    char *with = must_format(sql, piece), *without = must_format(sql, other);
    enum status status = view_prepare(target, with, NULL, ret, failure);
    if (status != STATUS_DONE)
        status = view_prepare(target, without, NULL, ret, failure);
    free(with);
    free(without);
    return status;
}

static void finalize(struct samples *s) {
    sqlite3_finalize(s->sites);
    sqlite3_finalize(s->stack);
    sqlite3_finalize(s->code);
    sqlite3_finalize(s->symbols);
    free(s);
}

enum status samples_open(const struct target *target, bool escape, struct samples **ret,
                         struct failure *failure) {
    static const char no_escape[] = "NULL AS site_id, NULL AS words";
    struct samples *s = must_calloc(1, sizeof(*s));
    enum status status =
        prepare(target, sites_sql, escape ? escape_sql : no_escape, no_escape, &s->sites, failure);
    if (status == STATUS_DONE)
        status = prepare(target, symbols_sql, "col", "NULL", &s->symbols, failure);
    if (status == STATUS_DONE)
        status = view_prepare(target, stack_sql, NULL, &s->stack, failure);
    if (status == STATUS_DONE)
        status = view_prepare(target, code_sql, NULL, &s->code, failure);
    *ret = s;
    if (status != STATUS_DONE)
        finalize(s);
    return status;
}

static bool step(struct samples *s, sqlite3_stmt *stmt) {
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE && s->error == SQLITE_OK)
        s->error = rc;
    return rc == SQLITE_ROW;
}

static bool find(struct samples *s, sqlite3_stmt *stmt, int64_t key) {
    sqlite3_reset(stmt);
    sqlite3_bind_int64(stmt, 1, key);
    return step(s, stmt);
}

/* read_stack fills s->frames from a stack outwards; returns their number. */
static size_t read_stack(struct samples *s, int64_t stack) {
    size_t n = 0;
    while (stack != 0 && n < MAX_FRAMES && find(s, s->stack, stack)) {
        stack = sqlite3_column_int64(s->stack, 0);
        s->frames[n++] = sqlite3_column_int64(s->stack, 1);
    }
    return n;
}

bool samples_next(struct samples *s, struct sample *ret) {
    if (!step(s, s->sites))
        return false;
    *ret = (struct sample){.site = sqlite3_column_int64(s->sites, 0),
                           .escape = (const char *)sqlite3_column_text(s->sites, 6),
                           .frames = s->frames};
    for (int i = 0; i < SAMPLE_NVALUES; i++)
        ret->values[i] = sqlite3_column_int64(s->sites, 1 + i);
    ret->nframes = read_stack(s, sqlite3_column_int64(s->sites, 5));
    ret->name = ret->site == 0 ? "(not recorded)" : "(no stack)";
    return true;
}

void samples_code(struct samples *s, int64_t frame, struct sample_code *ret) {
    *ret = (struct sample_code){"", 0};
    if (!find(s, s->code, frame))
        return;
    const char *module = (const char *)sqlite3_column_text(s->code, 0);
    *ret = (struct sample_code){module ? module : "", (uint64_t)sqlite3_column_int64(s->code, 1)};
}

/* place_of is what a frame without a name is called. */
static char *place_of(struct samples *s, int64_t frame) {
    struct sample_code code;
    samples_code(s, frame, &code);
    const char *slash = strrchr(code.module, '/');
    return must_format("%s%s0x%llx", slash ? slash + 1 : code.module, code.module[0] ? "+" : "",
                       (unsigned long long)code.offset);
}

/* all_allocator tells whether no function at a frame is outside of the allocator: then none is left
 * out. */
static bool all_allocator(struct samples *s, int64_t frame) {
    for (bool more = find(s, s->symbols, frame); more; more = step(s, s->symbols))
        if (!sqlite3_column_int(s->symbols, 4))
            return false;
    return true;
}

void samples_lines(struct samples *s, int64_t frame,
                   void (*visit)(const struct sample_line *line, void *arg), void *arg) {
    bool keep = all_allocator(s, frame);
    for (bool more = find(s, s->symbols, frame); more; more = step(s, s->symbols)) {
        const char *function = (const char *)sqlite3_column_text(s->symbols, 0);
        const char *file = (const char *)sqlite3_column_text(s->symbols, 1);
        keep = keep || !sqlite3_column_int(s->symbols, 4);
        if (!keep)
            continue;
        char *place = function ? NULL : place_of(s, frame);
        const struct sample_line line = {.function = function ? function : place,
                                         .file = file ? file : "",
                                         .line = sqlite3_column_int64(s->symbols, 2),
                                         .column = sqlite3_column_int64(s->symbols, 3),
                                         .named = function != NULL};
        visit(&line, arg);
        free(place);
    }
}

enum status samples_close(struct samples *s, struct failure *failure) {
    enum status status = STATUS_DONE;
    if (s->error != SQLITE_OK)
        status = fail(failure, STATUS_FAILURE, "%s", sqlite3_errstr(s->error));
    finalize(s);
    return status;
}
