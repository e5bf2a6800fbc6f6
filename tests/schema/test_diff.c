/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The statistics of v1_diff.  Heaps of known content are sampled as the recorder samples, each
 * object by a throw of its own; then what the view says of pairs of snapshots is held against the
 * truth: equal heaps look different in about 5 of 100 cases, heaps that differ are told apart, and
 * the variance that is reported is the one that estimates have.  Seeds are fixed, and bounds are
 * four standard deviations.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "query.h"
#include "schema_sql.h"

#define PAIRS 1000
#define RATE  16384

/* So many objects of a size are live at a site. */
struct kind {
    int site;
    int objects;
    int bytes;
};

/* Site 1 has some 16 samples, site 2 some 1.5, site 3 some 100 of sizes below and above the rate.
 */
static const struct kind heap[] = {{1, 4000, 64},  {2, 500, 48},   {3, 1000, 100},
                                   {3, 400, 1000}, {3, 60, 16384}, {3, 10, 50000}};
#define NKINDS (sizeof heap / sizeof heap[0])

struct world {
    sqlite3 *db;
    sqlite3_stmt *snapshot, *site, *live, *diff;
    uint64_t random;
};

static double draw(struct world *w) {
    uint64_t x = w->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

static void run(struct world *w, const char *sql) {
    char *error = NULL;
    if (sqlite3_exec(w->db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
}

static sqlite3_stmt *prepare(struct world *w, const char *sql) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(w->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(w->db));
    return stmt;
}

/* put runs a prepared INSERT of whole numbers and at last a real one. */
static void put(struct world *w, sqlite3_stmt *stmt, size_t n, const int64_t *numbers,
                double real) {
    for (size_t i = 0; i < n; i++)
        sqlite3_bind_int64(stmt, (int)i + 1, numbers[i]);
    sqlite3_bind_double(stmt, (int)n + 1, real);
    sqlite3_step(stmt);
    if (sqlite3_reset(stmt) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(w->db));
}

/* prepare_snapshot compiles the INSERT of a snapshot of which only ?1 its number, ?2 its process
 * and ?3 its rate matter. */
static sqlite3_stmt *prepare_snapshot(struct world *w) {
    const char *sql =
        query_text(w->db, "SELECT 'INSERT INTO snapshot SELECT ' || group_concat(CASE name"
                          " WHEN 'snapshot_id' THEN '?1' WHEN 'process_id' THEN '?2'"
                          " WHEN 'rate' THEN '?3' WHEN 'image_id' THEN 'printf(''%032d'', ?1)'"
                          " WHEN 'start_ns' THEN '?2' WHEN 'captured_ns' THEN '?1'"
                          " ELSE CASE WHEN NOT \"notnull\" THEN 'NULL' WHEN type = 'TEXT'"
                          " THEN '''''' ELSE '0' END END)"
                          " || ' WHERE ?4 IS NOT NULL' FROM pragma_table_info('snapshot')");
    return prepare(w, sql);
}

static int set_up(void **state) {
    static struct world w;
    w = (struct world){.random = 7};
    *state = &w;
    assert_int_equal(sqlite3_open(":memory:", &w.db), SQLITE_OK);
    run(&w, schema_tables_sql);
    run(&w, schema_views_sql);
    run(&w, schema_views_diff_sql);
    run(&w,
        "INSERT INTO frame VALUES (1, '/opt/a', '', 1), (2, '/opt/a', '', 2), (3, '/opt/a', '', 3);"
        "INSERT INTO symbol SELECT frame_id, 0, 'f' || frame_id, NULL, 0, 0, 0, NULL FROM frame"
        " WHERE frame_id > 0;"
        "INSERT INTO stack SELECT frame_id, 0, frame_id, 1, frame_id FROM frame"
        " WHERE frame_id > 0;"
        "INSERT INTO process VALUES (1, printf('%032d', 1), 1, 1, 'a'),"
        " (2, printf('%032d', 1), 2, 1, 'a')");
    w.snapshot = prepare_snapshot(&w);
    w.site = prepare(&w, "INSERT INTO site VALUES (?1, ?2, ?2, 0, 0, ?3, 0, 0, ?4)");
    w.live = prepare(&w, "INSERT INTO site_live VALUES (?1, ?2, ?3, ?3, ?4, ?5)");
    w.diff =
        prepare(&w, "SELECT site_b, site_a, grown_bytes, bytes_variance, significant FROM v1_diff"
                    " WHERE snapshot_a = ?1 AND snapshot_b = ?1 + 1");
    run(&w, "BEGIN");
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    sqlite3_finalize(w->snapshot);
    sqlite3_finalize(w->site);
    sqlite3_finalize(w->live);
    sqlite3_finalize(w->diff);
    return sqlite3_close(w->db) == SQLITE_OK ? 0 : -1;
}

/* forget removes all snapshots. */
static void forget(struct world *w) {
    run(w, "DELETE FROM site_live; DELETE FROM site; DELETE FROM snapshot");
}

static void add_snapshot(struct world *w, int64_t id, int64_t process, int64_t rate) {
    put(w, w->snapshot, 3, (int64_t[]){id, process, rate}, 0);
}

static void add_site(struct world *w, int64_t snapshot, int64_t site, int64_t samples) {
    put(w, w->site, 3, (int64_t[]){snapshot, site, samples}, 0);
}

static double weight(int bytes, int rate) {
    return rate <= 1 ? 1 : -1 / expm1(-(double)bytes / rate);
}

static void add_live(struct world *w, int64_t snapshot, int64_t site, int bytes, int64_t n,
                     int rate) {
    if (n > 0)
        put(w, w->live, 4, (int64_t[]){snapshot, site, bytes, n}, weight(bytes, rate));
}

static int64_t sampled(struct world *w, int objects, int bytes, int rate) {
    double p = 1 / weight(bytes, rate);
    int64_t n = 0;
    for (int i = 0; i < objects; i++)
        n += draw(w) < p;
    return n;
}

/* add_heap adds a snapshot of `heap` times `factor`, sampled at a rate. */
static void add_heap(struct world *w, int64_t snapshot, int64_t process, double factor, int rate) {
    add_snapshot(w, snapshot, process, rate);
    for (int site = 1; site <= 3; site++)
        add_site(w, snapshot, site, 1000);
    for (size_t i = 0; i < NKINDS; i++)
        add_live(w, snapshot, heap[i].site, heap[i].bytes,
                 sampled(w, (int)(heap[i].objects * factor), heap[i].bytes, rate), rate);
}

/* What the view says of a site in many pairs. */
struct verdicts {
    int significant, pairs;
    double sum, squares, variance; /* of the growth; the latter as reported */
};

static void judge(struct world *w, int64_t a, struct verdicts sites[4]) {
    sqlite3_stmt *stmt = w->diff;
    sqlite3_bind_int64(stmt, 1, a);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        int site =
            sqlite3_column_int(stmt, 0) ? sqlite3_column_int(stmt, 0) : sqlite3_column_int(stmt, 1);
        double grown = sqlite3_column_double(stmt, 2);
        sites[site].significant += sqlite3_column_int(stmt, 4);
        sites[site].sum += grown;
        sites[site].squares += grown * grown;
        sites[site].variance += sqlite3_column_double(stmt, 3);
    }
    sqlite3_reset(stmt);
    for (int site = 1; site <= 3; site++)
        sites[site].pairs++;
}

static void judge_pairs(struct world *w, double factor, int rate_a, int rate_b,
                        struct verdicts sites[4]) {
    forget(w);
    for (int i = 0; i < PAIRS; i++) {
        add_heap(w, 2 * i + 1, 1, 1, rate_a);
        add_heap(w, 2 * i + 2, 2, factor, rate_b);
        judge(w, 2 * i + 1, sites);
    }
}

/* 5 % of PAIRS, and four standard deviations of such a number. */
#define FALSE_MEAN  (0.05 * PAIRS)
#define FALSE_BOUND (4 * sqrt(FALSE_MEAN * 0.95))

static void assert_five_of_hundred(const struct verdicts *v, double least) {
    if (v->significant > FALSE_MEAN + FALSE_BOUND || v->significant < least)
        fail_msg("%d of %d equal pairs look different", v->significant, v->pairs);
}

/* assert_variance compares the variance of the growth in all pairs with what was reported. */
static void assert_variance(const struct verdicts *v) {
    double mean = v->sum / v->pairs;
    double true_variance = v->squares / v->pairs - mean * mean;
    double ratio = v->variance / v->pairs / true_variance;
    if (fabs(ratio - 1) > 4 * sqrt(2.0 / PAIRS))
        fail_msg("the variance that is reported is %g times the true one", ratio);
}

static void equal_heaps_look_different_in_5_of_100_cases(void **state) {
    struct verdicts sites[4] = {{0}};
    judge_pairs(*state, 1, RATE, RATE, sites);
    assert_five_of_hundred(&sites[1], FALSE_MEAN - FALSE_BOUND);
    assert_five_of_hundred(&sites[2], 0); /* with one or two samples it is rarer */
    assert_five_of_hundred(&sites[3], FALSE_MEAN - FALSE_BOUND);
    for (int site = 1; site <= 3; site++)
        assert_variance(&sites[site]);
}

static void rates_may_differ(void **state) {
    struct verdicts sites[4] = {{0}};
    judge_pairs(*state, 1, RATE, RATE / 4, sites);
    assert_five_of_hundred(&sites[3], FALSE_MEAN - FALSE_BOUND);
    assert_variance(&sites[3]);
    struct verdicts exact[4] = {{0}};
    judge_pairs(*state, 1, 1, RATE, exact);
    assert_five_of_hundred(&exact[3], FALSE_MEAN - FALSE_BOUND);
    assert_variance(&exact[3]);
}

static void what_has_grown_is_noticed(void **state) {
    struct verdicts sites[4] = {{0}};
    judge_pairs(*state, 2, RATE, RATE, sites);
    assert_true(sites[3].significant > 0.999 * PAIRS); /* 160 samples to 320 */
    assert_true(sites[1].significant > 0.5 * PAIRS);   /* 16 to 32 */
    double mean = sites[3].sum / PAIRS, truth = 0;
    for (size_t i = 0; i < NKINDS; i++)
        truth += heap[i].site == 3 ? heap[i].objects * (double)heap[i].bytes : 0;
    assert_true(fabs(mean - truth) < 4 * sqrt(sites[3].variance / PAIRS / PAIRS));
}

static void what_is_exact_has_no_error(void **state) {
    struct world *w = *state;
    forget(w);
    add_heap(w, 1, 1, 1, 1);
    add_heap(w, 2, 2, 1.5, 1);
    query_assert(w->db,
                 "SELECT site_a, grown_objects, grown_bytes, bytes_variance, objects_variance,"
                 " significant FROM v1_diff WHERE snapshot_a = 1 AND snapshot_b = 2 ORDER BY 1",
                 "1|2000|128000|0.0|0.0|-\n2|250|12000|0.0|0.0|-\n3|735|991520|0.0|0.0|-");
}

/* One process: only what has come or gone between the snapshots can be wrong. */

static void what_stays_alive_is_no_error(void **state) {
    struct world *w = *state;
    forget(w);
    for (int i = 1; i <= 2; i++)
        add_snapshot(w, i, 1, RATE);
    add_site(w, 1, 1, 5000);
    add_site(w, 2, 1, 5030); /* 30 recordings, and 10 recorded ones freed */
    add_live(w, 1, 1, 64, 2000, RATE);
    add_live(w, 2, 1, 64, 2020, RATE);
    double one = 64.0 * 64.0 * weight(64, RATE) * (weight(64, RATE) - 1);
    char expected[64];
    snprintf(expected, sizeof expected, "%.3e|0", 40 * one);
    query_assert(
        w->db,
        "SELECT printf('%.3e', bytes_variance), grown_bytes * grown_bytes > 16 * bytes_variance"
        " FROM v1_diff WHERE snapshot_a = 1 AND snapshot_b = 2",
        expected);
    /* the other way round it is the same */
    query_assert(w->db,
                 "SELECT printf('%.3e', bytes_variance), grown_bytes > 0 FROM v1_diff"
                 " WHERE snapshot_a = 2 AND snapshot_b = 1",
                 expected);
    query_assert(w->db, "SELECT significant FROM v1_diff WHERE snapshot_a = 1 AND snapshot_b = 2",
                 "1");
    /* of two processes nothing is known of what both have */
    run(w, "UPDATE snapshot SET process_id = 2 WHERE snapshot_id = 2");
    snprintf(expected, sizeof expected, "%.3e|0", 4020 * one);
    query_assert(w->db,
                 "SELECT printf('%.3e', bytes_variance), significant FROM v1_diff"
                 " WHERE snapshot_a = 1 AND snapshot_b = 2",
                 expected);
}

/* A process frees a part of its heap and allocates as much again, over and over: it has not grown.
 */
static void a_heap_that_is_replaced_has_not_grown(void **state) {
    struct world *w = *state;
    struct verdicts sites[4] = {{0}};
    forget(w);
    for (int i = 0; i < PAIRS; i++) {
        int64_t kept = sampled(w, 3000, 64, RATE), gone = sampled(w, 1000, 64, RATE);
        int64_t come = sampled(w, 1000, 64, RATE), passed = sampled(w, 500, 64, RATE);
        add_snapshot(w, 2 * i + 1, 1, RATE);
        add_snapshot(w, 2 * i + 2, 1, RATE);
        add_site(w, 2 * i + 1, 1, 100);
        add_site(w, 2 * i + 2, 1, 100 + come + passed);
        add_live(w, 2 * i + 1, 1, 64, kept + gone, RATE);
        add_live(w, 2 * i + 2, 1, 64, kept + come, RATE);
        judge(w, 2 * i + 1, sites);
    }
    assert_five_of_hundred(&sites[1], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_heaps_look_different_in_5_of_100_cases),
        cmocka_unit_test(rates_may_differ),
        cmocka_unit_test(what_has_grown_is_noticed),
        cmocka_unit_test(what_is_exact_has_no_error),
        cmocka_unit_test(what_stays_alive_is_no_error),
        cmocka_unit_test(a_heap_that_is_replaced_has_not_grown),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
