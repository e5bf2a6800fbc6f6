/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What output.c shares with the four writers of formats, and nobody else.
 */
#ifndef GOINSPECT_OUTPUT_PRIVATE_H
#define GOINSPECT_OUTPUT_PRIVATE_H

#include "output/output.h"

struct output {
    const struct output_options *options;
    const char *verb;
    const struct column *columns;
    size_t ncolumns;
    size_t *shown; /* indices into columns, in the order of printing */
    size_t nshown;
    int sort_column; /* index into columns, -1: as they come */
    bool sort_descending;
    bool buffered;       /* rows are kept until output_close() */
    struct value *cells; /* nrows * ncolumns, when buffered; the bytes are owned */
    size_t nrows;
    size_t room;      /* rows that cells can take */
    uint64_t emitted; /* rows written */
};

/* One writer a format.  begin and end are called once, row for each row in order. */
struct output_writer {
    void (*begin)(struct output *output);
    void (*row)(struct output *output, const struct value *values);
    void (*end)(struct output *output);
};

extern const struct output_writer output_writer_json;
extern const struct output_writer output_writer_ndjson;
extern const struct output_writer output_writer_csv;

/* output_table writes the buffered rows first..last-1 as a table. */
void output_table(struct output *output, size_t nrows);

/* output_number writes a value of any numeric kind without decoration; "" for NULL. */
void output_plain(char *buf, size_t size, enum column_kind kind, const struct value *value);

#endif
