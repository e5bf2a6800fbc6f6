/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Files of many snapshots: what is asked of one of them reads no others.  A view over GROUP BY in
 * the wrong place sums up the whole file first; this is told by the steps that SQLite's machine
 * takes for one snapshot of 2, and for the same of 20.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/db.h"
#include "maker.h"
#include "query.h"

#define FEW  2
#define MANY 20

static char err[512];

static void run(sqlite3 *db, const char *sql) {
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", sql, message);
}

/* import makes a file of one snapshot. */
static void import(const char *path) {
    struct demo d = demo_default;
    struct maker m;
    size_t size;
    struct image *im = NULL;
    d.leaks = true;
    d.more_spans = 40;
    d.more_sites = 10;
    maker_init(&m);
    demo_make(&m, &d);
    unsigned char *bytes = maker_finish(&m, &size);
    if (image_open_memory(bytes, size, &im, err, sizeof err) ||
        db_import(path, im, NULL, NULL, err, sizeof err))
        fail_msg("%s", err);
    free(bytes);
    image_close(im);
    maker_free(&m);
}

/* add_rows puts rows into the tables of which the image has none, or few. */
static void add_rows(sqlite3 *db) {
    run(db, "INSERT OR IGNORE INTO resident SELECT 1, value, 8192, 4096, 0, 0 FROM json_each("
            " '[\"kernel\", \"heap.spans\", \"heap.page_cache\", \"heap.free\", \"metadata\"]');"
            "UPDATE span_figure SET resident_bytes = 4096, live_resident = 1, free_resident = 1;"
            "INSERT OR IGNORE INTO arena_figure SELECT snapshot_id, base, 1, 0, 0, 1, 0 FROM arena;"
            "INSERT OR IGNORE INTO history SELECT 1, site_id, tick, 7, 1, 7 FROM tick, site;"
            "INSERT OR IGNORE INTO pin SELECT 1, u.value, base, 1, 1, 8, 8, 8, 1, 1"
            " FROM span, json_each('[0, 1, 2]') u;"
            "INSERT OR IGNORE INTO crash SELECT 1, 11, 1, 1, 'demo', 0, 0, 0, 0, max(stack_id), 0"
            " FROM stack");
}

/* copy adds snapshots with the rows of the first, until there are n. */
static void copy(sqlite3 *db, int n) {
    static const char each[] =
        "SELECT printf('INSERT INTO %s SELECT :n, %s FROM %s WHERE snapshot_id = 1', m.name,"
        " group_concat(CASE p.name WHEN 'image_id' THEN 'printf(''%032d'', :n)' ELSE p.name END),"
        " m.name)"
        " FROM sqlite_schema m, pragma_table_info(m.name) p"
        " WHERE m.type = 'table' AND p.name <> 'snapshot_id' AND EXISTS"
        " (SELECT 1 FROM pragma_table_info(m.name) q WHERE q.name = 'snapshot_id')"
        " GROUP BY m.name ORDER BY m.name <> 'snapshot', m.name";
    char inserts[16384];
    strcpy(inserts, query_text(db, each));
    run(db, "BEGIN");
    for (char *save, *sql = strtok_r(inserts, "\n", &save); sql;
         sql = strtok_r(NULL, "\n", &save)) {
        sqlite3_stmt *stmt;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
            fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        for (int i = 2; i <= n; i++) {
            sqlite3_bind_int(stmt, 1, i);
            sqlite3_step(stmt);
            if (sqlite3_reset(stmt) != SQLITE_OK)
                fail_msg("%s: %s", sql, sqlite3_errmsg(db));
        }
        sqlite3_finalize(stmt);
    }
    run(db, "COMMIT");
}

/* file_new returns a file of n equal snapshots, which nobody else sees any more. */
static sqlite3 *file_new(int n) {
    char dir[] = "/tmp/many-test.XXXXXX", path[sizeof dir + 8];
    sqlite3 *db;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s.db", dir);
    import(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    run(db, "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF");
    add_rows(db);
    copy(db, n);
    unlink(path);
    rmdir(dir);
    return db;
}

/* asked counts the steps and rows of a view's rows of one snapshot, or of the pair of it and the
 * next. */
static int asked(sqlite3 *db, const char *view, int snapshot, int *ret_rows) {
    char pairs[128], sql[256];
    sqlite3_stmt *stmt;
    snprintf(pairs, sizeof pairs,
             "SELECT count(*) FROM pragma_table_info('%s') WHERE name ="
             " 'snapshot_a'",
             view);
    snprintf(sql, sizeof sql, "SELECT * FROM %s WHERE %s", view,
             query_int(db, pairs) ? "snapshot_a = ?1 AND snapshot_b = ?1 + 1" : "snapshot_id = ?1");
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_bind_int(stmt, 1, snapshot);
    for (*ret_rows = 0; sqlite3_step(stmt) == SQLITE_ROW;)
        ++*ret_rows;
    int ret = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    return ret;
}

static void a_view_reads_the_snapshot_that_is_asked_for_and_no_other(void **state) {
    sqlite3 *few = file_new(FEW), *many = file_new(MANY);
    char views[4096];
    int nviews = 0, nbad = 0;
    (void)state;
    strcpy(views, query_text(few, "SELECT name FROM sqlite_schema WHERE type = 'view'"
                                  " AND name LIKE 'v1@_%' ESCAPE '@'"));
    for (char *save, *view = strtok_r(views, "\n", &save); view;
         view = strtok_r(NULL, "\n", &save)) {
        int rows_few, rows_many;
        int steps_few = asked(few, view, 1, &rows_few);
        int steps_many = asked(many, view, MANY / 2, &rows_many);
        nviews++;
        if (rows_few == 0 || rows_many != rows_few || steps_many > steps_few + steps_few / 4 + 50) {
            print_error("%s: %d rows in %d steps, among many snapshots %d rows in %d\n", view,
                        rows_few, steps_few, rows_many, steps_many);
            nbad++;
        }
    }
    assert_true(nviews > 40);
    assert_int_equal(nbad, 0);
    sqlite3_close(few);
    sqlite3_close(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_reads_the_snapshot_that_is_asked_for_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
