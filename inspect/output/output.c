/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows out: which columns, in which order, how many; the formats are beside it.
 *
 * Rows are handed on as they come, so that millions of them need no memory, unless somebody must
 * see them all first: a table (its widths) or --sort.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "output/output.h"
#include "output/output_private.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/wrap.h"

struct value value_integer(int64_t i) {
    return (struct value){.type = VALUE_INTEGER, .integer = i};
}

struct value value_real(double r) {
    return (struct value){.type = VALUE_REAL, .real = r};
}

struct value value_null(void) {
    return (struct value){.type = VALUE_NULL};
}

struct value value_text(const char *s) {
    if (!s)
        return value_null();
    return (struct value){.type = VALUE_TEXT, .bytes = s, .size = strlen(s)};
}

bool output_is_terminal(const struct output_options *options) {
    /* watch.c paints into memory, for standard output */
    int fd = fileno(options->out);
    return isatty(fd < 0 ? STDOUT_FILENO : fd);
}

bool output_has_color(const struct output_options *options) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (options->color != COLOR_AUTO)
        return options->color == COLOR_ALWAYS;
    if (no_color && no_color[0])
        return false;
    return output_is_terminal(options) && !(term && strcmp(term, "dumb") == 0);
}

size_t output_width(const struct output_options *options) {
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    long n = columns ? strtol(columns, NULL, 10) : 0;
    if (n > 0 && n < 10000)
        return (size_t)n; /* also how a test or a script asks for a width */
    if (!output_is_terminal(options))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

void output_text(const struct output_options *options, const char *format, ...) {
    size_t width = output_width(options), n;
    char *text = NULL;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = must_dup("");
    va_end(ap);
    for (const char *p = text; *p; p += n + (p[n] == '\n')) {
        size_t blanks = strspn(p, " ");
        n = strcspn(p, "\n");
        char *line = must_dup_n(p, n);
        if (width && text_width(line) > width)
            wrap_print(options->out, line, width, blanks, blanks + 2);
        else
            fprintf(options->out, "%s%s", line, p[n] ? "\n" : "");
        free(line);
    }
    free(text);
}

FILE *output_prose(struct output_prose *ret) {
    *ret = (struct output_prose){.text = NULL};
    return ret->out = must_stream(&ret->text, &ret->size);
}

void output_prose_end(const struct output_options *options, struct output_prose *p) {
    fclose(p->out);
    output_text(options, "%s", p->text ? p->text : "");
    free(p->text);
}

/* find_column returns the index of the column called by the n bytes at name, or -1 with a failure
 * that suggests one. */
static int find_column(const struct output *o, const char *name, size_t n, const char *option,
                       struct failure *failure) {
    const char *names[256];
    size_t count = o->ncolumns < 256 ? o->ncolumns : 256;
    for (size_t i = 0; i < o->ncolumns; i++)
        if (strlen(o->columns[i].name) == n && strncasecmp(o->columns[i].name, name, n) == 0)
            return (int)i;
    for (size_t i = 0; i < count; i++)
        names[i] = o->columns[i].name;
    char *word = must_dup_n(name, n);
    char hint[TEXT_HINT_SIZE];
    text_hint(hint, word, names, count);
    if (hint[0])
        fail(failure, STATUS_USAGE, "%s: no column '%s'%s", option, word, hint);
    else
        fail(failure, STATUS_USAGE, "%s: no column '%s'; \"goinspect help %s\" lists them", option,
             word, o->verb);
    free(word);
    return -1;
}

/* choose_columns fills o->shown from --columns, or with the format's own choice; rows that stand in
 * the order of a column are shown with it. */
static bool choose_columns(struct output *o, struct failure *failure) {
    const char *p = o->options->columns;
    bool table = o->options->format == OUTPUT_TABLE;
    if (!p) {
        o->shown = must_calloc(o->ncolumns, sizeof(*o->shown));
        for (size_t i = 0; i < o->ncolumns; i++)
            if (!table || !(o->columns[i].flags & COLUMN_EXTRA) || (int)i == o->sort_column)
                o->shown[o->nshown++] = i;
        return true;
    }
    o->shown = must_calloc(strlen(p) + 1, sizeof(*o->shown));
    for (;;) {
        size_t n = strcspn(p, ",");
        int column = find_column(o, p, n, "--columns", failure);
        if (column < 0)
            return false;
        o->shown[o->nshown++] = (size_t)column;
        if (p[n] == '\0')
            return true;
        p += n + 1;
    }
}

static bool choose_order(struct output *o, struct failure *failure) {
    const char *sort = o->options->sort;
    o->sort_column = -1;
    if (!sort)
        return true;
    size_t n = strcspn(sort, ":");
    const char *order = sort + n;
    if (*order && strcmp(order, ":desc") != 0 && strcmp(order, ":asc") != 0) {
        fail(failure, STATUS_USAGE, "--sort: '%s' is not an order; use COLUMN:asc or COLUMN:desc",
             order + 1);
        return false;
    }
    o->sort_descending = strcmp(order, ":desc") == 0;
    o->sort_column = find_column(o, sort, n, "--sort", failure);
    return o->sort_column >= 0;
}

static const struct output_writer *writer_of(const struct output *o) {
    switch (o->options->format) {
    case OUTPUT_JSON:
        return &output_writer_json;
    case OUTPUT_NDJSON:
        return &output_writer_ndjson;
    case OUTPUT_CSV:
        return &output_writer_csv;
    case OUTPUT_TABLE:
        break;
    }
    return NULL;
}

static void output_free(struct output *o) {
    for (size_t i = 0; i < o->nrows * o->ncolumns; i++)
        free((char *)(uintptr_t)o->cells[i].bytes);
    free(o->cells);
    free(o->shown);
    free(o);
}

struct output *output_open(const struct output_options *options, const char *verb,
                           const struct column *columns, size_t ncolumns, struct failure *failure) {
    struct output *o = must_calloc(1, sizeof(*o));
    o->options = options;
    o->verb = verb;
    o->columns = columns;
    o->ncolumns = ncolumns;
    if (!choose_order(o, failure) || !choose_columns(o, failure)) {
        output_free(o);
        return NULL;
    }
    o->buffered = options->format == OUTPUT_TABLE || o->sort_column >= 0;
    if (!o->buffered)
        writer_of(o)->begin(o);
    return o;
}

bool output_wants(const struct output *o, size_t column) {
    if (o->sort_column == (int)column || (column && o->columns[column - 1].kind == KIND_UNIT))
        return true;
    for (size_t i = 0; i < o->nshown; i++)
        if (o->shown[i] == column)
            return true;
    return false;
}

static void keep_row(struct output *o, const struct value *values) {
    if (o->nrows == o->room) {
        o->room = o->room ? o->room * 2 : 64;
        o->cells = must_realloc(o->cells, o->room * o->ncolumns, sizeof(*o->cells));
    }
    struct value *to = o->cells + o->nrows * o->ncolumns;
    for (size_t i = 0; i < o->ncolumns; i++) {
        to[i] = values[i];
        if (values[i].bytes) {
            char *copy = must_calloc(values[i].size + 1, 1);
            memcpy(copy, values[i].bytes, values[i].size);
            to[i].bytes = copy;
        }
    }
    o->nrows++;
}

static bool at_limit(const struct output *o, uint64_t nrows) {
    return o->options->limit >= 0 && nrows >= (uint64_t)o->options->limit;
}

bool output_row(struct output *o, const struct value *values) {
    if (o->sort_column < 0 && at_limit(o, o->buffered ? o->nrows : o->emitted))
        return false;
    if (o->buffered) {
        keep_row(o, values);
        return true;
    }
    progress_clear();
    writer_of(o)->row(o, values);
    o->emitted++;
    return !ferror(o->options->out);
}

static int compare_text(const struct value *a, const struct value *b) {
    size_t n = a->size < b->size ? a->size : b->size;
    int order = n ? memcmp(a->bytes, b->bytes, n) : 0;
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

/* compare orders as SQL does: NULL, numbers, text, blobs. */
static int compare(const struct value *a, const struct value *b) {
    static const int rank[] = {[VALUE_NULL] = 0,
                               [VALUE_INTEGER] = 1,
                               [VALUE_REAL] = 1,
                               [VALUE_TEXT] = 2,
                               [VALUE_BLOB] = 3};
    if (rank[a->type] != rank[b->type])
        return rank[a->type] - rank[b->type];
    if (a->type == VALUE_INTEGER && b->type == VALUE_INTEGER)
        return (a->integer > b->integer) - (a->integer < b->integer);
    if (rank[a->type] == 1) {
        double x = a->type == VALUE_REAL ? a->real : (double)a->integer;
        double y = b->type == VALUE_REAL ? b->real : (double)b->integer;
        return (x > y) - (x < y);
    }
    return rank[a->type] ? compare_text(a, b) : 0;
}

static int compare_rows(const void *x, const void *y, void *output) {
    const struct output *o = output;
    const struct value *a = x, *b = y;
    int order = compare(a + o->sort_column, b + o->sort_column);
    return o->sort_descending ? -order : order;
}

uint64_t output_close(struct output *o) {
    const struct output_writer *writer = writer_of(o);
    progress_clear();
    if (o->sort_column >= 0 && o->nrows) /* glibc's qsort_r merges: equal rows keep their order */
        qsort_r(o->cells, o->nrows, sizeof(*o->cells) * o->ncolumns, compare_rows, o);
    size_t nrows = at_limit(o, o->nrows) ? (size_t)o->options->limit : o->nrows;
    if (!writer)
        output_table(o, nrows);
    else if (o->buffered) {
        writer->begin(o);
        for (size_t i = 0; i < nrows; i++) {
            writer->row(o, o->cells + i * o->ncolumns);
            o->emitted++;
        }
    }
    if (writer)
        writer->end(o);
    uint64_t emitted = writer ? o->emitted : nrows;
    output_free(o);
    return emitted;
}

void output_plain(char *buf, size_t size, enum column_kind kind, const struct value *value) {
    buf[0] = '\0';
    if (value->type == VALUE_INTEGER && kind == KIND_ADDRESS)
        snprintf(buf, size, "0x%" PRIx64, (uint64_t)value->integer);
    else if (value->type == VALUE_INTEGER)
        snprintf(buf, size, "%" PRId64, value->integer);
    else if (value->type == VALUE_REAL && kind == KIND_PERCENT)
        snprintf(buf, size, "%.4g", value->real);
    else if (value->type == VALUE_REAL)
        snprintf(buf, size, "%.15g", value->real);
}
