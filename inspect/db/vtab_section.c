/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sections of an image as tables: image_process, image_span, ...  A row is a record, its rowid
 * the record's number + 1 (so image_frame.parent is a rowid).
 */
#include <string.h>

#include "db/vtab.h"

struct section_cursor {
    struct vtab_cursor base;
    const char *records;
    size_t at;
    size_t end;
};

static const char *records_of(const struct vtab_world *world, const struct vtab_class *class,
                              size_t *ret_count) {
    if (class->table->section == GOMALLOC_NSECTIONS) {
        *ret_count = 1;
        return (const char *)image_header(world->im);
    }
    return image_section(world->im, class->table->section, ret_count);
}

static double section_rows(const struct vtab_world *world, const struct vtab_class *class) {
    size_t count;
    records_of(world, class, &count);
    return (double)count;
}

/* The history of one site is asked for pair by pair: its records stand together, by site. */
static bool is_history(const struct image_table *table) {
    return table->section == GOMALLOC_SECTION_HISTORY;
}

/* first_of returns the number of the first record of that site or a later one. */
static size_t first_of(const struct gomalloc_history *h, size_t count, int64_t site) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if ((int64_t)h[mid].site < site)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int section_filter(struct vtab_cursor *base, int key, int64_t value) {
    struct section_cursor *c = (struct section_cursor *)base;
    size_t count;
    c->records = records_of(base->world, base->class, &count);
    c->at = 0;
    c->end = count;
    if (key == VTAB_ALL)
        return SQLITE_OK;
    if (key != VTAB_ROWID && is_history(base->class->table)) {
        const struct gomalloc_history *h =
            (const struct gomalloc_history *)(const void *)c->records;
        c->at = first_of(h, count, value);
        c->end = value < INT64_MAX ? first_of(h, count, value + 1) : count;
        return SQLITE_OK;
    }
    size_t found = key == VTAB_ROWID
                       ? (size_t)value - 1
                       : image_find(base->world->im, base->class->table->section, (uint64_t)value);
    c->at = found < count ? found : count;
    c->end = found < count ? found + 1 : count;
    return SQLITE_OK;
}

static bool section_eof(struct vtab_cursor *base) {
    struct section_cursor *c = (struct section_cursor *)base;
    return c->at >= c->end;
}

static int section_next(struct vtab_cursor *base) {
    ((struct section_cursor *)base)->at++;
    return SQLITE_OK;
}

static int64_t section_rowid(struct vtab_cursor *base) {
    return (int64_t)((struct section_cursor *)base)->at + 1;
}

static void result_bitmap(sqlite3_context *ctx, const struct image *im,
                          const struct gomalloc_span *span) {
    size_t count;
    const char *words = image_section(im, GOMALLOC_SECTION_BITMAP, &count);
    size_t bytes = ((size_t)span->nelems + 7) / 8;
    if (!words || bytes > count * 8) {
        sqlite3_result_zeroblob(ctx, (int)bytes);
        return;
    }
    unsigned char *copy = sqlite3_malloc64(bytes + 1);
    if (!copy) {
        sqlite3_result_error_nomem(ctx);
        return;
    }
    memcpy(copy, words + span->bitmap_index * 8, bytes);
    if (span->nelems % 8) /* bits beyond the last slot mean nothing */
        copy[bytes - 1] &= (unsigned char)((1u << (span->nelems % 8)) - 1);
    sqlite3_result_blob64(ctx, copy, bytes, sqlite3_free);
}

static void result_map(sqlite3_context *ctx, const void *record) {
    char map[CHUNK_PAGES];
    chunk_map(record, map);
    sqlite3_result_text(ctx, map, sizeof map, SQLITE_TRANSIENT);
}

static void result_real(sqlite3_context *ctx, const char *field) {
    double value;
    memcpy(&value, field, sizeof value);
    sqlite3_result_double(ctx, value);
}

static void result_build_id(sqlite3_context *ctx, const char *field) {
    uint32_t length;
    memcpy(&length, field - sizeof length, sizeof length);
    vtab_result_hex(ctx, field, length);
}

static void result_numbers(sqlite3_context *ctx, const char *field, size_t width) {
    sqlite3_str *s = sqlite3_str_new(NULL);
    for (size_t i = 0; i + sizeof(uint32_t) <= width; i += sizeof(uint32_t)) {
        uint32_t n;
        memcpy(&n, field + i, sizeof n);
        if (n)
            sqlite3_str_appendf(s, "%s%u", sqlite3_str_length(s) ? " " : "", n);
    }
    size_t length = (size_t)sqlite3_str_length(s);
    char *text = sqlite3_str_finish(s);
    vtab_result_text(ctx, text ? text : "", length);
    sqlite3_free(text);
}

static void result_field(sqlite3_context *ctx, const struct image *im,
                         const struct image_column *col, const char *record) {
    const char *field = record + col->offset;
    const char *text;
    switch (col->type) {
    case COLUMN_INDEX:
        if (column_uint(col, record) == UINT64_MAX)
            return; /* NULL */
        /* fall through */
    case COLUMN_UINT:
    case COLUMN_BITS:
        sqlite3_result_int64(ctx, (int64_t)column_uint(col, record));
        return;
    case COLUMN_REAL:
        result_real(ctx, field);
        return;
    case COLUMN_STRING:
        text = image_string(im, (uint32_t)column_uint(col, record));
        vtab_result_text(ctx, text, strlen(text));
        return;
    case COLUMN_CHARS:
        vtab_result_text(ctx, field, strnlen(field, col->width));
        return;
    case COLUMN_HEX:
        vtab_result_hex(ctx, field, col->width);
        return;
    case COLUMN_BUILD_ID:
        result_build_id(ctx, field);
        return;
    case COLUMN_NUMBERS:
        result_numbers(ctx, field, col->width);
        return;
    case COLUMN_BITMAP:
        result_bitmap(ctx, im, (const struct gomalloc_span *)record);
        return;
    case COLUMN_MAP:
        result_map(ctx, record);
        return;
    default:
        return;
    }
}

static int section_column(struct vtab_cursor *base, sqlite3_context *ctx, int number) {
    const struct section_cursor *c = (struct section_cursor *)base;
    const struct image_table *t = base->class->table;
    result_field(ctx, base->world->im, &t->columns[number], c->records + c->at * t->record_size);
    return SQLITE_OK;
}

void vtab_section_class(const struct image_table *table, struct vtab_class *ret) {
    uint32_t keys = VTAB_KEY(VTAB_ROWID) | (table->key >= 0 ? VTAB_KEY(table->key) : 0);
    *ret = (struct vtab_class){
        .name = table->name,
        .comment = table->comment,
        .columns = table->columns,
        .ncolumns = table->ncolumns,
        .keys = keys | (is_history(table) ? VTAB_KEY(0) : 0),
        .unique = keys,
        .table = table,
        .cursor_size = sizeof(struct section_cursor),
        .rows = section_rows,
        .filter = section_filter,
        .eof = section_eof,
        .next = section_next,
        .column = section_column,
        .rowid = section_rowid,
    };
}
