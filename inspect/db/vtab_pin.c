/* SPDX-License-Identifier: BSD-3-Clause
 *
 * image_pin: which sites have objects in blocks that are mostly free.  Found when first asked for
 * and then kept, because a view may walk it more than once.
 */
#include "image/pins.h"
#include "db/vtab.h"

enum { UNIT, BASE, SITE, OBJECTS, BYTES, BLOCK_BYTES, BLOCK_USED, BLOCK_OBJECTS, BLOCK_SITES };

static const struct image_column pin_columns[] = {
    [UNIT] = {"unit", COLUMN_DERIVED_INTEGER, 0, 0, "of the block: 0 span, 1 2 MiB, 2 arena"},
    [BASE] = {"base", COLUMN_DERIVED_INTEGER, 0, 0, "address of the block"},
    [SITE] = {"site", COLUMN_DERIVED_INTEGER, 0, 0, "image_site.site, 0 = not recorded"},
    [OBJECTS] = {"objects", COLUMN_DERIVED_INTEGER, 0, 0, "live ones of the site in the block"},
    [BYTES] = {"bytes", COLUMN_DERIVED_INTEGER, 0, 0, "share of block_bytes, by objects"},
    [BLOCK_BYTES] = {"block_bytes", COLUMN_DERIVED_INTEGER, 0, 0, "what goes back with the block"},
    [BLOCK_USED] = {"block_used", COLUMN_DERIVED_INTEGER, 0, 0,
                    "bytes of the block given to live objects"},
    [BLOCK_OBJECTS] = {"block_objects", COLUMN_DERIVED_INTEGER, 0, 0, "live objects in the block"},
    [BLOCK_SITES] = {"block_sites", COLUMN_DERIVED_INTEGER, 0, 0, "sites that these are of"},
};

struct pin_cursor {
    struct vtab_cursor base;
    size_t at;
    size_t end;
};

static double pin_rows(const struct vtab_world *world, const struct vtab_class *class) {
    size_t nspans;
    (void)class;
    image_section(world->im, GOMALLOC_SECTION_SPAN, &nspans);
    return *world->pins ? (double)(*world->pins)->nrows : 4.0 * (double)nspans + 8;
}

static int pin_filter(struct vtab_cursor *base, int key, int64_t value) {
    struct pin_cursor *c = (struct pin_cursor *)base;
    struct pins **pins = base->world->pins;
    if (!*pins && !(*pins = pins_new(base->world->im)))
        return SQLITE_NOMEM;
    c->at = 0;
    c->end = (*pins)->nrows;
    if (key == VTAB_ALL)
        return SQLITE_OK;
    bool valid = value >= 0 && value < PIN_NUNITS;
    c->at = valid ? pins_find(*pins, value) : c->end;
    c->end = valid ? pins_find(*pins, value + 1) : c->end;
    return SQLITE_OK;
}

static bool pin_eof(struct vtab_cursor *base) {
    const struct pin_cursor *c = (const struct pin_cursor *)base;
    return c->at >= c->end;
}

static int pin_next(struct vtab_cursor *base) {
    ((struct pin_cursor *)base)->at++;
    return SQLITE_OK;
}

static int pin_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    const struct pin_cursor *c = (const struct pin_cursor *)base;
    const struct pin *p = &(*base->world->pins)->rows[c->at];
    const uint64_t values[] = {
        [UNIT] = p->unit,
        [BASE] = p->base,
        [SITE] = p->site,
        [OBJECTS] = p->objects,
        [BYTES] = p->bytes,
        [BLOCK_BYTES] = p->block_bytes,
        [BLOCK_USED] = p->block_used,
        [BLOCK_OBJECTS] = p->block_objects,
        [BLOCK_SITES] = p->block_sites,
    };
    sqlite3_result_int64(ctx, (int64_t)values[column]);
    return SQLITE_OK;
}

static int64_t pin_rowid(struct vtab_cursor *base) {
    return (int64_t)((struct pin_cursor *)base)->at + 1;
}

const struct vtab_class vtab_pin_class = {
    .name = "image_pin",
    .comment = "a site that has objects in a block that is mostly free",
    .columns = pin_columns,
    .ncolumns = sizeof pin_columns / sizeof pin_columns[0],
    .keys = VTAB_KEY(UNIT),
    .unique = 0,
    .cursor_size = sizeof(struct pin_cursor),
    .rows = pin_rows,
    .filter = pin_filter,
    .eof = pin_eof,
    .next = pin_next,
    .column = pin_column,
    .rowid = pin_rowid,
};
