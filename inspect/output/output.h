/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows out, in the format the user asked for.
 *
 * A verb has one table of columns.  It yields the header, the widths and units of the table, the
 * keys of JSON, the header of CSV, the names that --sort and --columns take, and the list of
 * columns that --help prints.
 */
#ifndef GOINSPECT_OUTPUT_H
#define GOINSPECT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/say.h"

#define OUTPUT_SCHEMA_VERSION 1 /* of the JSON; grows when a key changes its meaning */

enum column_kind {
    KIND_TEXT,
    KIND_COUNT,    /* table: 12,031 */
    KIND_NUMBER,   /* an id, an index: table as it is */
    KIND_BYTES,    /* table: 1.5 MiB; else, and with --bytes, the integer */
    KIND_PERCENT,  /* 0..100; table: 37.5% */
    KIND_ADDRESS,  /* everywhere 0x... */
    KIND_DURATION, /* ns; table: 12m 5s */
    KIND_MOMENT,   /* ns since 1970; table: local time */
    KIND_RATE,     /* bytes between samples; table: exact, off, 512.0 KiB */
    KIND_UNIT,     /* as the text of the next column says: bytes, objects, ... */
    KIND_ANY       /* whatever SQL yields, unchanged */
};

/* column.flags */
#define COLUMN_EXTRA    0x1u   /* not in the table unless --columns names it; always in JSON, CSV */
#define COLUMN_OPTIONAL 0x2u   /* left out of a table that is wider than the terminal */
#define COLUMN_LATE     0x20u  /* with OPTIONAL: there is room for it before all others */
#define COLUMN_MEASURED 0x40u  /* a process takes the time to find it out only if it is shown */
#define COLUMN_CUT      0x4u   /* text whose end may be cut off to fit the terminal */
#define COLUMN_NAME     0x100u /* with CUT: a function's name, which loses what is within <>, () */
#define COLUMN_CUT_LEFT 0x8u   /* text whose beginning may be: paths */
#define COLUMN_WIDE     0x10u  /* not cut to less than 20 cells, rather than 12 */
#define COLUMN_FAINT    0x80u  /* a text that ends in ? makes its row faint on a terminal */

struct column {
    const char *name; /* lower case; printed in upper case over the table */
    const char *sql;  /* expression that yields it, NULL: the column called name */
    enum column_kind kind;
    unsigned flags;
    const char *help; /* half a sentence with the unit */
};

enum value_type { VALUE_NULL, VALUE_INTEGER, VALUE_REAL, VALUE_TEXT, VALUE_BLOB };

struct value {
    enum value_type type;
    int64_t integer;
    double real;
    const char *bytes; /* text or blob, not terminated */
    size_t size;
};

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_NDJSON, OUTPUT_CSV };
enum output_color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

/* What the user asked for; filled by options.c. */
struct output_options {
    enum output_format format;
    enum output_color color;
    bool raw_bytes;      /* --bytes */
    bool no_header;      /* --no-header */
    const char *sort;    /* --sort, NULL: the verb's own order */
    const char *columns; /* --columns, NULL: the verb's own choice */
    int64_t limit;       /* --limit, -1: none */
    double watch;        /* seconds between two paintings, 0: once */
    FILE *out;           /* standard output, or what watch.c collects */
};

struct output;

/* output_open begins the rows of verb.  NULL with *failure if --sort or --columns names a column
 * that does not exist. */
struct output *output_open(const struct output_options *options, const char *verb,
                           const struct column *columns, size_t ncolumns, struct failure *failure);

/* output_wants tells whether the values of a column will be looked at: what is not shown need not
 * be computed. */
bool output_wants(const struct output *output, size_t column);

/* output_row adds one row of ncolumns values.  false when no further row will be looked at. */
bool output_row(struct output *output, const struct value *values);

/* output_close writes what is left and frees output; returns the number of rows written. */
uint64_t output_close(struct output *output);

/* output_has_color, output_is_terminal and output_width describe what is behind options->out:
 * whether to use colours, and its width in cells, 0 = not a terminal, any width will do. */
bool output_has_color(const struct output_options *options);
bool output_is_terminal(const struct output_options *options);
size_t output_width(const struct output_options *options);

/* output_text writes lines of prose, which are broken at blanks on a terminal: what follows begins
 * two cells further to the right. */
void output_text(const struct output_options *options, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for who writes to a stream: output_prose returns it, output_prose_end prints what came.
 */
struct output_prose {
    FILE *out;
    char *text;
    size_t size;
};
FILE *output_prose(struct output_prose *ret);
void output_prose_end(const struct output_options *options, struct output_prose *p);

/* Helpers for rows that do not come from SQL. */
struct value value_integer(int64_t i);
struct value value_real(double r);
struct value value_text(const char *s); /* NULL: VALUE_NULL */
struct value value_null(void);

#endif
