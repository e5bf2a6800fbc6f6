/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sections of a leak check: what the reader makes of good ones, and that it refuses what no
 * library can have written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "made_image.h"

static void begin(struct maker *m) {
    struct demo demo = demo_default;
    demo.leaks = true;
    maker_init(m);
    demo_make(m, &demo);
}

static void test_reads_what_was_written(void **state) {
    (void)state;
    struct maker m;
    size_t n;
    begin(&m);
    struct image *im = made_image_good(&m);
    const struct gomalloc_leak *l = image_section(im, GOMALLOC_SECTION_LEAK, &n);
    assert_int_equal(n, DEMO_LEAKS);
    assert_int_equal(l[2].head, l[0].address);
    const struct gomalloc_leak_check *c = image_section(im, GOMALLOC_SECTION_LEAK_CHECK, &n);
    assert_int_equal(n, 1);
    assert_int_equal(c->missing_tids[1], 4713);
    image_section(im, GOMALLOC_SECTION_ROOT, &n);
    assert_int_equal(n, 5);
    const struct gomalloc_held *h = image_section(im, GOMALLOC_SECTION_HELD, &n);
    assert_int_equal(n, 2);
    assert_string_equal(h[0].reg, "rbx");
    image_close(im);
    maker_free(&m);
}

static void test_sections_without_a_record_are_no_check(void **state) {
    (void)state;
    struct maker m;
    begin(&m);
    for (int id = GOMALLOC_SECTION_LEAK; id <= GOMALLOC_SECTION_ROOT; id++)
        m.sections[id].size = 0;
    m.sections[GOMALLOC_SECTION_HELD].size = 0;
    image_close(made_image_good(&m));
    maker_free(&m);
}

static void test_a_cut_image_may_lack_leaks(void **state) {
    (void)state;
    struct maker m;
    size_t n;
    begin(&m);
    struct gomalloc_leak *l = maker_record(&m, GOMALLOC_SECTION_LEAK, 0);
    memmove(l, l + 1, (DEMO_LEAKS - 1) * sizeof *l);
    m.sections[GOMALLOC_SECTION_LEAK].size -= sizeof *l;
    m.header.flags = GOMALLOC_IMAGE_CUT;
    struct image *im = made_image_good(&m);
    const struct gomalloc_leak *read = image_section(im, GOMALLOC_SECTION_LEAK, &n);
    assert_int_equal(n, DEMO_LEAKS - 1);
    assert_int_equal(read[0].head, read[0].address);
    image_close(im);
    maker_free(&m);
}

/* What no library can have written: a change of one record. */

#define BREAKAGES(X)                                                                               \
    X(head_nowhere, LEAK, gomalloc_leak, 1, r->head += 8)                                          \
    X(head_is_no_head, LEAK, gomalloc_leak, 2, r->head = r[-1].address)                            \
    X(head_is_none, LEAK, gomalloc_leak, 0, r->head = 0)                                           \
    X(heads_in_a_ring, LEAK, gomalloc_leak, 0, r->head = r[1].address)                             \
    X(one_head_more, LEAK, gomalloc_leak, 1, r->head = r->address)                                 \
    X(address_twice, LEAK, gomalloc_leak, 1, r->address = r[-1].address)                           \
    X(descending, LEAK, gomalloc_leak, 2, r->address = r[-1].address - 8)                          \
    X(overlap, LEAK, gomalloc_leak, 0, r->size = 25)                                               \
    X(no_size, LEAK, gomalloc_leak, 5, r->size = 0)                                                \
    X(endless, LEAK, gomalloc_leak, 5, r->size = UINT64_MAX)                                       \
    X(no_address, LEAK, gomalloc_leak, 5, r->address = r->head = UINT64_MAX - 16)                  \
    X(asked_for_more, LEAK, gomalloc_leak, 0, r->requested = 25)                                   \
    X(no_such_site, LEAK, gomalloc_leak, 0, r->site = 77)                                          \
    X(too_few, LEAK_CHECK, gomalloc_leak_check, 0, r->live_objects++)                              \
    X(too_many, LEAK_CHECK, gomalloc_leak_check, 0, r->reached_objects++)                          \
    X(more_reached, LEAK_CHECK, gomalloc_leak_check, 0, r->reached_objects = 2000)                 \
    X(wraps, LEAK_CHECK, gomalloc_leak_check, 0, r->live_objects = 5; r->reached_objects = -1ull)  \
    X(direct, LEAK_CHECK, gomalloc_leak_check, 0, r->direct = 2)                                   \
    X(ignored, LEAK_CHECK, gomalloc_leak_check, 0, r->ignored_objects = 1001)                      \
    X(spared, LEAK_CHECK, gomalloc_leak_check, 0, r->spared_objects = 1001)                        \
    X(endless_pause, LEAK_CHECK, gomalloc_leak_check, 0, r->longest_ns = UINT64_MAX)               \
    X(root_twice, ROOT, gomalloc_root, 1, r->kind = 0)                                             \
    X(root_bytes, ROOT, gomalloc_root, 1, r->bytes = UINT64_MAX)                                   \
    X(held_most, LEAK_CHECK, gomalloc_leak_check, 0, r->held_objects = 1001)                       \
    X(held_endless, LEAK_CHECK, gomalloc_leak_check, 0, r->held_bytes = UINT64_MAX)                \
    X(held_fewer, LEAK_CHECK, gomalloc_leak_check, 0, r->held_objects = 5)                         \
    X(held_less, LEAK_CHECK, gomalloc_leak_check, 0, r->held_bytes--)                              \
    X(held_none, HELD, gomalloc_held, 1, r->objects = 0)                                           \
    X(held_wraps, HELD, gomalloc_held, 1, r->objects = -1ull)                                      \
    X(held_bytes, HELD, gomalloc_held, 1, r->bytes = 23)                                           \
    X(held_size, HELD, gomalloc_held, 0, r->size = 0)                                              \
    X(held_address, HELD, gomalloc_held, 0, r->address = UINT64_MAX - 16)                          \
    X(held_asked, HELD, gomalloc_held, 0, r->requested = 25)                                       \
    X(held_word, HELD, gomalloc_held, 0, r->word = UINT64_MAX)                                     \
    X(held_site, HELD, gomalloc_held, 0, r->site = 77)                                             \
    X(held_frame, HELD, gomalloc_held, 0, r->frame = 7777)                                         \
    X(held_kind, HELD, gomalloc_held, 0, r->kind = GOMALLOC_ROOT_DATA)

BREAKAGES(BREAK)

static const struct breakage breakages[] = {BREAKAGES(BREAKAGE)};

static void test_refuses_nonsense_with_right_checksums(void **state) {
    (void)state;
    made_image_refuse_all(breakages, sizeof breakages / sizeof breakages[0], begin);
}

static void test_refuses_two_checks_and_leaks_without_one(void **state) {
    (void)state;
    struct maker m;
    begin(&m);
    struct gomalloc_leak_check check =
        *(struct gomalloc_leak_check *)maker_record(&m, GOMALLOC_SECTION_LEAK_CHECK, 0);
    maker_add(&m, GOMALLOC_SECTION_LEAK_CHECK, &check);
    made_image_refuse(&m, "two checks");
    begin(&m);
    m.sections[GOMALLOC_SECTION_LEAK_CHECK].size = 0;
    made_image_refuse(&m, "no check");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_was_written),
        cmocka_unit_test(test_sections_without_a_record_are_no_check),
        cmocka_unit_test(test_a_cut_image_may_lack_leaks),
        cmocka_unit_test(test_refuses_nonsense_with_right_checksums),
        cmocka_unit_test(test_refuses_two_checks_and_leaks_without_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
