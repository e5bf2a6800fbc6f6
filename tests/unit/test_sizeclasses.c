/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The generated size classes keep what mksizeclasses.c promises.  (That they are Go's is tested in
 * tests/oracle.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heap/msize.h"

static void each_size_gets_the_smallest_class_with_room(void **state) {
    (void)state;
    assert_int_equal(size_to_class(0), 0);
    for (unsigned size = 1; size <= MAX_SMALL_SIZE; size++) {
        unsigned c = 1;
        while (class_to_size[c] < size)
            c++;
        assert_int_equal(size_to_class(size), c);
        assert_int_equal(round_up_size(size), class_to_size[c]);
    }
}

static void large_sizes_are_whole_pages(void **state) {
    (void)state;
    assert_int_equal(round_up_size(MAX_SMALL_SIZE), MAX_SMALL_SIZE);
    assert_int_equal(round_up_size(MAX_SMALL_SIZE + 1), 5 * GM_PAGE_SIZE);
    assert_int_equal(round_up_size(5 * GM_PAGE_SIZE), 5 * GM_PAGE_SIZE);
    assert_int_equal(round_up_size(5 * GM_PAGE_SIZE + 1), 6 * GM_PAGE_SIZE);
    /* No room to round up: unchanged, and so refused by whoever looks for that much. */
    assert_int_equal(round_up_size(UINTPTR_MAX), UINTPTR_MAX);
    assert_int_equal(round_up_size(UINTPTR_MAX - GM_PAGE_SIZE + 1), UINTPTR_MAX - GM_PAGE_SIZE + 1);
}

static void classes_grow_and_are_aligned(void **state) {
    (void)state;
    assert_int_equal(class_to_size[0], 0);
    assert_int_equal(class_to_size[NUM_SIZE_CLASSES - 1], MAX_SMALL_SIZE);
    for (unsigned c = 1; c < NUM_SIZE_CLASSES; c++) {
        assert_true(class_to_size[c] > class_to_size[c - 1]);
        assert_int_equal(class_to_size[c] % 8, 0);
        /* What malloc must return for 16 bytes and more; 24 is why it skips a class. */
        if (class_to_size[c] >= 16 && class_to_size[c] != 24)
            assert_int_equal(class_to_size[c] % 16, 0);
    }
}

/* memalign relies on it: for every power of two up to a page there is a class, of twice the
 * requested size at most, whose objects all are at multiples of it. */
static void powers_of_two_are_classes(void **state) {
    (void)state;
    for (uintptr_t n = 8; n <= MAX_SMALL_SIZE; n *= 2)
        assert_int_equal(class_to_size[size_to_class(n)], n);
}

static void a_span_wastes_at_most_an_eighth_at_its_end(void **state) {
    (void)state;
    for (unsigned c = 1; c < NUM_SIZE_CLASSES; c++) {
        unsigned bytes = class_to_allocnpages[c] * (unsigned)GM_PAGE_SIZE;
        assert_true(bytes >= class_to_size[c]);
        assert_true(bytes % class_to_size[c] <= bytes / 8);
    }
}

static void multiplying_divides(void **state) {
    (void)state;
    assert_int_equal(class_to_divmagic[0], 0);
    for (unsigned c = 1; c < NUM_SIZE_CLASSES; c++) {
        unsigned size = class_to_size[c];
        uint64_t magic = class_to_divmagic[c];
        assert_int_equal(magic, (((uint64_t)1 << 32) + size - 1) / size);
        unsigned bytes = class_to_allocnpages[c] * (unsigned)GM_PAGE_SIZE;
        for (unsigned n = 0; n <= bytes; n++) {
            if (n * magic >> 32 != n / size)
                fail_msg("class %u: %u / %u", c, n, size);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_size_gets_the_smallest_class_with_room),
        cmocka_unit_test(large_sizes_are_whole_pages),
        cmocka_unit_test(classes_grow_and_are_aligned),
        cmocka_unit_test(powers_of_two_are_classes),
        cmocka_unit_test(a_span_wastes_at_most_an_eighth_at_its_end),
        cmocka_unit_test(multiplying_divides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
