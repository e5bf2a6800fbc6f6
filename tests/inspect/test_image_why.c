/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sections of why an object lives: what the reader makes of good ones, and that it refuses what
 * no library can have written.
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
    demo.why = true;
    maker_init(m);
    demo_make(m, &demo);
}

static void test_reads_what_was_written(void **state) {
    (void)state;
    struct maker m;
    struct image *im = NULL;
    size_t n;
    begin(&m);
    im = made_image_good(&m);
    const struct gomalloc_why *y = image_section(im, GOMALLOC_SECTION_WHY, &n);
    assert_int_equal(n, 1);
    assert_int_equal(y->address, DEMO_WHY);
    const struct gomalloc_holder *h = image_section(im, GOMALLOC_SECTION_WHY_STEP, &n);
    assert_int_equal(n, 6);
    assert_int_equal(h[5].number, DEMO_WHY_LENGTH - 1);
    h = image_section(im, GOMALLOC_SECTION_REFERRER, &n);
    assert_int_equal(n, 5);
    assert_string_equal(h[0].reg, "rbx");
    image_close(im);
    maker_free(&m);
}

static void test_sections_without_a_record_are_no_answer(void **state) {
    (void)state;
    struct maker m;
    struct image *im = NULL;
    begin(&m);
    for (int id = GOMALLOC_SECTION_WHY; id <= GOMALLOC_SECTION_REFERRER; id++)
        m.sections[id].size = 0;
    assert_int_equal(made_image_open(&m, &im), 0);
    image_close(im);
    maker_free(&m);
}

/* What no library can have written: a change of one record. */

#define BREAKAGES(X)                                                                               \
    X(no_such_state, WHY, gomalloc_why, 0, r->state = GOMALLOC_WHY_FREE + 1)                       \
    X(elsewhere, WHY, gomalloc_why, 0, r->asked = r->address + r->size)                            \
    X(before, WHY, gomalloc_why, 0, r->asked = r->address - 1)                                     \
    X(no_object, WHY, gomalloc_why, 0, r->address = 0)                                             \
    X(no_address, WHY, gomalloc_why, 0, r->asked = r->address = UINT64_MAX - 8)                    \
    X(endless, WHY, gomalloc_why, 0, r->size = UINT64_MAX)                                         \
    X(asked_for_more, WHY, gomalloc_why, 0, r->requested = 25)                                     \
    X(no_such_site, WHY, gomalloc_why, 0, r->site = 77)                                            \
    X(no_head, WHY, gomalloc_why, 0, r->head = UINT64_MAX)                                         \
    X(more_leaked, WHY, gomalloc_why, 0, r->leaked_words = 3011)                                   \
    X(fewer_words, WHY, gomalloc_why, 0, r->words = 3005)                                          \
    X(shorter, WHY, gomalloc_why, 0, r->length = 5)                                                \
    X(longer, WHY, gomalloc_why, 0, r->length++)                                                   \
    X(endless_chain, WHY, gomalloc_why, 0, r->length = UINT64_MAX)                                 \
    X(begins_late, WHY_STEP, gomalloc_holder, 0, r->number = 1)                                    \
    X(step_twice, WHY_STEP, gomalloc_holder, 2, r->number = 1)                                     \
    X(step_back, WHY_STEP, gomalloc_holder, 3, r->number = 0)                                      \
    X(step_wraps, WHY_STEP, gomalloc_holder, 4, r->number = UINT64_MAX)                            \
    X(step_site, WHY_STEP, gomalloc_holder, 1, r->site = 77)                                       \
    X(step_kind, WHY_STEP, gomalloc_holder, 1, r->kind = 256)                                      \
    X(step_ends_before, WHY_STEP, gomalloc_holder, 1, r->end = r->start - 1)                       \
    X(step_endless, WHY_STEP, gomalloc_holder, 0, r->end = UINT64_MAX)                             \
    X(step_word, WHY_STEP, gomalloc_holder, 1, r->word = r->end)                                   \
    X(step_word_before, WHY_STEP, gomalloc_holder, 1, r->word = r->start - 1)                      \
    X(root_word, WHY_STEP, gomalloc_holder, 0, r->word = UINT64_MAX)                               \
    X(step_requested, WHY_STEP, gomalloc_holder, 1, r->requested = 49)                             \
    X(no_words, REFERRER, gomalloc_holder, 2, r->number = 0)                                       \
    X(endless_words, REFERRER, gomalloc_holder, 2, r->number = UINT64_MAX)                         \
    X(referrer_site, REFERRER, gomalloc_holder, 2, r->site = 77)

BREAKAGES(BREAK)

static const struct breakage breakages[] = {BREAKAGES(BREAKAGE)};

static void test_refuses_nonsense_with_right_checksums(void **state) {
    (void)state;
    made_image_refuse_all(breakages, sizeof breakages / sizeof breakages[0], begin);
}

static void test_refuses_two_answers_and_a_chain_without_one(void **state) {
    (void)state;
    struct maker m;
    begin(&m);
    struct gomalloc_why y = *(struct gomalloc_why *)maker_record(&m, GOMALLOC_SECTION_WHY, 0);
    maker_add(&m, GOMALLOC_SECTION_WHY, &y);
    made_image_refuse(&m, "two answers");
    for (int id = GOMALLOC_SECTION_WHY; id <= GOMALLOC_SECTION_WHY_STEP; id++) {
        begin(&m);
        m.sections[id].size = 0;
        made_image_refuse(&m, "one is missing");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_was_written),
        cmocka_unit_test(test_sections_without_a_record_are_no_answer),
        cmocka_unit_test(test_refuses_nonsense_with_right_checksums),
        cmocka_unit_test(test_refuses_two_answers_and_a_chain_without_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
