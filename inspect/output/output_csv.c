/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows as CSV (RFC 4180, but lines end in a newline alone): a header of column names, numbers
 * without decoration, text quoted where it must be.  NULL is the empty field.
 *
 * The bytes of names go through unchanged, except onto a terminal.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output/output_private.h"
#include "base/text.h"

static void put_quoted(FILE *out, const char *s, size_t n) {
    putc('"', out);
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '"')
            putc('"', out);
        putc(s[i], out);
    }
    putc('"', out);
}

static bool must_quote(const char *s, size_t n) {
    if (n == 0)
        return true; /* "" is the empty text, nothing is NULL */
    for (size_t i = 0; i < n; i++)
        if (strchr(",\"\r\n", s[i]))
            return true;
    return s[0] == ' ' || s[n - 1] == ' ';
}

static void put_text(struct output *o, const struct value *value) {
    FILE *out = o->options->out;
    int fd = fileno(out);
    char *clean = NULL;
    const char *s = value->bytes;
    size_t n = value->size;
    if (isatty(fd < 0 ? STDOUT_FILENO : fd)) {
        s = clean = text_clean(s, n, text_utf8_locale());
        n = strlen(s);
    }
    if (must_quote(s, n))
        put_quoted(out, s, n);
    else
        fwrite(s, 1, n, out);
    free(clean);
}

static void csv_begin(struct output *o) {
    if (o->options->no_header)
        return;
    for (size_t i = 0; i < o->nshown; i++) {
        struct value name = value_text(o->columns[o->shown[i]].name);
        if (i)
            putc(',', o->options->out);
        put_text(o, &name);
    }
    putc('\n', o->options->out);
}

static void csv_row(struct output *o, const struct value *values) {
    FILE *out = o->options->out;
    for (size_t i = 0; i < o->nshown; i++) {
        const struct value *value = &values[o->shown[i]];
        char number[TEXT_NUMBER_SIZE];
        if (i)
            putc(',', out);
        output_plain(number, sizeof(number), o->columns[o->shown[i]].kind, value);
        if (value->type == VALUE_TEXT)
            put_text(o, value);
        else if (value->type == VALUE_BLOB)
            for (size_t j = 0; j < value->size; j++)
                fprintf(out, "%02x", (unsigned char)value->bytes[j]);
        else
            fputs(number, out);
    }
    putc('\n', out);
}

static void csv_end(struct output *o) {
    (void)o;
}

const struct output_writer output_writer_csv = {csv_begin, csv_row, csv_end};
