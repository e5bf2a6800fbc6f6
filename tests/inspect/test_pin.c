/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pins, on made heaps: who keeps a block, with exactly how many of its bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "heap_maker.h"
#include "image/pins.h"

#define MAX_PINS 32

/* pins_of finds the pins of a heap that is made, of one unit, and forgets the heap. */
static size_t pins_of(struct maker *m, enum pin_unit unit, struct pin ret[MAX_PINS]) {
    struct image *im = heap_open(m);
    struct pins *pins = pins_new(im);
    assert_non_null(pins);
    size_t from = pins_find(pins, unit), to = pins_find(pins, unit + 1);
    assert_true(to - from <= MAX_PINS);
    for (size_t i = from; i < to; i++) {
        assert_int_equal(pins->rows[i].unit, unit);
        ret[i - from] = pins->rows[i];
    }
    pins_free(pins);
    image_close(im);
    return to - from;
}

static void assert_pin(const struct pin *p, uint64_t base, uint32_t site, uint64_t objects,
                       uint64_t bytes) {
    assert_int_equal(p->base, base);
    assert_int_equal(p->site, site);
    assert_int_equal(p->objects, objects);
    assert_int_equal(p->bytes, bytes);
}

static void begin(struct maker *m) {
    heap_begin(m, 1, 9);
    heap_arena(m, HEAP_ARENA);
    heap_arena(m, HEAP_ARENA + 64 * HEAP_MIB);
    heap_pages(m, HEAP_ARENA, 512, '#');
}

static void test_one_culprit_keeps_all_of_a_span(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    begin(&m);
    size_t s = heap_span(&m, HEAP_ARENA, 2, 4, 64, true);
    heap_object(&m, s, 0, 7, 3);
    heap_object(&m, s, 200, 7, 0);
    heap_object(&m, s, 255, 7, 60);
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 1);
    assert_pin(&pins[0], HEAP_ARENA, 7, 3, 16384);
    assert_int_equal(pins[0].block_bytes, 16384);
    assert_int_equal(pins[0].block_used, 192);
    assert_int_equal(pins[0].block_objects, 3);
    assert_int_equal(pins[0].block_sites, 1);
}

/* 8192 bytes among 3 + 2 + 2: whole numbers, and not one is lost. */
static void test_several_share_a_span_by_their_objects(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    static const uint32_t sites[] = {5, 2, 9, 5, 2, 5, 9};
    (void)state;
    begin(&m);
    size_t s = heap_span(&m, HEAP_ARENA, 1, 4, 64, true);
    for (uint32_t i = 0; i < 7; i++)
        heap_object(&m, s, 10 * i, sites[i], 0);
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 3);
    assert_pin(&pins[0], HEAP_ARENA, 2, 2, 2340);
    assert_pin(&pins[1], HEAP_ARENA, 5, 3, 3511);
    assert_pin(&pins[2], HEAP_ARENA, 9, 2, 2341);
    assert_int_equal(pins[0].bytes + pins[1].bytes + pins[2].bytes, 8192);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pins[i].block_sites, 3);
        assert_int_equal(pins[i].block_objects, 7);
    }
}

static void test_rows_are_ordered_whatever_the_order_of_spans(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    begin(&m);
    for (uint32_t i = 6; i-- > 0;) {
        size_t s = heap_span(&m, HEAP_ARENA + i * HEAP_PAGE, 1, 4, 64, true);
        heap_object(&m, s, 1, 1 + i % 2, 0);
        heap_object(&m, s, 2, 4, 0);
    }
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 12);
    for (uint32_t i = 0; i < 6; i++) {
        assert_pin(&pins[2 * i], HEAP_ARENA + i * HEAP_PAGE, 1 + i % 2, 1, 4096);
        assert_pin(&pins[2 * i + 1], HEAP_ARENA + i * HEAP_PAGE, 4, 1, 4096);
    }
}

static void test_three_quarters_in_use_is_the_bound(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    begin(&m);
    for (uint32_t full = 5; full <= 8; full++) {
        size_t s = heap_span(&m, HEAP_ARENA + full * HEAP_PAGE, 1, 64, 1024, true);
        for (uint32_t i = 0; i < full; i++)
            heap_object(&m, s, i, 1, 0);
    }
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 2);
    assert_pin(&pins[0], HEAP_ARENA + 5 * HEAP_PAGE, 1, 5, 8192);
    assert_pin(&pins[1], HEAP_ARENA + 6 * HEAP_PAGE, 1, 6, 8192);
}

static void test_empty_and_large_spans_are_nobodys(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    begin(&m);
    heap_span(&m, HEAP_ARENA, 1, 4, 64, true);
    heap_object(&m, heap_span(&m, HEAP_ARENA + HEAP_PAGE, 5, 0, 0, true), 0, 1, 30000);
    heap_span(&m, HEAP_ARENA + 8 * HEAP_PAGE, 5, 0, 0, false); /* freed, and kept for reuse */
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 0);
}

/* Whoever owns a span, and wherever it is kept: what stands in it keeps it. */
static void test_a_span_that_a_thread_caches_is_pinned_as_any(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    struct gomalloc_thread t = {.mcache = 0, .tid = 7};
    (void)state;
    begin(&m);
    maker_add(&m, GOMALLOC_SECTION_THREAD, &t);
    size_t s = heap_span(&m, HEAP_ARENA, 1, 4, 64, true);
    heap_object(&m, s, 77, 3, 0);
    struct gomalloc_span *span = maker_record(&m, GOMALLOC_SECTION_SPAN, s);
    span->owner = 0;
    span->place = GOMALLOC_PLACE_CURRENT;
    span->marked = 9; /* slots that others freed: they keep nothing */
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 1);
    assert_pin(&pins[0], HEAP_ARENA, 3, 1, 8192);
}

/* Several tiny objects are one block, which has one record. */
static void test_a_block_of_tiny_objects_is_one_object(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    begin(&m);
    size_t s = heap_span(&m, HEAP_ARENA, 1, 1, 16, true);
    ((struct gomalloc_span *)maker_record(&m, GOMALLOC_SECTION_SPAN, s))->span_class = 1 << 1 | 1;
    heap_object(&m, s, 0, 0, 0);
    heap_object(&m, s, 1, 6, 13);
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 2);
    assert_pin(&pins[0], HEAP_ARENA, 0, 1, 4096);
    assert_pin(&pins[1], HEAP_ARENA, 6, 1, 4096);
    assert_int_equal(pins[0].block_used, 32);
}

static void test_what_is_not_sampled_is_of_site_0(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    heap_begin(&m, 524288, 9);
    heap_arena(&m, HEAP_ARENA);
    size_t some = heap_span(&m, HEAP_ARENA, 1, 4, 64, true);
    size_t none = heap_span(&m, HEAP_ARENA + HEAP_PAGE, 1, 4, 64, false);
    for (uint32_t i = 0; i < 3; i++)
        heap_object(&m, some, i, i == 1 ? 8 : 0, 0);
    heap_object(&m, none, 5, 8, 0);
    assert_int_equal(pins_of(&m, PIN_SPAN, pins), 3);
    assert_pin(&pins[0], HEAP_ARENA, 0, 2, 5461);
    assert_pin(&pins[1], HEAP_ARENA, 8, 1, 2731);
    assert_pin(&pins[2], HEAP_ARENA + HEAP_PAGE, 0, 1, 8192);
}

/* 2 MiB: its pages in spans, and the free ones that are still backed, come back; what was given
 * back already does not. */
static void test_a_huge_page_is_kept_by_all_that_stands_in_it(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    heap_begin(&m, 1, 9);
    heap_arena(&m, HEAP_ARENA);
    heap_pages(&m, HEAP_ARENA, 3, '#');
    heap_pages(&m, HEAP_ARENA + 3 * HEAP_PAGE, 10, '.');
    heap_pages(&m, HEAP_ARENA + 13 * HEAP_PAGE, 40, '_');
    heap_object(&m, heap_span(&m, HEAP_ARENA, 1, 4, 64, true), 3, 1, 0);
    heap_object(&m, heap_span(&m, HEAP_ARENA + HEAP_PAGE, 2, 0, 0, true), 0, 2, 0);
    assert_int_equal(pins_of(&m, PIN_HUGE, pins), 2);
    assert_pin(&pins[0], HEAP_ARENA, 1, 1, 13 * HEAP_PAGE / 2);
    assert_pin(&pins[1], HEAP_ARENA, 2, 1, 13 * HEAP_PAGE / 2);
    assert_int_equal(pins[0].block_used, 64 + 2 * HEAP_PAGE);
    assert_int_equal(pins[0].block_bytes, 13 * HEAP_PAGE);
}

/* A large object that reaches over an edge stands in both, each with its part. */
static void test_an_object_over_an_edge_keeps_both_sides(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    uint64_t edge = HEAP_ARENA + 64 * HEAP_MIB;
    (void)state;
    for (enum pin_unit unit = PIN_HUGE; unit < PIN_NUNITS; unit++) {
        begin(&m);
        heap_pages(&m, edge - 256 * HEAP_PAGE, 255, '.');
        heap_pages(&m, edge - HEAP_PAGE, 4, '#');
        heap_pages(&m, edge + 3 * HEAP_PAGE, 253, '.');
        heap_object(&m, heap_span(&m, edge - HEAP_PAGE, 4, 0, 0, true), 0, 2, 0);
        uint64_t size = unit == PIN_HUGE ? 2 * HEAP_MIB : 64 * HEAP_MIB;
        assert_int_equal(pins_of(&m, unit, pins), 2);
        assert_pin(&pins[0], edge - size, 2, 1, pins[0].block_bytes);
        assert_pin(&pins[1], edge, 2, 1, 256 * HEAP_PAGE);
        assert_int_equal(pins[0].block_used, HEAP_PAGE);
        assert_int_equal(pins[1].block_used, 3 * HEAP_PAGE);
        /* the first arena also has the chunk that begin made */
        assert_int_equal(pins[0].block_bytes,
                         (unit == PIN_HUGE ? 256 : 256 + 512) * (uint64_t)HEAP_PAGE);
    }
}

static void test_stacks_keep_what_is_larger_than_a_span(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    for (enum pin_unit unit = PIN_SPAN; unit < PIN_NUNITS; unit++) {
        begin(&m);
        heap_object(&m, heap_span(&m, HEAP_ARENA + 9 * HEAP_PAGE, 1, 4, 64, true), 0, 4, 0);
        size_t s = heap_span(&m, HEAP_ARENA + HEAP_PAGE, 4, 4, 16384, false);
        ((struct gomalloc_span *)maker_record(&m, GOMALLOC_SECTION_SPAN, s))->state =
            GOMALLOC_SPAN_MANUAL;
        heap_object(&m, s, 1, 0, 0);
        size_t n = pins_of(&m, unit, pins);
        assert_int_equal(n, unit == PIN_SPAN ? 1 : 2);
        assert_int_equal(pins[0].site, unit == PIN_SPAN ? 4 : 0);
        assert_int_equal(pins[n - 1].site, 4);
        assert_int_equal(pins[0].block_objects, n);
    }
}

static void test_an_empty_heap_has_no_pins(void **state) {
    struct maker m;
    struct pin pins[MAX_PINS];
    (void)state;
    for (enum pin_unit unit = PIN_SPAN; unit < PIN_NUNITS; unit++) {
        heap_begin(&m, 1, 0);
        assert_int_equal(pins_of(&m, unit, pins), 0);
    }
}

/* More sites than the table begins with: nobody is lost when it grows. */
static void test_a_block_of_many_sites(void **state) {
    struct maker m;
    (void)state;
    heap_begin(&m, 1, 300);
    heap_arena(&m, HEAP_ARENA);
    size_t s = heap_span(&m, HEAP_ARENA, 1, 1, 16, true);
    for (uint32_t i = 0; i < 300; i++)
        heap_object(&m, s, i, 300 - i, 0);
    struct image *im = heap_open(&m);
    struct pins *pins = pins_new(im);
    uint64_t sum = 0;
    size_t n = pins_find(pins, PIN_SPAN + 1);
    assert_int_equal(n, 300);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(pins->rows[i].site, i + 1);
        assert_int_equal(pins->rows[i].objects, 1);
        assert_in_range(pins->rows[i].bytes, 27, 28);
        sum += pins->rows[i].bytes;
    }
    assert_int_equal(sum, 8192);
    pins_free(pins);
    image_close(im);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_culprit_keeps_all_of_a_span),
        cmocka_unit_test(test_several_share_a_span_by_their_objects),
        cmocka_unit_test(test_rows_are_ordered_whatever_the_order_of_spans),
        cmocka_unit_test(test_three_quarters_in_use_is_the_bound),
        cmocka_unit_test(test_empty_and_large_spans_are_nobodys),
        cmocka_unit_test(test_a_span_that_a_thread_caches_is_pinned_as_any),
        cmocka_unit_test(test_a_block_of_tiny_objects_is_one_object),
        cmocka_unit_test(test_what_is_not_sampled_is_of_site_0),
        cmocka_unit_test(test_a_huge_page_is_kept_by_all_that_stands_in_it),
        cmocka_unit_test(test_an_object_over_an_edge_keeps_both_sides),
        cmocka_unit_test(test_stacks_keep_what_is_larger_than_a_span),
        cmocka_unit_test(test_an_empty_heap_has_no_pins),
        cmocka_unit_test(test_a_block_of_many_sites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
