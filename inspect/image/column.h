/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The column tables: what each record of an image consists of, said once.
 *
 * From a column table follow the declaration of the virtual table image_NAME, how a value is taken
 * out of a record, the generic checks of image_check.c (a string offset must be in the section
 * "string", a 64-bit figure must fit SQLite's signed integer, a double must be finite), and the
 * table image_column that explains every column to whoever writes SQL.
 */
#ifndef GOINSPECT_COLUMN_H
#define GOINSPECT_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

enum column_type {
    COLUMN_UINT,     /* unsigned of `width` bytes; 8 bytes: below 2^63 */
    COLUMN_BITS,     /* 8 bytes of any pattern */
    COLUMN_INDEX,    /* 8 bytes; all ones = NULL */
    COLUMN_REAL,     /* double, finite and not negative */
    COLUMN_STRING,   /* offset into section "string" */
    COLUMN_CHARS,    /* `width` bytes, NUL-padded text */
    COLUMN_HEX,      /* `width` bytes, shown as hexadecimal text */
    COLUMN_BUILD_ID, /* the same, of which the uint32_t before it says how many are used */
    COLUMN_NUMBERS, /* `width` bytes of uint32_t: TEXT, those that are not 0, with spaces between */
    COLUMN_BITMAP,  /* of a span: BLOB, bit i % 8 of byte i / 8 = slot i is live */
    COLUMN_MAP,     /* of a chunk: TEXT, a character for each page */
    /* Of derived tables, which have no records; these say the SQL type only. */
    COLUMN_DERIVED_INTEGER,
    COLUMN_DERIVED_REAL,
    COLUMN_DERIVED_TEXT
};

struct image_column {
    const char *name;
    enum column_type type;
    uint16_t offset;     /* in the record; 0 in derived tables */
    uint16_t width;      /* bytes in the record; 0 in derived tables */
    const char *comment; /* what it is, with unit and sentinel */
};

/* A section of the image (or its header) as a table. */
struct image_table {
    const char *name;                 /* of the virtual table */
    const char *comment;              /* what a row is */
    enum gomalloc_section_id section; /* GOMALLOC_NSECTIONS: the header */
    size_t record_size;
    const struct image_column *columns;
    size_t ncolumns;
    int key; /* column by which image_find() finds records, -1 = none */
};

extern const struct image_table image_tables[];
extern const size_t nimage_tables;

/* image_table_of returns the table of a section, NULL if it has none (string). */
const struct image_table *image_table_of(enum gomalloc_section_id section);

/* column_sql_type returns "INTEGER", "REAL", "TEXT" or "BLOB". */
const char *column_sql_type(const struct image_column *column);

/* column_uint reads the unsigned field of a record. */
uint64_t column_uint(const struct image_column *column, const void *record);

/* chunk_map writes the 512 characters of a chunk's map (and no NUL). */
#define CHUNK_PAGES 512
void chunk_map(const struct gomalloc_chunk *chunk, char map[CHUNK_PAGES]);

#endif
