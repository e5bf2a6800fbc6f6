/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Asking a database in a test: one query, one text.
 */
#ifndef TESTS_QUERY_H
#define TESTS_QUERY_H

#include <stdint.h>

#include <sqlite3.h>

/* query_text returns the rows of a query as text, columns separated by '|', rows by '\n', NULL as
 * "-"; "error: ..." if it fails.  The text is overwritten by the fourth query after it. */
const char *query_text(sqlite3 *db, const char *sql);

/* query_int returns the one integer of a query; fails the test if there is none. */
int64_t query_int(sqlite3 *db, const char *sql);

/* query_assert fails the test unless the text of a query is what is expected. */
#define query_assert(db, sql, expected) query_assert_at(db, sql, expected, __FILE__, __LINE__)
void query_assert_at(sqlite3 *db, const char *sql, const char *expected, const char *file,
                     int line);

#endif
