/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sections of the allocator's structures: what the reader makes of good ones, of their absence,
 * and that it refuses what no library can have written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "made_image.h"

static void begin(struct maker *m) {
    maker_init(m);
    demo_make(m, &demo_default);
}

static void test_reads_what_was_written(void **state) {
    (void)state;
    struct maker m;
    size_t n;
    begin(&m);
    struct image *im = made_image_good(&m);
    const struct gomalloc_mcache *c = image_section(im, GOMALLOC_SECTION_MCACHE, &n);
    assert_int_equal(n, 2);
    assert_int_equal(c[0].pcache_npages, 2);
    assert_int_equal(c[0].pcache_free, 3 << 20);
    assert_true(c[1].next_sample == GOMALLOC_NO_SAMPLE);
    const struct gomalloc_mcache_class *k = image_section(im, GOMALLOC_SECTION_MCACHE_CLASS, &n);
    assert_int_equal(n, 3);
    assert_int_equal(k[0].listed_free, 462); /* class 2 */
    image_section(im, GOMALLOC_SECTION_MHEAP, &n);
    assert_int_equal(n, 1);
    image_close(im);
    maker_free(&m);
}

static void test_an_image_of_an_older_library_lacks_them(void **state) {
    (void)state;
    struct demo d = demo_default;
    struct maker m;
    d.old = true;
    maker_init(&m);
    demo_make(&m, &d);
    struct image *im = made_image_good(&m);
    assert_false(image_has(im, GOMALLOC_SECTION_MCACHE));
    assert_true(image_has(im, GOMALLOC_SECTION_COUNTER));
    image_close(im);
    maker_free(&m);
}

static void test_nothing_free_and_no_sample_are_no_damage(void **state) {
    (void)state;
    struct maker m;
    begin(&m);
    ((struct gomalloc_mheap *)maker_record(&m, GOMALLOC_SECTION_MHEAP, 0))->search_addr =
        GOMALLOC_NOTHING_FREE;
    image_close(made_image_good(&m));
    maker_free(&m);
}

/* What no library can have written: a change of one record. */

#define BREAKAGES(X)                                                                               \
    X(cache_flags, MCACHE, gomalloc_mcache, 0, r->flags = 4)                                       \
    X(cache_number, MCACHE, gomalloc_mcache, 1, r->mcache = 2)                                     \
    X(cache_twice, MCACHE, gomalloc_mcache, 1, r->mcache = 0)                                      \
    X(cache_tiny, MCACHE, gomalloc_mcache, 0, r->tiny = UINT64_C(1) << 62)                         \
    X(cache_tiny_offset, MCACHE, gomalloc_mcache, 0, r->tiny_offset = 1 << 20)                     \
    X(cache_pages_count, MCACHE, gomalloc_mcache, 0, r->pcache_npages = 3)                         \
    X(cache_pages_base, MCACHE, gomalloc_mcache, 0, r->pcache_base += 8192)                        \
    X(cache_pages_given_back, MCACHE, gomalloc_mcache, 0, r->pcache_scavenged = 1)                 \
    X(cache_large_bytes, MCACHE, gomalloc_mcache, 0, r->large_bytes = UINT64_MAX)                  \
    X(cache_refills, MCACHE, gomalloc_mcache, 0, r->nrefill = UINT64_MAX)                          \
    X(class_cache, MCACHE_CLASS, gomalloc_mcache_class, 0, r->mcache = 7)                          \
    X(class_number, MCACHE_CLASS, gomalloc_mcache_class, 0, r->span_class = 136)                   \
    X(class_twice, MCACHE_CLASS, gomalloc_mcache_class, 0, r->span_class = 5 << 1)                 \
    X(class_current, MCACHE_CLASS, gomalloc_mcache_class, 0, r->current = UINT64_C(1) << 63)       \
    X(class_hints, MCACHE_CLASS, gomalloc_mcache_class, 0, r->nhints = 65)                         \
    X(class_capacity, MCACHE_CLASS, gomalloc_mcache_class, 0, r->hint_capacity = UINT32_MAX)       \
    X(class_free, MCACHE_CLASS, gomalloc_mcache_class, 0, r->held_free = UINT64_MAX)               \
    X(central_class, MCENTRAL, gomalloc_mcentral, 0, r->span_class = 200)                          \
    X(central_spans, MCENTRAL, gomalloc_mcentral, 0, r->full_unswept = UINT64_C(1) << 62)          \
    X(heap_search, MHEAP, gomalloc_mheap, 0, r->search_addr = UINT64_MAX - 1)                      \
    X(heap_arena, MHEAP, gomalloc_mheap, 0, r->cur_arena_end = 1)                                  \
    X(heap_chunks, MHEAP, gomalloc_mheap, 0, r->chunk_end = 0)                                     \
    X(heap_pages, MHEAP, gomalloc_mheap, 0, r->pages_in_use = UINT64_MAX)                          \
    X(scavenger_flag, SCAVENGER, gomalloc_scavenger, 0, r->working = 2)                            \
    X(scavenger_goal, SCAVENGER, gomalloc_scavenger, 0, r->goal_bytes = UINT64_C(1) << 62)         \
    X(transition_state, TRANSITION, gomalloc_transition, 0, r->to = 4)                             \
    X(transition_nowhere, TRANSITION, gomalloc_transition, 0, r->to = r->from)                     \
    X(transition_bytes, TRANSITION, gomalloc_transition, 0, r->bytes = UINT64_C(1) << 62)          \
    X(transition_twice, TRANSITION, gomalloc_transition, 1, r->from = 0; r->to = 1)                \
    X(heap_twice, MHEAP, gomalloc_mheap, 0, struct gomalloc_mheap copy = *r;                       \
      maker_add(m, GOMALLOC_SECTION_MHEAP, &copy))                                                 \
    X(scavenger_twice, SCAVENGER, gomalloc_scavenger, 0, struct gomalloc_scavenger copy = *r;      \
      maker_add(m, GOMALLOC_SECTION_SCAVENGER, &copy))

BREAKAGES(BREAK)

static const struct breakage breakages[] = {BREAKAGES(BREAKAGE)};

static void test_refuses_nonsense_with_right_checksums(void **state) {
    (void)state;
    made_image_refuse_all(breakages, sizeof breakages / sizeof breakages[0], begin);
}

static void test_refuses_more_transitions_than_there_can_be(void **state) {
    (void)state;
    struct image *im = NULL;
    struct maker m;
    begin(&m);
    for (unsigned i = 0; i < 2000; i++) {
        struct gomalloc_transition t = {.from = 0, .to = 1};
        memcpy(t.purpose, &i, sizeof i);
        maker_add(&m, GOMALLOC_SECTION_TRANSITION, &t);
    }
    assert_int_equal(made_image_open(&m, &im), IMAGE_DAMAGED);
    maker_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_was_written),
        cmocka_unit_test(test_an_image_of_an_older_library_lacks_them),
        cmocka_unit_test(test_nothing_free_and_no_sample_are_no_damage),
        cmocka_unit_test(test_refuses_nonsense_with_right_checksums),
        cmocka_unit_test(test_refuses_more_transitions_than_there_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
