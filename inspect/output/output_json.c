/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Rows as JSON: one object {"schema_version", "verb", "rows": [...]}, or one object a line.
 *
 * Names are bytes chosen by others, JSON is UTF-8: a byte that is not part of a valid character
 * becomes U+FFFD.  Every control character is escaped, those above 0x7e too, so that the output is
 * harmless on a terminal.  A blob is a string of hexadecimal digits.
 */
#include <math.h>
#include <string.h>

#include "output/output_private.h"
#include "base/text.h"

static void put_string(FILE *out, const char *s, size_t n) {
    putc('"', out);
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t len = text_decode(s + i, n - i, &c);
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", (int)c);
        else if (c == '\n')
            fputs("\\n", out);
        else if (text_is_control(c) || (c == 0xfffd && len == 1))
            fprintf(out, "\\u%04x", (unsigned)c);
        else
            fwrite(s + i, 1, len, out);
        i += len;
    }
    putc('"', out);
}

static void put_blob(FILE *out, const char *bytes, size_t n) {
    putc('"', out);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%02x", (unsigned char)bytes[i]);
    putc('"', out);
}

static void put_value(FILE *out, enum column_kind kind, const struct value *value) {
    char number[TEXT_NUMBER_SIZE];
    output_plain(number, sizeof(number), kind, value);
    if (value->type == VALUE_TEXT)
        put_string(out, value->bytes, value->size);
    else if (value->type == VALUE_BLOB)
        put_blob(out, value->bytes, value->size);
    else if (value->type == VALUE_NULL || (value->type == VALUE_REAL && !isfinite(value->real)))
        fputs("null", out);
    else if (kind == KIND_ADDRESS)
        fprintf(out, "\"%s\"", number);
    else
        fputs(number, out);
}

static void put_row(struct output *o, const struct value *values) {
    FILE *out = o->options->out;
    putc('{', out);
    for (size_t i = 0; i < o->nshown; i++) {
        const struct column *column = &o->columns[o->shown[i]];
        if (i)
            putc(',', out);
        put_string(out, column->name, strlen(column->name));
        putc(':', out);
        put_value(out, column->kind, &values[o->shown[i]]);
    }
    putc('}', out);
}

static void json_begin(struct output *o) {
    fprintf(o->options->out, "{\"schema_version\":%d,\"verb\":\"%s\",\"rows\":[",
            OUTPUT_SCHEMA_VERSION, o->verb);
}

static void json_row(struct output *o, const struct value *values) {
    fputs(o->emitted ? ",\n  " : "\n  ", o->options->out);
    put_row(o, values);
}

static void json_end(struct output *o) {
    fputs(o->emitted ? "\n]}\n" : "]}\n", o->options->out);
}

static void ndjson_begin(struct output *o) {
    (void)o;
}

static void ndjson_row(struct output *o, const struct value *values) {
    put_row(o, values);
    putc('\n', o->options->out);
}

const struct output_writer output_writer_json = {json_begin, json_row, json_end};
const struct output_writer output_writer_ndjson = {ndjson_begin, ndjson_row, ndjson_begin};
