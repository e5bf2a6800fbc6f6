/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sentences of the doctor: texts with gaps, filled from a row.  What may stand in a gap is said
 * in doctor.h.
 *
 * How a figure is written follows from the name of its column, as in the schema; so neither the
 * text nor the query says it again, and the two cannot disagree.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/doctor.h"
#include "base/text.h"
#include "db/db.h"

struct gaps {
    const struct target *target;
    sqlite3_stmt *row;
    const char *rows;
};

static bool ends_in(const char *name, const char *suffix) {
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* column_of returns the number of a column, -1: there is none. */
static int column_of(sqlite3_stmt *row, const char *name, size_t n) {
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        const char *s = sqlite3_column_name(row, i);
        if (strncmp(s, name, n) == 0 && s[n] == '\0')
            return i;
    }
    return -1;
}

/* put_value writes a column as its name says. */
static void put_value(FILE *out, sqlite3_stmt *row, int column) {
    char text[TEXT_NUMBER_SIZE];
    const char *name = sqlite3_column_name(row, column);
    double number = sqlite3_column_double(row, column);
    if (sqlite3_column_type(row, column) == SQLITE_TEXT) {
        fputs((const char *)sqlite3_column_text(row, column), out);
        return;
    }
    if (ends_in(name, "_percent"))
        snprintf(text, sizeof(text), number < 9.95 ? "%.1f %%" : "%.0f %%", number);
    else if (ends_in(name, "bytes"))
        text_bytes_plain(text, number);
    else if (ends_in(name, "_s") && number < 1)
        strcpy(text, "0s"); /* ages are whole seconds */
    else if (ends_in(name, "_s"))
        text_duration(text, (int64_t)(number * 1e9));
    else if (ends_in(name, "tid"))
        snprintf(text, sizeof(text), "%lld", sqlite3_column_int64(row, column));
    else
        text_count(text, sqlite3_column_int64(row, column));
    fputs(text, out);
}

/* put_choice writes one of the words of "|is|are". */
static void put_choice(FILE *out, bool one, const char *words, const char *end) {
    const char *many = memchr(words + 1, '|', (size_t)(end - words - 1));
    if (one)
        fwrite(words + 1, 1, (size_t)(many - words - 1), out);
    else
        fwrite(many + 1, 1, (size_t)(end - many - 1), out);
}

/* put_target writes what names the target on a command line: of a file, its snapshot, too, unless
 * that is the newest. */
static void put_target(FILE *out, const struct target *target) {
    fputs(target->word, out);
    if (target->kind == TARGET_DATABASE && target->snapshot != db_latest_snapshot(target->db))
        fprintf(out, "@%lld", (long long)target->snapshot);
}

/* put_gap writes what stands in the gap {...}, whose inside is given; false: it is NULL. */
static bool put_gap(FILE *out, const struct gaps *gaps, const char *inside, const char *end) {
    size_t n = strcspn(inside, "|}");
    const char *given = NULL;
    if (n == 4 && strncmp(inside, "rows", n) == 0)
        given = gaps->rows ? gaps->rows : "";
    if (n == 6 && strncmp(inside, "target", n) == 0) {
        put_target(out, gaps->target);
        return true;
    }
    if (n == 7 && strncmp(inside, "process", n) == 0)
        given = gaps->target->kind == TARGET_PROCESS ? gaps->target->word : "PID";
    if (given) {
        fputs(given, out);
        return true;
    }
    int column = column_of(gaps->row, inside, n);
    if (column < 0 || sqlite3_column_type(gaps->row, column) == SQLITE_NULL)
        return false;
    if (inside[n] == '|')
        put_choice(out, sqlite3_column_int64(gaps->row, column) == 1, inside + n, end);
    else
        put_value(out, gaps->row, column);
    return true;
}

/* put_text writes a text up to end; false: a gap of it is NULL. */
static bool put_text(FILE *out, const struct gaps *gaps, const char *text, const char *end) {
    bool whole = true;
    while (text < end) {
        size_t plain = strcspn(text, "{[");
        plain = text + plain > end ? (size_t)(end - text) : plain;
        fwrite(text, 1, plain, out);
        text += plain;
        if (text == end)
            break;
        const char *close = strchr(text, *text == '{' ? '}' : ']');
        if (*text == '{') {
            whole &= put_gap(out, gaps, text + 1, close);
        } else {
            char *part = NULL;
            size_t size;
            FILE *inner = open_memstream(&part, &size);
            bool all = inner && put_text(inner, gaps, text + 1, close);
            if (inner && fclose(inner) == 0 && all)
                fputs(part, out);
            free(part);
        }
        text = close + 1;
    }
    return whole;
}

char *doctor_text(const struct target *target, sqlite3_stmt *stmt, const char *text,
                  const char *rows) {
    const struct gaps gaps = {target, stmt, rows};
    char *ret = NULL;
    size_t size;
    FILE *out = open_memstream(&ret, &size);
    if (!out)
        return must_dup("");
    put_text(out, &gaps, text, text + strlen(text));
    return fclose(out) == 0 ? ret : must_dup("");
}
