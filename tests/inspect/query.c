/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See query.h.
 */
#include "query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NTEXTS 4

static void add_row(char *text, size_t size, sqlite3_stmt *s) {
    size_t n = strlen(text);
    for (int i = 0; i < sqlite3_column_count(s); i++) {
        const char *value = (const char *)sqlite3_column_text(s, i);
        n += (size_t)snprintf(text + n, n < size ? size - n : 0, "%s%s",
                              i       ? "|"
                              : *text ? "\n"
                                      : "",
                              value ? value : "-");
        if (n >= size)
            n = size - 1;
    }
}

const char *query_text(sqlite3 *db, const char *sql) {
    static char texts[NTEXTS][65536];
    static unsigned turn;
    char *text = texts[turn++ % NTEXTS];
    sqlite3_stmt *s;
    text[0] = '\0';
    int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (rc == SQLITE_OK) {
        while ((rc = sqlite3_step(s)) == SQLITE_ROW)
            add_row(text, sizeof texts[0], s);
        if (rc == SQLITE_DONE)
            rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK)
        snprintf(text, sizeof texts[0], "error: %s", sqlite3_errmsg(db));
    sqlite3_finalize(s);
    return text;
}

int64_t query_int(sqlite3 *db, const char *sql) {
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW ||
        sqlite3_column_type(s, 0) != SQLITE_INTEGER)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int64_t value = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    return value;
}

void query_assert_at(sqlite3 *db, const char *sql, const char *expected, const char *file,
                     int line) {
    const char *text = query_text(db, sql);
    if (strcmp(text, expected) == 0)
        return;
    print_error("%s\n-- gave\n%s\n-- instead of\n%s\n", sql, text, expected);
    _fail(file, line);
}
