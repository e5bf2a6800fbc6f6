/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows as a table for people.
 *
 * libsmartcols aligns and prints; which columns there is room for, and how far long names are cut,
 * is decided here, because it cuts without a mark and drops nothing.  On a terminal that is too
 * narrow, there are optional columns as far as there is room for them; then the columns that may
 * be cut share what is left, the widest losing most.  If that is not enough, each value has a line
 * of its own.  In a pipe nothing is dropped or cut.
 */
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>

#include "output/output_private.h"
#include "base/elide.h"
#include "base/text.h"
#include "base/wrap.h"

#define SEPARATOR     2  /* cells between two columns */
#define SMALLEST_CUT  12 /* a name is not cut to less than this */
#define SMALLEST_WIDE 20 /* nor one with COLUMN_WIDE to less than this, */
#define SMALLEST_LAST 14 /* or to less than this if there were no table at all otherwise */

/* One column of the table being laid out. */
struct layout {
    const struct column *column;
    size_t index; /* into a row's values */
    size_t width; /* of its widest cell, header included */
    bool numeric; /* aligned to the right */
    char **cells; /* nrows clean strings */
    char *header;
};

static bool is_integer_kind(enum column_kind kind) {
    return kind == KIND_COUNT || kind == KIND_BYTES || kind == KIND_DURATION ||
           kind == KIND_MOMENT || kind == KIND_RATE;
}

static void format_integer(char *buf, const struct output *o, enum column_kind kind, int64_t i) {
    switch (kind) {
    case KIND_COUNT:
        text_count(buf, i);
        break;
    case KIND_BYTES:
        text_bytes(buf, (double)i);
        break;
    case KIND_DURATION:
        text_duration(buf, i);
        break;
    case KIND_MOMENT:
        text_moment(buf, i);
        break;
    default:
        if (i == 0 || i == 1)
            strcpy(buf, i ? "exact" : "off");
        else
            text_bytes_plain(buf, (double)i);
    }
    if (o->options->raw_bytes && kind != KIND_MOMENT)
        snprintf(buf, TEXT_NUMBER_SIZE, "%lld", (long long)i);
}

/* kind_of_unit is for KIND_UNIT: the kind that the unit in the next column stands for. */
static enum column_kind kind_of_unit(const struct value *unit) {
    if (unit->type == VALUE_TEXT && unit->size == 5 && memcmp(unit->bytes, "bytes", 5) == 0)
        return KIND_BYTES;
    if (unit->type == VALUE_TEXT && unit->size == 2 && memcmp(unit->bytes, "ns", 2) == 0)
        return KIND_DURATION;
    return KIND_COUNT;
}

/* cell_text returns the clean text of one value, to be freed. */
static char *cell_text(const struct output *o, const struct column *column,
                       const struct value *value) {
    char buf[TEXT_NUMBER_SIZE];
    enum column_kind kind = column->kind == KIND_UNIT ? kind_of_unit(value + 1) : column->kind;
    if (value->type == VALUE_NULL)
        return must_dup(kind == KIND_ANY ? "" : "-");
    if (value->type == VALUE_TEXT)
        return text_clean(value->bytes, value->size, text_utf8_locale());
    if (value->type == VALUE_BLOB) {
        char *hex = must_calloc(value->size * 2 + 1, 1);
        for (size_t i = 0; i < value->size; i++)
            snprintf(hex + i * 2, 3, "%02x", (unsigned char)value->bytes[i]);
        return hex;
    }
    double real = value->type == VALUE_REAL ? value->real : (double)value->integer;
    if (kind == KIND_PERCENT)
        snprintf(buf, sizeof(buf), "%.1f%%", real);
    else if (is_integer_kind(kind) && real > -9.2e18 && real < 9.2e18)
        format_integer(buf, o, kind,
                       value->type == VALUE_REAL ? (int64_t)(real + (real < 0 ? -.5 : .5))
                                                 : value->integer);
    else
        output_plain(buf, sizeof(buf), kind, value);
    return must_dup(buf);
}

static char *header_text(const char *name) {
    char *header = text_clean(name, strlen(name), text_utf8_locale());
    for (char *p = header; *p; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
        if (*p == '_')
            *p = ' ';
    }
    return header;
}

static void lay_out(struct layout *l, const struct output *o, size_t index, size_t nrows) {
    l->column = &o->columns[index];
    l->index = index;
    /* what SQL yields has the names its author gave it */
    l->header = l->column->kind == KIND_ANY
                    ? text_clean(l->column->name, strlen(l->column->name), text_utf8_locale())
                    : header_text(l->column->name);
    l->width = text_width(l->header);
    l->cells = must_calloc(nrows, sizeof(*l->cells));
    l->numeric = l->column->kind != KIND_TEXT && l->column->kind != KIND_MOMENT;
    for (size_t i = 0; i < nrows; i++) {
        const struct value *value = &o->cells[i * o->ncolumns + index];
        l->cells[i] = cell_text(o, l->column, value);
        if (value->type == VALUE_TEXT || value->type == VALUE_BLOB)
            l->numeric = l->numeric && l->column->kind != KIND_ANY;
        size_t width = text_width(l->cells[i]);
        l->width = width > l->width ? width : l->width;
    }
}

static size_t total_width(const struct layout *l, size_t n) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += l[i].width + (i ? SEPARATOR : 0);
    return total;
}

static void free_layout(struct layout *l, size_t nrows) {
    for (size_t i = 0; i < nrows; i++)
        free(l->cells[i]);
    free(l->cells);
    free(l->header);
}

/* cuttable returns how many cells of a column's width may be cut off; one with COLUMN_WIDE keeps
 * `wide`. */
static size_t cuttable(const struct column *column, size_t width, size_t wide) {
    size_t least = column->flags & COLUMN_WIDE ? wide : SMALLEST_CUT;
    if (!(column->flags & (COLUMN_CUT | COLUMN_CUT_LEFT)) || width < least)
        return 0;
    return width - least;
}

/* least_width is what the columns take when every name is cut as far as it may be. */
static size_t least_width(const struct layout *l, size_t n, size_t wide) {
    size_t total = total_width(l, n);
    for (size_t i = 0; i < n; i++)
        total -= cuttable(l[i].column, l[i].width, wide);
    return total;
}

/* keep_columns marks those of the columns with flags, and none of `not`, for which there is room
 * beside the ones that are marked. */
static void keep_columns(const struct layout *l, size_t n, size_t width, unsigned flags,
                         unsigned not, bool *keep) {
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += keep[i] ? least_width(&l[i], 1, SMALLEST_WIDE) + SEPARATOR : 0;
    for (size_t i = 0; i < n; i++) {
        if (keep[i] || (l[i].column->flags & (flags | not )) != flags)
            continue;
        keep[i] = total + least_width(&l[i], 1, SMALLEST_WIDE) <= width;
        total += keep[i] ? least_width(&l[i], 1, SMALLEST_WIDE) + SEPARATOR : 0;
    }
}

/* drop_columns takes optional columns out for which there is no room, but not the one that the rows
 * are sorted by (-1: none); returns how many are left. */
static size_t drop_columns(struct layout *l, size_t n, int sorted, size_t width, size_t nrows) {
    bool *keep = must_calloc(n, sizeof(*keep));
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        keep[i] = !(l[i].column->flags & COLUMN_OPTIONAL) || (int)l[i].index == sorted;
    keep_columns(l, n, width, COLUMN_OPTIONAL | COLUMN_LATE, 0, keep);
    keep_columns(l, n, width, COLUMN_OPTIONAL, COLUMN_LATE, keep);
    for (size_t i = 0; i < n; i++) {
        if (keep[i])
            l[left++] = l[i];
        else
            free_layout(&l[i], nrows);
    }
    free(keep);
    return left;
}

/* cut_cell returns a column's text in at most width cells, to be freed. */
static char *cut_cell(const struct column *column, const char *text, size_t width) {
    if (column->flags & COLUMN_CUT_LEFT)
        return elide_begin(text, width);
    return column->flags & COLUMN_NAME ? elide_name(text, width) : elide_end(text, width);
}

/* cut_column makes a column's cells no wider than width. */
static void cut_column(struct layout *l, size_t width, size_t nrows) {
    for (size_t i = 0; i < nrows; i++) {
        char *cut = cut_cell(l->column, l->cells[i], width);
        free(l->cells[i]);
        l->cells[i] = cut;
    }
    l->width = width;
}

/* cut_columns cuts names, always the widest column next, until the table fits. */
static void cut_columns(struct layout *l, size_t n, size_t width, size_t wide, size_t nrows) {
    size_t *goal = must_calloc(n, sizeof(*goal));
    size_t total = total_width(l, n);
    for (size_t i = 0; i < n; i++)
        goal[i] = l[i].width;
    while (total > width) {
        size_t widest = n;
        for (size_t i = 0; i < n; i++)
            if (cuttable(l[i].column, goal[i], wide) > 0 && (widest == n || goal[i] > goal[widest]))
                widest = i;
        if (widest == n)
            break;
        goal[widest]--;
        total--;
    }
    for (size_t i = 0; i < n; i++)
        if (goal[i] < l[i].width)
            cut_column(&l[i], goal[i], nrows);
    free(goal);
}

/* is_faint tells whether a row says of itself that it need not be looked at. */
static bool is_faint(const struct layout *l, size_t n, size_t row) {
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(l[i].cells[row]);
        if (l[i].column->flags & COLUMN_FAINT && length && l[i].cells[row][length - 1] == '?')
            return true;
    }
    return false;
}

static void print_layout(struct output *o, struct layout *l, size_t n, size_t nrows) {
    struct libscols_table *table = scols_new_table();
    if (!table)
        return;
    bool color = output_has_color(o->options);
    scols_table_set_stream(table, o->options->out);
    scols_table_enable_noheadings(table, o->options->no_header);
    scols_table_enable_colors(table, color);
    scols_table_set_column_separator(table, "  ");
    scols_table_set_termforce(table, SCOLS_TERMFORCE_ALWAYS);
    scols_table_set_termwidth(table, total_width(l, n) + SEPARATOR);
    for (size_t i = 0; i < n; i++) {
        struct libscols_column *column = scols_table_new_column(
            table, l[i].header, (double)l[i].width, l[i].numeric ? SCOLS_FL_RIGHT : 0);
        if (color)
            scols_cell_set_color(scols_column_get_header(column), "bold");
    }
    for (size_t row = 0; row < nrows; row++) {
        struct libscols_line *line = scols_table_new_line(table, NULL);
        for (size_t i = 0; i < n; i++)
            scols_line_set_data(line, i, l[i].cells[row]);
        if (color && is_faint(l, n, row))
            scols_line_set_color(line, "\033[2m");
    }
    if (nrows)
        scols_print_table(table);
    scols_unref_table(table);
}

/* squeeze takes the blanks out that align a number: "12   B  ". */
static char *squeeze(const char *cell) {
    char *text = must_dup(cell + strspn(cell, " ")), *to = text;
    for (const char *p = text; *p; p++)
        if (*p != ' ' || (p[1] != ' ' && p[1] != '\0'))
            *to++ = *p;
    *to = '\0';
    return text;
}

/* print_field prints a value behind the name of its column. */
static void print_field(struct output *o, const struct layout *l, size_t label, size_t width,
                        const char *cell) {
    FILE *out = o->options->out;
    size_t room = width > label + SEPARATOR + SMALLEST_CUT ? width - label - SEPARATOR : 0;
    char *text = squeeze(cell);
    bool bold = output_has_color(o->options);
    fprintf(out, "%s%s%s%*s", bold ? "\033[1m" : "", l->header, bold ? "\033[0m" : "",
            (int)(label - text_width(l->header) + SEPARATOR), "");
    char *cut = l->column->flags & (COLUMN_CUT | COLUMN_CUT_LEFT) && room
                    ? cut_cell(l->column, text, room)
                    : must_dup(text);
    if (room && text_width(cut) > room)
        wrap_rest(out, cut, width, label + SEPARATOR);
    else
        fprintf(out, "%s\n", cut);
    free(cut);
    free(text);
}

/* print_records prints a line for each value, and a blank one between two rows: where a row is
 * wider than the terminal. */
static void print_records(struct output *o, const struct layout *l, size_t n, size_t nrows,
                          size_t width) {
    size_t label = 0;
    for (size_t i = 0; i < n; i++)
        label = text_width(l[i].header) > label ? text_width(l[i].header) : label;
    for (size_t row = 0; row < nrows; row++) {
        if (row)
            fputc('\n', o->options->out);
        for (size_t i = 0; i < n; i++)
            print_field(o, &l[i], label, width, l[i].cells[row]);
    }
}

/* print_header_only is for no rows: libsmartcols prints nothing at all then. */
static void print_header_only(struct output *o, const struct layout *l, size_t n, bool fits) {
    const char *between = fits ? "  " : "\n";
    for (size_t i = 0; i < n && !o->options->no_header; i++)
        fprintf(o->options->out, "%s%s", l[i].header, i + 1 < n ? between : "\n");
}

void output_table(struct output *o, size_t nrows) {
    size_t width = output_width(o->options), n = o->nshown;
    struct layout *l = must_calloc(n, sizeof(*l));
    for (size_t i = 0; i < n; i++)
        lay_out(&l[i], o, o->shown[i], nrows);
    if (width && !o->options->columns)
        n = drop_columns(l, n, o->sort_column, width, nrows);
    size_t wide = least_width(l, n, SMALLEST_WIDE) <= width ? SMALLEST_WIDE : SMALLEST_LAST;
    bool fits = !width || least_width(l, n, wide) <= width;
    if (width && fits)
        cut_columns(l, n, width, wide, nrows);
    if (!nrows)
        print_header_only(o, l, n, fits);
    else if (fits)
        print_layout(o, l, n, nrows);
    else
        print_records(o, l, n, nrows, width);
    for (size_t i = 0; i < n; i++)
        free_layout(&l[i], nrows);
    free(l);
}
