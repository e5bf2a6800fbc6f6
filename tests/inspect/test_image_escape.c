/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sections of verdicts and history: what the reader makes of good ones, of sites that came too
 * late, and that it refuses what no library can have written.
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

static size_t count(const struct image *im, enum gomalloc_section_id id) {
    size_t n;
    image_section(im, id, &n);
    return n;
}

static void test_reads_what_was_written(void **state) {
    (void)state;
    struct maker m;
    size_t n;
    begin(&m);
    struct image *im = made_image_good(&m);
    const struct gomalloc_escape *e = image_section(im, GOMALLOC_SECTION_ESCAPE, &n);
    assert_int_equal(n, 2);
    assert_int_equal(e[0].freed, 1000);
    assert_int_equal(count(im, GOMALLOC_SECTION_OUTLIVED), 3);
    assert_int_equal(count(im, GOMALLOC_SECTION_HANDOVER), 2);
    assert_int_equal(count(im, GOMALLOC_SECTION_TICK), 3);
    assert_int_equal(count(im, GOMALLOC_SECTION_HISTORY), 8);
    image_close(im);
    maker_free(&m);
}

/* Records of one more site, before those that are there: keys are out of order, too. */
static void add_late_site(struct maker *m) {
    struct gomalloc_escape *e = maker_record(m, GOMALLOC_SECTION_ESCAPE, 0);
    struct gomalloc_escape first = e[0], late = {.site = 999, .judged = 5, .freed = 5};
    struct gomalloc_outlived o = {999, 0, 5, 0};
    struct gomalloc_handover h = {.site = 999, .objects = 1};
    struct gomalloc_history y = {.site = 999, .tick = 1};
    e[0] = late;
    maker_add(m, GOMALLOC_SECTION_ESCAPE, &first);
    maker_add(m, GOMALLOC_SECTION_OUTLIVED, &o);
    maker_add(m, GOMALLOC_SECTION_HANDOVER, &h);
    maker_add(m, GOMALLOC_SECTION_HISTORY, &y);
}

static void test_sites_that_came_too_late_are_left_out(void **state) {
    (void)state;
    struct maker m;
    begin(&m);
    add_late_site(&m);
    m.header.flags = GOMALLOC_IMAGE_LIVE;
    struct image *im = made_image_good(&m);
    assert_int_equal(count(im, GOMALLOC_SECTION_ESCAPE), 2);
    assert_int_equal(count(im, GOMALLOC_SECTION_OUTLIVED), 3);
    assert_int_equal(count(im, GOMALLOC_SECTION_HANDOVER), 2);
    assert_int_equal(count(im, GOMALLOC_SECTION_HISTORY), 8);
    assert_int_equal(image_find(im, GOMALLOC_SECTION_ESCAPE, 1), 1);
    assert_int_equal(image_find(im, GOMALLOC_SECTION_ESCAPE, 2), 0);
    assert_true(image_find(im, GOMALLOC_SECTION_ESCAPE, 999) == SIZE_MAX);
    image_close(im);
    maker_free(&m);
}

static void test_sites_that_do_not_exist_are_damage_in_an_image_at_rest(void **state) {
    (void)state;
    struct image *im = NULL;
    struct maker m;
    begin(&m);
    add_late_site(&m);
    assert_int_equal(made_image_open(&m, &im), IMAGE_DAMAGED);
    maker_free(&m);
}

static void test_a_partial_image_may_lack_what_the_sums_are_of(void **state) {
    (void)state;
    static const enum gomalloc_section_id ids[] = {GOMALLOC_SECTION_OUTLIVED,
                                                   GOMALLOC_SECTION_ESCAPE, GOMALLOC_SECTION_TICK};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct image *im = NULL;
        struct maker m;
        begin(&m);
        m.sections[ids[i]].absent = true;
        m.sections[ids[i]].size = 0;
        assert_int_equal(made_image_open(&m, &im), IMAGE_DAMAGED);
        m.header.flags = GOMALLOC_IMAGE_PARTIAL;
        image_close(made_image_good(&m));
        maker_free(&m);
    }
}

/* What no library can have written: a change of one record. */

#define BREAKAGES(X)                                                                               \
    X(more_freed_than_judged, ESCAPE, gomalloc_escape, 0, r->judged = 999)                         \
    X(sum_too_large, ESCAPE, gomalloc_escape, 0, r->other_thread++)                                \
    X(sum_too_small, ESCAPE, gomalloc_escape, 0, r->unknown_switched = 0)                          \
    X(sum_wraps, ESCAPE, gomalloc_escape, 0, r->unknown_deep = UINT64_MAX - 29)                    \
    X(judged_site, ESCAPE, gomalloc_escape, 1, r->site = 77)                                       \
    X(judged_twice, ESCAPE, gomalloc_escape, 1, r->site = 1)                                       \
    X(judged_none, ESCAPE, gomalloc_escape, 1, r->site = 0)                                        \
    X(chains, ESCAPE, gomalloc_escape, 0, r->chains = 1001; r->growths = 2000)                     \
    X(growths, ESCAPE, gomalloc_escape, 0, r->growths = 1)                                         \
    X(median_above, ESCAPE, gomalloc_escape, 0, r->life_ns_p50 = 3e6)                              \
    X(bytes_above, ESCAPE, gomalloc_escape, 0, r->life_bytes_p50 = 1e6)                            \
    X(size_above, ESCAPE, gomalloc_escape, 0, r->final_size_p50 = 81)                              \
    X(not_a_number, ESCAPE, gomalloc_escape, 0, r->life_ns_p99 = __builtin_nan(""))                \
    X(endless, ESCAPE, gomalloc_escape, 0, r->life_ns_p99 = __builtin_inf())                       \
    X(proved_more, OUTLIVED, gomalloc_outlived, 0, r->proved = 51)                                 \
    X(outlived_count, OUTLIVED, gomalloc_outlived, 0, r->objects = 51)                             \
    X(outlived_site, OUTLIVED, gomalloc_outlived, 0, r->site = 3)                                  \
    X(outlived_twice, OUTLIVED, gomalloc_outlived, 0, r->frames = 1)                               \
    X(handover_site, HANDOVER, gomalloc_handover, 0, r->site = 77)                                 \
    X(handover_count, HANDOVER, gomalloc_handover, 0, r->objects = UINT64_MAX)                     \
    X(tick_twice, TICK, gomalloc_tick, 0, r->tick = 2)                                             \
    X(tick_negative, TICK, gomalloc_tick, 0, r->live_bytes = -1)                                   \
    X(tick_rss, TICK, gomalloc_tick, 0, r->rss_bytes = __builtin_nan(""))                          \
    X(history_tick, HISTORY, gomalloc_history, 0, r->tick = 4)                                     \
    X(history_site, HISTORY, gomalloc_history, 0, r->site = 77)                                    \
    X(history_twice, HISTORY, gomalloc_history, 0, r->site = 1)

BREAKAGES(BREAK)

static const struct breakage breakages[] = {BREAKAGES(BREAKAGE)};

static void test_refuses_nonsense_with_right_checksums(void **state) {
    (void)state;
    made_image_refuse_all(breakages, sizeof breakages / sizeof breakages[0], begin);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_was_written),
        cmocka_unit_test(test_sites_that_came_too_late_are_left_out),
        cmocka_unit_test(test_sites_that_do_not_exist_are_damage_in_an_image_at_rest),
        cmocka_unit_test(test_a_partial_image_may_lack_what_the_sums_are_of),
        cmocka_unit_test(test_refuses_nonsense_with_right_checksums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
