/* SPDX-License-Identifier: BSD-3-Clause
 *
 * image_object: the live objects of an image in the order of their addresses, which no section
 * holds as such: they are the bits of the spans' bitmaps.
 */
#include "image/site_live.h"
#include "db/vtab.h"

enum {
    OBJECT_ADDRESS,
    OBJECT_SPAN,
    OBJECT_SLOT,
    OBJECT_GIVEN,
    OBJECT_REQUESTED,
    OBJECT_SITE,
    OBJECT_WEIGHT,
    OBJECT_BORN
};

static const struct image_column object_columns[] = {
    [OBJECT_ADDRESS] = {"address", COLUMN_DERIVED_INTEGER, 0, 0, "of its first byte"},
    [OBJECT_SPAN] = {"span", COLUMN_DERIVED_INTEGER, 0, 0, "base of its span"},
    [OBJECT_SLOT] = {"slot", COLUMN_DERIVED_INTEGER, 0, 0, "in its span"},
    [OBJECT_GIVEN] = {"given", COLUMN_DERIVED_INTEGER, 0, 0, "bytes of the slot"},
    [OBJECT_REQUESTED] = {"requested", COLUMN_DERIVED_INTEGER, 0, 0,
                          "bytes asked for, NULL = not recorded"},
    [OBJECT_SITE] = {"site", COLUMN_DERIVED_INTEGER, 0, 0, "0 = not recorded"},
    [OBJECT_WEIGHT] = {"weight", COLUMN_DERIVED_REAL, 0, 0,
                       "objects that a recorded one stands for: 1 / (1 - exp(-requested / rate))"},
    [OBJECT_BORN] = {"born", COLUMN_DERIVED_INTEGER, 0, 0,
                     "seconds from start_ns to its allocation, NULL = not known"},
};

struct object_cursor {
    struct vtab_cursor base;
    struct image_object_iter it;
    struct image_object object;
    bool more;
};

static double object_rows(const struct vtab_world *world, const struct vtab_class *class) {
    size_t n, live = 0;
    const struct gomalloc_span *spans = image_section(world->im, GOMALLOC_SECTION_SPAN, &n);
    (void)class;
    for (size_t i = 0; i < n; i++)
        live += spans[i].live;
    return (double)live;
}

static int object_next(struct vtab_cursor *base) {
    struct object_cursor *c = (struct object_cursor *)base;
    c->more = image_object_next(&c->it, &c->object);
    return SQLITE_OK;
}

/* An address finds the object that begins there, and is the last of its walk. */
static void begin_address(struct object_cursor *c, uint64_t address) {
    const struct image *im = c->base.world->im;
    c->it = (struct image_object_iter){.im = im};
    c->more = image_object_at(im, address, &c->object) && c->object.address == address;
}

static int object_filter(struct vtab_cursor *base, int key, int64_t value) {
    struct object_cursor *c = (struct object_cursor *)base;
    const struct image *im = base->world->im;
    if (key == OBJECT_ADDRESS) {
        begin_address(c, (uint64_t)value);
        return SQLITE_OK;
    }
    if (key == OBJECT_SPAN) {
        size_t span = image_find(im, GOMALLOC_SECTION_SPAN, (uint64_t)value);
        c->more = false;
        if (span == SIZE_MAX)
            return SQLITE_OK;
        image_object_begin_span(im, &c->it, span);
    } else
        image_object_begin_watched(im, "storing objects", &c->it); /* only an import is watched */
    return object_next(base);
}

static bool object_eof(struct vtab_cursor *base) {
    return !((struct object_cursor *)base)->more;
}

/* born_of returns image_slot.born of a recorded object, 0: not known. */
static uint32_t born_of(const struct image *im, const struct image_object *o) {
    size_t n;
    const struct gomalloc_slot *slots = image_section(im, GOMALLOC_SECTION_SLOT, &n);
    return o->site != 0 ? slots[o->span->slot_index + o->slot].born : 0;
}

static int object_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    const struct image_object *o = &((struct object_cursor *)base)->object;
    uint32_t born;
    switch (column) {
    case OBJECT_ADDRESS:
        sqlite3_result_int64(ctx, (int64_t)o->address);
        break;
    case OBJECT_SPAN:
        sqlite3_result_int64(ctx, (int64_t)o->span->base);
        break;
    case OBJECT_SLOT:
        sqlite3_result_int64(ctx, o->slot);
        break;
    case OBJECT_GIVEN:
        sqlite3_result_int64(ctx, (int64_t)o->span->elem_size);
        break;
    case OBJECT_REQUESTED:
        if (o->requested_known)
            sqlite3_result_int64(ctx, (int64_t)o->requested);
        break;
    case OBJECT_SITE:
        sqlite3_result_int64(ctx, o->site);
        break;
    case OBJECT_WEIGHT:
        sqlite3_result_double(ctx, site_live_weight(o->rate, o->site, o->requested));
        break;
    case OBJECT_BORN:
        born = born_of(base->world->im, o);
        if (born)
            sqlite3_result_int64(ctx, (int64_t)born - 1);
        break;
    }
    return SQLITE_OK;
}

static int64_t object_rowid(struct vtab_cursor *base) {
    return (int64_t)((struct object_cursor *)base)->object.address;
}

const struct vtab_class vtab_object_class = {
    .name = "image_object",
    .comment = "a live object",
    .columns = object_columns,
    .ncolumns = sizeof object_columns / sizeof object_columns[0],
    .keys = VTAB_KEY(OBJECT_ADDRESS) | VTAB_KEY(OBJECT_SPAN),
    .unique = VTAB_KEY(OBJECT_ADDRESS),
    .cursor_size = sizeof(struct object_cursor),
    .rows = object_rows,
    .filter = object_filter,
    .eof = object_eof,
    .next = object_next,
    .column = object_column,
    .rowid = object_rowid,
};
