/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is common to the virtual tables over an image.
 *
 * A virtual table here is a struct vtab_class: columns, and a handful of functions that walk its
 * rows.  vtab.c makes the sqlite3_module of it: the declaration, and the one plan beside the full
 * walk, which is to look up the rows that have a certain value in a key column (or a certain
 * rowid).  Each vtab_*.c defines one or a few classes.
 */
#ifndef GOINSPECT_VTAB_H
#define GOINSPECT_VTAB_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "db/code.h"
#include "image/column.h"
#include "image/image.h"

struct pins;
struct site_live;

/* What all tables of one database read from; it must outlive the database. */
struct vtab_world {
    const struct image *im;
    struct code *code;
    struct site_live **site_live; /* NULL behind it until first asked for */
    struct pins **pins;           /* the same */
};

/* vtab_class.keys and the key argument of filter */
#define VTAB_ROWID       31
#define VTAB_ALL         (-1)
#define VTAB_KEY(column) (1u << (column))

/* The first member of each class's own cursor. */
struct vtab_cursor {
    sqlite3_vtab_cursor base;
    const struct vtab_class *class;
    const struct vtab_world *world;
};

struct vtab_class {
    const char *name;
    const char *comment; /* what a row is */
    const struct image_column *columns;
    size_t ncolumns;
    uint32_t keys;                   /* VTAB_KEY(c) | ...: filter can find rows by these columns */
    uint32_t unique;                 /* of these, the ones with one row at most for a value */
    const struct image_table *table; /* of a section; NULL for derived tables */
    size_t cursor_size;
    /* rows returns about how many rows there are, for the planner. */
    double (*rows)(const struct vtab_world *world, const struct vtab_class *class);
    /* filter goes to the first row: of all (key VTAB_ALL), or of those with value in a key. */
    int (*filter)(struct vtab_cursor *cursor, int key, int64_t value);
    bool (*eof)(struct vtab_cursor *cursor);
    int (*next)(struct vtab_cursor *cursor);
    int (*column)(struct vtab_cursor *cursor, sqlite3_context *ctx, int column);
    int64_t (*rowid)(struct vtab_cursor *cursor);
    void (*close)(struct vtab_cursor *cursor); /* may be NULL */
};

extern const struct vtab_class vtab_object_class;       /* image_object */
extern const struct vtab_class vtab_code_class;         /* image_code */
extern const struct vtab_class vtab_symbol_class;       /* image_symbol */
extern const struct vtab_class vtab_stack_class;        /* image_stack */
extern const struct vtab_class vtab_site_live_class;    /* image_site_live */
extern const struct vtab_class vtab_pin_class;          /* image_pin */
extern const struct vtab_class vtab_span_figure_class;  /* image_span_figure */
extern const struct vtab_class vtab_arena_figure_class; /* image_arena_figure */
extern const struct vtab_class vtab_free_run_class;     /* image_free_run */

/* vtab_section_class fills *ret with the class of a section's table. */
void vtab_section_class(const struct image_table *table, struct vtab_class *ret);

/* vtab_create makes the table of a class in the database; the class must outlive it. */
int vtab_create(sqlite3 *db, const struct vtab_class *class, const struct vtab_world *world);

/* vtab_create_all makes all of them, and the table image_column that explains their columns. */
int vtab_create_all(sqlite3 *db, const struct vtab_world *world);

/* vtab_result_text returns text, bytes that are no UTF-8 replaced by '?'. */
void vtab_result_text(sqlite3_context *ctx, const char *text, size_t length);

/* vtab_result_hex returns n bytes as hexadecimal text. */
void vtab_result_hex(sqlite3_context *ctx, const void *bytes, size_t n);

#endif
