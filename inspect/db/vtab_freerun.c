/* SPDX-License-Identifier: BSD-3-Clause
 *
 * image_free_run: free pages by the length of their run (freeruns.h).
 */
#include "image/freeruns.h"
#include "db/vtab.h"

enum { ARENA, MIN_PAGES, RUNS, PAGES, RETURNED, LONGEST };

static const struct image_column free_run_columns[] = {
    [ARENA] = {"arena", COLUMN_DERIVED_INTEGER, 0, 0, "its address, 0 = the heap as a whole"},
    [MIN_PAGES] = {"min_pages", COLUMN_DERIVED_INTEGER, 0, 0,
                   "shortest run that is counted here: 1, 2, 4, ..., 512"},
    [RUNS] = {"runs", COLUMN_DERIVED_INTEGER, 0, 0, "of free pages"},
    [PAGES] = {"pages", COLUMN_DERIVED_INTEGER, 0, 0, "in these runs"},
    [RETURNED] = {"returned_pages", COLUMN_DERIVED_INTEGER, 0, 0,
                  "of the pages, given back or never backed"},
    [LONGEST] = {"longest", COLUMN_DERIVED_INTEGER, 0, 0, "pages of the longest of these runs"},
};

struct free_run_cursor {
    struct vtab_cursor base;
    struct freeruns runs; /* found by filter */
    size_t at;
};

static double free_run_rows(const struct vtab_world *world, const struct vtab_class *class) {
    size_t n;
    (void)class;
    image_section(world->im, GOMALLOC_SECTION_ARENA, &n);
    return (double)FREERUNS_LENGTHS * (double)(n + 1);
}

static int free_run_filter(struct vtab_cursor *base, int key, int64_t value) {
    struct free_run_cursor *c = (struct free_run_cursor *)base;
    (void)key, (void)value;
    freeruns_free(&c->runs);
    c->at = 0;
    return freeruns_find(base->world->im, &c->runs) ? SQLITE_NOMEM : SQLITE_OK;
}

static bool free_run_eof(struct vtab_cursor *base) {
    const struct free_run_cursor *c = (const struct free_run_cursor *)base;
    return c->at >= c->runs.nrows;
}

static int free_run_next(struct vtab_cursor *base) {
    ((struct free_run_cursor *)base)->at++;
    return SQLITE_OK;
}

static int free_run_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    const struct free_run_cursor *c = (const struct free_run_cursor *)base;
    const struct freerun *r = &c->runs.rows[c->at];
    const uint64_t values[] = {
        [ARENA] = r->arena, [MIN_PAGES] = r->min_pages, [RUNS] = r->runs,
        [PAGES] = r->pages, [RETURNED] = r->returned,   [LONGEST] = r->longest,
    };
    sqlite3_result_int64(ctx, (int64_t)values[column]);
    return SQLITE_OK;
}

static int64_t free_run_rowid(struct vtab_cursor *base) {
    return (int64_t)((struct free_run_cursor *)base)->at + 1;
}

static void free_run_close(struct vtab_cursor *base) {
    freeruns_free(&((struct free_run_cursor *)base)->runs);
}

const struct vtab_class vtab_free_run_class = {
    .name = "image_free_run",
    .comment = "free pages that stand in runs of about the same length",
    .columns = free_run_columns,
    .ncolumns = sizeof free_run_columns / sizeof free_run_columns[0],
    .cursor_size = sizeof(struct free_run_cursor),
    .rows = free_run_rows,
    .filter = free_run_filter,
    .eof = free_run_eof,
    .next = free_run_next,
    .column = free_run_column,
    .rowid = free_run_rowid,
    .close = free_run_close,
};
