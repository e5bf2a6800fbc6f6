/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is found of spans and arenas by looking at each of their objects or pages: image_span_figure
 * and image_arena_figure.
 */
#include <string.h>

#include "image/backing.h"
#include "db/vtab.h"

#define WATCH_EVERY 64 /* spans, which may have a thousand objects each */

#define INTEGER(name, text)                                                                        \
    { name, COLUMN_DERIVED_INTEGER, 0, 0, text }

/* A walk over the records of a section, for each of which there is a row. */
struct figure_cursor {
    struct vtab_cursor base;
    size_t at, end;
    size_t summed_up; /* number + 1 of the span that these are of; 0: none */
    uint64_t known;   /* live objects in it whose size is known */
    uint64_t asked;   /* bytes that they asked for */
};

static enum gomalloc_section_id section_of(const struct vtab_class *class) {
    return class == &vtab_span_figure_class ? GOMALLOC_SECTION_SPAN : GOMALLOC_SECTION_ARENA;
}

static double figure_rows(const struct vtab_world *world, const struct vtab_class *class) {
    size_t n;
    image_section(world->im, section_of(class), &n);
    return (double)n;
}

/* The key is the base, column 0. */
static int figure_filter(struct vtab_cursor *base, int key, int64_t value) {
    struct figure_cursor *c = (struct figure_cursor *)base;
    c->at = 0;
    image_section(base->world->im, section_of(base->class), &c->end);
    if (key == VTAB_ALL)
        return SQLITE_OK;
    size_t found = image_find(base->world->im, section_of(base->class), (uint64_t)value);
    c->at = found == SIZE_MAX ? c->end : found;
    c->end = found == SIZE_MAX ? c->end : found + 1;
    return SQLITE_OK;
}

static bool figure_eof(struct vtab_cursor *base) {
    const struct figure_cursor *c = (const struct figure_cursor *)base;
    return c->at >= c->end;
}

static int figure_next(struct vtab_cursor *base) {
    struct figure_cursor *c = (struct figure_cursor *)base;
    c->at++;
    if (c->at % WATCH_EVERY == 0 && base->class == &vtab_span_figure_class)
        image_passed("measuring spans", c->at, c->end);
    return SQLITE_OK;
}

static int64_t figure_rowid(struct vtab_cursor *base) {
    return (int64_t)((struct figure_cursor *)base)->at + 1;
}

/* ---- spans -------------------------------------------------------------------------------- */

/* Columns of both: they begin alike. */
enum {
    BASE,
    RESIDENT,
    SWAPPED,
    RECORDED,
    REQUESTED,
    LIVE_RESIDENT,
    FREE_RESIDENT,
    HUGE_BYTES = RECORDED,
    HUGE_EXACT,
    FREE
};

static const struct image_column span_figure_columns[] = {
    [BASE] = INTEGER("base", "image_span.base"),
    [RESIDENT] = INTEGER("resident_bytes", "of the span, NULL = not known"),
    [SWAPPED] = INTEGER("swapped_bytes", "of the span, swapped out, NULL = not known"),
    [RECORDED] = INTEGER("recorded_objects", "live ones of which is known what they asked for"),
    [REQUESTED] = INTEGER("requested_bytes", "that these asked for"),
    [LIVE_RESIDENT] = INTEGER("live_resident", "of resident_bytes, in live objects"),
    [FREE_RESIDENT] = INTEGER("free_resident", "of resident_bytes, in free slots"),
};

/* sum_up counts the live objects of the cursor's span whose size is known, and these sizes. */
static void sum_up(struct figure_cursor *c) {
    size_t n;
    const struct image *im = c->base.world->im;
    const struct gomalloc_span *s =
        (const struct gomalloc_span *)image_section(im, GOMALLOC_SECTION_SPAN, &n) + c->at;
    struct image_object_iter it;
    struct image_object o;
    if (c->summed_up == c->at + 1)
        return;
    c->summed_up = c->at + 1;
    c->known = c->asked = 0;
    if (s->slot_index == GOMALLOC_NO_SLOTS && s->large_requested == 0)
        return;
    image_object_begin_span(im, &it, c->at);
    while (image_object_next(&it, &o)) {
        c->known += o.requested_known;
        c->asked += o.requested_known ? o.requested : 0;
    }
}

static int span_figure_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    struct figure_cursor *c = (struct figure_cursor *)base;
    size_t n;
    const struct image *im = base->world->im;
    const struct gomalloc_span *s =
        (const struct gomalloc_span *)image_section(im, GOMALLOC_SECTION_SPAN, &n) + c->at;
    struct backing_sum sum;
    uint64_t live, free;
    switch (column) {
    case BASE:
        sqlite3_result_int64(ctx, (int64_t)s->base);
        break;
    case RECORDED:
    case REQUESTED:
        sum_up(c);
        sqlite3_result_int64(ctx, (int64_t)(column == RECORDED ? c->known : c->asked));
        break;
    case RESIDENT:
    case SWAPPED:
        if (backing_sum(im, s->base, s->base + s->npages * GOMALLOC_IMAGE_PAGE, &sum))
            sqlite3_result_int64(ctx, (int64_t)(column == RESIDENT ? sum.resident : sum.swapped));
        break;
    case LIVE_RESIDENT:
    case FREE_RESIDENT:
        if (s->state == GOMALLOC_SPAN_IN_USE && backing_split(im, s, &live, &free))
            sqlite3_result_int64(ctx, (int64_t)(column == LIVE_RESIDENT ? live : free));
        break;
    }
    return SQLITE_OK;
}

const struct vtab_class vtab_span_figure_class = {
    .name = "image_span_figure",
    .comment = "a span: what was asked for, and what is resident",
    .columns = span_figure_columns,
    .ncolumns = sizeof span_figure_columns / sizeof span_figure_columns[0],
    .keys = VTAB_KEY(BASE),
    .unique = VTAB_KEY(BASE),
    .cursor_size = sizeof(struct figure_cursor),
    .rows = figure_rows,
    .filter = figure_filter,
    .eof = figure_eof,
    .next = figure_next,
    .column = span_figure_column,
    .rowid = figure_rowid,
};

/* ---- arenas ------------------------------------------------------------------------------- */

#define ARENA_BYTES (UINT64_C(64) << 20)

static const struct image_column arena_figure_columns[] = {
    [BASE] = INTEGER("base", "image_arena.base"),
    [RESIDENT] = INTEGER("resident_bytes", "of the arena, NULL = not known"),
    [SWAPPED] = INTEGER("swapped_bytes", "of the arena, swapped out, NULL = not known"),
    [HUGE_BYTES] = INTEGER("huge_bytes", "of the resident ones, in huge pages"),
    [HUGE_EXACT] = INTEGER("huge_exact", "0: huge_bytes is a share of what the mapping has"),
    [FREE] = INTEGER("free_resident_bytes", "of the resident ones, in free pages"),
};

/* sum_arena sums up the chunks of an arena; false: of none is known. */
static bool sum_arena(const struct image *im, uint64_t arena, uint64_t ret[FREE + 1]) {
    size_t n;
    const struct gomalloc_backing *all = image_section(im, GOMALLOC_SECTION_BACKING, &n);
    const struct gomalloc_chunk *chunks = image_section(im, GOMALLOC_SECTION_CHUNK, &n);
    bool any = false;
    memset(ret, 0, (FREE + 1) * sizeof *ret);
    ret[BASE] = arena;
    ret[HUGE_EXACT] = 1;
    for (uint64_t base = arena; all && base < arena + ARENA_BYTES; base += BACKING_CHUNK) {
        size_t i = image_find(im, GOMALLOC_SECTION_BACKING, base);
        size_t c = image_find(im, GOMALLOC_SECTION_CHUNK, base);
        struct backing_sum sum;
        if (i == SIZE_MAX || !backing_sum(im, base, base + BACKING_CHUNK, &sum))
            continue;
        any = true;
        ret[RESIDENT] += sum.resident;
        ret[SWAPPED] += sum.swapped;
        ret[HUGE_BYTES] += all[i].huge_bytes;
        ret[HUGE_EXACT] &= !(all[i].flags & GOMALLOC_BACKING_HUGE_SHARE);
        ret[FREE] += c == SIZE_MAX ? 0 : backing_free(&chunks[c], &all[i]);
    }
    return any;
}

static int arena_figure_column(struct vtab_cursor *base, sqlite3_context *ctx, int column) {
    size_t n, at = ((struct figure_cursor *)base)->at;
    const struct image *im = base->world->im;
    const struct gomalloc_arena *arenas = image_section(im, GOMALLOC_SECTION_ARENA, &n);
    uint64_t values[FREE + 1];
    if (column == BASE)
        sqlite3_result_int64(ctx, (int64_t)arenas[at].base);
    else if (sum_arena(im, arenas[at].base, values))
        sqlite3_result_int64(ctx, (int64_t)values[column]);
    return SQLITE_OK;
}

const struct vtab_class vtab_arena_figure_class = {
    .name = "image_arena_figure",
    .comment = "an arena: what is resident",
    .columns = arena_figure_columns,
    .ncolumns = sizeof arena_figure_columns / sizeof arena_figure_columns[0],
    .keys = VTAB_KEY(BASE),
    .unique = VTAB_KEY(BASE),
    .cursor_size = sizeof(struct figure_cursor),
    .rows = figure_rows,
    .filter = figure_filter,
    .eof = figure_eof,
    .next = figure_next,
    .column = arena_figure_column,
    .rowid = figure_rowid,
};
