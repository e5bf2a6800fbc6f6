/* SPDX-License-Identifier: BSD-3-Clause
 *
 * image_site_live: how many live objects of each size a site has.  Counted when first asked for
 * and then kept, because a join may walk it often.
 */
#include "image/site_live.h"
#include "db/vtab.h"

enum { LIVE_SITE, LIVE_GIVEN, LIVE_REQUESTED, LIVE_OBJECTS, LIVE_WEIGHT };

static const struct image_column site_live_columns[] = {
    [LIVE_SITE] = {"site", COLUMN_DERIVED_INTEGER, 0, 0, "image_site.site, 0 = not recorded"},
    [LIVE_GIVEN] = {"given", COLUMN_DERIVED_INTEGER, 0, 0, "bytes of the slot"},
    [LIVE_REQUESTED] = {"requested", COLUMN_DERIVED_INTEGER, 0, 0,
                        "bytes asked for, NULL = not recorded"},
    [LIVE_OBJECTS] = {"objects", COLUMN_DERIVED_INTEGER, 0, 0, "live objects recorded"},
    [LIVE_WEIGHT] = {"weight", COLUMN_DERIVED_REAL, 0, 0,
                     "objects that each one stands for: 1 / (1 - exp(-requested / rate))"},
};

struct site_live_cursor {
    struct vtab_cursor base;
    size_t at;
    size_t end;
};

static double site_live_rows(const struct vtab_world *world, const struct vtab_class *class) {
    size_t nsites;
    (void)class;
    image_section(world->im, GOMALLOC_SECTION_SITE, &nsites);
    return *world->site_live ? (double)(*world->site_live)->nrows : 4.0 * (double)nsites + 8;
}

static int site_live_filter(struct vtab_cursor *base, int key, int64_t value) {
    struct site_live_cursor *c = (struct site_live_cursor *)base;
    struct site_live **live = base->world->site_live;
    if (!*live && !(*live = site_live_new(base->world->im)))
        return SQLITE_NOMEM;
    c->at = 0;
    c->end = (*live)->nrows;
    if (key == VTAB_ALL)
        return SQLITE_OK;
    if (value < 0 || value >= UINT32_MAX) {
        c->end = 0;
        return SQLITE_OK;
    }
    c->at = site_live_find(*live, (uint32_t)value);
    c->end = site_live_find(*live, (uint32_t)value + 1);
    return SQLITE_OK;
}

static bool site_live_eof(struct vtab_cursor *base) {
    const struct site_live_cursor *c = (const struct site_live_cursor *)base;
    return c->at >= c->end;
}

static int site_live_next(struct vtab_cursor *base) {
    ((struct site_live_cursor *)base)->at++;
    return SQLITE_OK;
}

static int site_live_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    const struct site_live_cursor *c = (const struct site_live_cursor *)base;
    const struct site_live_row *r = &(*base->world->site_live)->rows[c->at];
    switch (column) {
    case LIVE_SITE:
        sqlite3_result_int64(ctx, r->site);
        break;
    case LIVE_GIVEN:
        sqlite3_result_int64(ctx, (int64_t)r->given);
        break;
    case LIVE_REQUESTED:
        if (r->requested != SITE_LIVE_UNKNOWN)
            sqlite3_result_int64(ctx, (int64_t)r->requested);
        break;
    case LIVE_OBJECTS:
        sqlite3_result_int64(ctx, (int64_t)r->objects);
        break;
    case LIVE_WEIGHT:
        sqlite3_result_double(ctx, r->weight);
        break;
    }
    return SQLITE_OK;
}

static int64_t site_live_rowid(struct vtab_cursor *base) {
    return (int64_t)((struct site_live_cursor *)base)->at + 1;
}

const struct vtab_class vtab_site_live_class = {
    .name = "image_site_live",
    .comment = "live objects of one size and site",
    .columns = site_live_columns,
    .ncolumns = sizeof site_live_columns / sizeof site_live_columns[0],
    .keys = VTAB_KEY(LIVE_SITE),
    .unique = 0,
    .cursor_size = sizeof(struct site_live_cursor),
    .rows = site_live_rows,
    .filter = site_live_filter,
    .eof = site_live_eof,
    .next = site_live_next,
    .column = site_live_column,
    .rowid = site_live_rowid,
};
