/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a made heap's memory is: runs of free pages, what the kernel has behind it, and the views.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "image/backing.h"
#include "db/db.h"
#include "image/freeruns.h"
#include "heap_maker.h"
#include "query.h"

#define CHUNK_PAGES 512u
#define ARENA2      (HEAP_ARENA + 64 * HEAP_MIB)

static sqlite3 *open_db(const struct image *im) {
    sqlite3 *db = NULL;
    char err[256] = "";
    if (db_open_image(im, &db, err, sizeof err))
        fail_msg("%s", err);
    return db;
}

/* ---- runs --------------------------------------------------------------------------------- */

/* A run of the heap, and of arenas: arena, min_pages, runs, pages, returned, longest. */
struct case_of_runs {
    const char *name;
    void (*make)(struct maker *m);
    uint64_t want[8][6];
};

static void make_lengths(struct maker *m) {
    uint64_t at = HEAP_ARENA;
    heap_pages(m, HEAP_ARENA, CHUNK_PAGES, '#');
    for (uint64_t n = 1; n <= 5; n++, at += (n + 1) * HEAP_PAGE)
        heap_pages(m, at, n, n == 4 ? '_' : '.');
}

/* Free pages on both sides of the edge of a chunk; a page in a page cache ends the run. */
static void make_over_a_chunk(struct maker *m) {
    heap_pages(m, HEAP_ARENA, CHUNK_PAGES - 3, '#');
    heap_pages(m, HEAP_ARENA + (CHUNK_PAGES - 3) * HEAP_PAGE, 9, '.');
    heap_pages(m, HEAP_ARENA + (CHUNK_PAGES + 6) * HEAP_PAGE, 1, 'c');
    heap_pages(m, HEAP_ARENA + (CHUNK_PAGES + 7) * HEAP_PAGE, CHUNK_PAGES - 7, '#');
}

/* A run over the edge of two arenas that adjoin: one of the heap, two of arenas. */
static void make_over_an_arena(struct maker *m) {
    heap_pages(m, ARENA2 - CHUNK_PAGES * HEAP_PAGE, 12, '#');
    heap_pages(m, ARENA2 - 500 * HEAP_PAGE, 500, '_');
    heap_pages(m, ARENA2, 20, '.');
    heap_pages(m, ARENA2 + 20 * HEAP_PAGE, 492, '#');
}

/* Chunks that do not adjoin: what lies between is not the heap's. */
static void make_with_a_gap(struct maker *m) {
    heap_pages(m, HEAP_ARENA, CHUNK_PAGES, '.');
    heap_pages(m, HEAP_ARENA + 2 * CHUNK_PAGES * HEAP_PAGE, CHUNK_PAGES, '.');
}

static void make_nothing_free(struct maker *m) {
    heap_pages(m, HEAP_ARENA, CHUNK_PAGES, '#');
}

static const struct case_of_runs runs_cases[] = {
    {"all lengths from 1 to 5",
     make_lengths,
     {{0, 1, 1, 1, 0, 1},
      {0, 2, 2, 5, 0, 3},
      {0, 4, 2, 9, 4, 5},
      {HEAP_ARENA, 1, 1, 1, 0, 1},
      {HEAP_ARENA, 2, 2, 5, 0, 3},
      {HEAP_ARENA, 4, 2, 9, 4, 5}}},
    {"over a chunk's edge", make_over_a_chunk, {{0, 8, 1, 9, 0, 9}, {HEAP_ARENA, 8, 1, 9, 0, 9}}},
    {"over an arena's edge",
     make_over_an_arena,
     {{0, 512, 1, 520, 500, 520}, {HEAP_ARENA, 256, 1, 500, 500, 500}, {ARENA2, 16, 1, 20, 0, 20}}},
    {"with a gap",
     make_with_a_gap,
     {{0, 512, 2, 1024, 0, 512}, {HEAP_ARENA, 512, 2, 1024, 0, 512}}},
    {"nothing free", make_nothing_free, {{0}}},
};

static void test_free_pages_are_counted_by_run(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof runs_cases / sizeof runs_cases[0]; i++) {
        const struct case_of_runs *c = &runs_cases[i];
        struct freeruns runs;
        struct maker m;
        size_t n = 0;
        heap_begin(&m, 1, 0);
        heap_arena(&m, ARENA2);
        heap_arena(&m, HEAP_ARENA);
        c->make(&m);
        struct image *im = heap_open(&m);
        assert_int_equal(freeruns_find(im, &runs), 0);
        for (; n < 8 && c->want[n][1] != 0; n++) {
            const struct freerun *r = &runs.rows[n];
            const uint64_t got[6] = {r->arena, r->min_pages, r->runs,
                                     r->pages, r->returned,  r->longest};
            if (n >= runs.nrows)
                fail_msg("%s: %zu rows", c->name, runs.nrows);
            for (int k = 0; k < 6; k++)
                if (got[k] != c->want[n][k])
                    fail_msg("%s: row %zu, figure %d is %llu", c->name, n, k,
                             (unsigned long long)got[k]);
        }
        assert_int_equal(runs.nrows, n);
        freeruns_free(&runs);
        image_close(im);
    }
}

/* ---- backing ------------------------------------------------------------------------------ */

static void test_backing_is_summed_up_over_chunks(void **state) {
    struct maker m;
    struct backing_sum sum;
    uint64_t edge = HEAP_ARENA + CHUNK_PAGES * HEAP_PAGE;
    (void)state;
    heap_begin(&m, 1, 0);
    heap_backing(&m, edge - 5 * 4096, 10, false);
    heap_backing(&m, edge + 100 * 4096, 3, true);
    struct image *im = heap_open(&m);
    assert_true(backing_sum(im, edge - 2 * 4096, edge + 101 * 4096, &sum));
    assert_int_equal(sum.resident, 7 * 4096);
    assert_int_equal(sum.swapped, 4096);
    assert_true(backing_sum(im, HEAP_ARENA, edge + CHUNK_PAGES * HEAP_PAGE, &sum));
    assert_int_equal(sum.resident, 10 * 4096);
    assert_int_equal(sum.swapped, 3 * 4096);
    assert_false(backing_sum(im, edge, edge + (CHUNK_PAGES + 1) * HEAP_PAGE, &sum));
    assert_true(backing_sum(im, edge, edge, &sum));
    assert_int_equal(sum.resident, 0);
    image_close(im);
}

/* A record that no library can have written: not of a chunk, twice, or more than there is. */
static void test_backing_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct gomalloc_backing b = {.base = HEAP_ARENA};
        struct image *im = NULL;
        struct maker m;
        char err[256];
        size_t size;
        heap_begin(&m, 1, 0);
        b.base += i == 1 ? HEAP_PAGE : 0;
        b.huge_bytes = i == 2 ? (4 << 20) + 1 : 0;
        maker_add(&m, GOMALLOC_SECTION_BACKING, &b);
        if (i == 3)
            maker_add(&m, GOMALLOC_SECTION_BACKING, &b);
        unsigned char *bytes = maker_finish(&m, &size);
        assert_int_equal(image_open_memory(bytes, size, &im, err, sizeof err),
                         i == 0 ? 0 : IMAGE_DAMAGED);
        image_close(i == 0 ? im : NULL);
        free(bytes);
        maker_free(&m);
    }
}

/* ---- views -------------------------------------------------------------------------------- */

/* Two classes and a large object, of 7 + 3 pages; 4 free ones, one given back and one cached. */
static void make_heap(struct maker *m, uint64_t rate, bool recorded) {
    heap_begin(m, rate, 2);
    heap_arena(m, HEAP_ARENA);
    size_t a = heap_span(m, HEAP_ARENA, 1, 3, 48, recorded);
    size_t b = heap_span(m, HEAP_ARENA + HEAP_PAGE, 1, 3, 48, recorded);
    size_t large = heap_span(m, HEAP_ARENA + 2 * HEAP_PAGE, 3, 0, 0, recorded);
    heap_span(m, HEAP_ARENA + 5 * HEAP_PAGE, 1, 4, 64, false);
    for (uint32_t i = 0; i < 10; i++)
        heap_object(m, i < 7 ? a : b, i, 1, 8);
    heap_object(m, large, 0, 2, 4576);
    heap_pages(m, HEAP_ARENA, 6, '#');
    heap_pages(m, HEAP_ARENA + 6 * HEAP_PAGE, 2, '.');
    heap_pages(m, HEAP_ARENA + 8 * HEAP_PAGE, 1, '_');
    heap_pages(m, HEAP_ARENA + 9 * HEAP_PAGE, 1, 'c');
    struct gomalloc_arena *arena = maker_record(m, GOMALLOC_SECTION_ARENA, 0);
    arena->in_use_pages = 6;
    arena->free_pages = 4;
    arena->scavenged_pages = 1;
}

static void test_live_free_and_tail_are_the_spans(void **state) {
    struct maker m;
    (void)state;
    make_heap(&m, 1, true);
    struct image *im = heap_open(&m);
    sqlite3 *db = open_db(im);
    query_assert(db,
                 "SELECT size_class, spans, span_bytes, live_bytes, internal_bytes, external_bytes,"
                 " tail_bytes, empty_bytes FROM v1_fragmentation WHERE size_class IS NOT NULL"
                 " ORDER BY 1",
                 "0|1|24576|24576|4576|0|0|0\n"
                 "3|2|16384|480|80|15840|64|0\n"
                 "4|1|8192|0|-|8192|0|8192");
    /* the heap: 3 pages that are free and backed */
    query_assert(db,
                 "SELECT spans, span_bytes, live_objects, live_bytes, internal_bytes,"
                 " external_bytes, tail_bytes, free_page_bytes, returned_bytes, wasted_bytes,"
                 " round(frag_percent, 3), recorded_percent, resident_bytes"
                 " FROM v1_fragmentation WHERE size_class IS NULL",
                 "4|49152|11|25056|4656|24032|64|24576|8192|53328|66.016|100.0|-");
    query_assert(db,
                 "SELECT count(*) FROM v1_fragmentation WHERE size_class IS NOT NULL"
                 " AND live_bytes + external_bytes + tail_bytes <> span_bytes",
                 "0");
    db_close(db);
    image_close(im);
}

/* Of a class of which some objects are recorded, the others are taken to be like them. */
static void test_slack_is_scaled_from_what_is_recorded(void **state) {
    struct maker m;
    (void)state;
    make_heap(&m, 524288, true);
    for (uint32_t i = 0; i < 7; i++) { /* of ten, three are left */
        struct gomalloc_slot *slot = maker_record(&m, GOMALLOC_SECTION_SLOT, i);
        *slot = (struct gomalloc_slot){0};
    }
    struct image *im = heap_open(&m);
    sqlite3 *db = open_db(im);
    query_assert(db,
                 "SELECT internal_bytes, round(recorded_percent, 1) FROM v1_fragmentation"
                 " WHERE size_class = 3",
                 "80|30.0");
    query_assert(db,
                 "SELECT recorded_objects, requested_bytes, internal_bytes FROM v1_span"
                 " WHERE size_class = 3 ORDER BY base",
                 "0|-|-\n3|120|24");
    db_close(db);
    image_close(im);
}

static void test_slack_of_what_is_not_recorded_is_not_known(void **state) {
    struct maker m;
    (void)state;
    make_heap(&m, 0, false);
    struct image *im = heap_open(&m);
    sqlite3 *db = open_db(im);
    query_assert(db,
                 "SELECT internal_bytes IS NULL, wasted_bytes = external_bytes + tail_bytes"
                 " + free_page_bytes, recorded_percent FROM v1_fragmentation"
                 " WHERE size_class IS NULL",
                 "1|1|0.0");
    query_assert(db, "SELECT count(*), count(internal_bytes) FROM v1_class WHERE spans > 0", "3|0");
    db_close(db);
    image_close(im);
}

static void test_what_is_resident_of_spans_classes_and_arenas(void **state) {
    struct maker m;
    (void)state;
    make_heap(&m, 1, true);
    heap_backing(&m, HEAP_ARENA, 3, false);                 /* a, half of b */
    heap_backing(&m, HEAP_ARENA + 2 * HEAP_PAGE, 2, true);  /* of the large one */
    heap_backing(&m, HEAP_ARENA + 7 * HEAP_PAGE, 2, false); /* a free page */
    struct gomalloc_backing *b = maker_record(&m, GOMALLOC_SECTION_BACKING, 0);
    b->huge_bytes = 12345;
    b->flags = GOMALLOC_BACKING_HUGE_SHARE;
    struct image *im = heap_open(&m);
    sqlite3 *db = open_db(im);
    query_assert(db, "SELECT resident_bytes, swapped_bytes FROM v1_span ORDER BY base",
                 "8192|0\n4096|0\n0|8192\n0|0");
    query_assert(db,
                 "SELECT size_class, resident_bytes, swapped_bytes FROM v1_class WHERE spans > 0"
                 " ORDER BY 1",
                 "0|0|8192\n3|12288|0\n4|0|0");
    query_assert(
        db,
        "SELECT resident_bytes, swapped_bytes, huge_bytes, huge_exact, free_resident_bytes,"
        " longest_run, live_objects, external_bytes, tail_bytes, internal_bytes"
        " FROM v1_arena",
        "20480|8192|12345|0|8192|3|11|24032|64|4656");
    /* b: half of its page is there, with slots 0 to 84 and a third of 85; 7 to 9 are live */
    query_assert(db, "SELECT live_resident, free_resident FROM span_figure ORDER BY base",
                 "336|7824\n144|3952\n0|0\n0|0");
    query_assert(db, "SELECT resident_bytes FROM v1_fragmentation WHERE size_class IS NULL",
                 "20480");
    db_close(db);
    image_close(im);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_free_pages_are_counted_by_run),
        cmocka_unit_test(test_backing_is_summed_up_over_chunks),
        cmocka_unit_test(test_backing_that_makes_no_sense_is_refused),
        cmocka_unit_test(test_live_free_and_tail_are_the_spans),
        cmocka_unit_test(test_slack_is_scaled_from_what_is_recorded),
        cmocka_unit_test(test_slack_of_what_is_not_recorded_is_not_known),
        cmocka_unit_test(test_what_is_resident_of_spans_classes_and_arenas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
