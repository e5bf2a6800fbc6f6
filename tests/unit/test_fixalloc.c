/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fixed-size objects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "heap/mfixalloc.h"
#include "random.h"

static void count_first(void *arg, void *p) {
    assert_non_null(p);
    ++*(unsigned *)arg;
}

static void the_last_freed_object_is_the_next(void **state) {
    (void)state;
    struct fixalloc f;
    fixalloc_init(&f, 40, NULL, NULL, MEM_OTHER);
    void *a = fixalloc_alloc(&f);
    void *b = fixalloc_alloc(&f);
    assert_ptr_not_equal(a, b);
    assert_int_equal(f.inuse, 80);
    fixalloc_free(&f, a);
    fixalloc_free(&f, b);
    assert_int_equal(f.inuse, 0);
    assert_ptr_equal(fixalloc_alloc(&f), b);
    assert_ptr_equal(fixalloc_alloc(&f), a);
    assert_int_equal(f.inuse, 80);
}

static void objects_are_zero_unless_told_otherwise(void **state) {
    (void)state;
    const char zeros[48] = {0};
    struct fixalloc f;
    fixalloc_init(&f, 48, NULL, NULL, MEM_OTHER);
    char *p = fixalloc_alloc(&f);
    assert_memory_equal(p, zeros, 48);
    memset(p, 'x', 48);
    fixalloc_free(&f, p);
    assert_ptr_equal(fixalloc_alloc(&f), p);
    assert_memory_equal(p, zeros, 48);

    f.zero = false;
    memset(p, 'x', 48);
    fixalloc_free(&f, p);
    assert_ptr_equal(fixalloc_alloc(&f), p);
    assert_int_equal(p[8], 'x'); /* the first word was the list's */
    assert_int_equal(p[47], 'x');
}

static void first_is_called_once_for_each_address(void **state) {
    (void)state;
    unsigned calls = 0;
    struct fixalloc f;
    fixalloc_init(&f, 8192, count_first, &calls, MEM_OTHER);
    void *p[5];
    for (unsigned i = 0; i < 5; i++)
        p[i] = fixalloc_alloc(&f);
    assert_int_equal(calls, 5);
    for (unsigned i = 0; i < 5; i++)
        fixalloc_free(&f, p[i]);
    for (unsigned i = 0; i < 5; i++)
        assert_non_null(fixalloc_alloc(&f));
    assert_int_equal(calls, 5);
}

static void sizes_decide_alignment(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t size;
        size_t align;
    } cases[] = {
        {"less than a list word", 1, 8}, {"odd", 33, 8},         {"words", 40, 8},
        {"a cache line", 64, 64},        {"two lines", 128, 64}, {"a span header", 192, 64},
        {"most of a piece", 9000, 8},    {"a piece", 16384, 64},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct fixalloc f;
        fixalloc_init(&f, cases[c].size, NULL, NULL, MEM_OTHER);
        uintptr_t last = 0;
        for (unsigned i = 0; i < 5; i++) {
            char *p = fixalloc_alloc(&f);
            memset(p, 0xff, cases[c].size);
            if ((uintptr_t)p % cases[c].align != 0)
                fail_msg("%s: %p", cases[c].name, (void *)p);
            uintptr_t apart = (uintptr_t)p > last ? (uintptr_t)p - last : last - (uintptr_t)p;
            assert_true(apart >= cases[c].size);
            last = (uintptr_t)p;
        }
    }
}

/* No two live objects share a byte: each is filled with its own number and looked at later. */
static void random_use_keeps_objects_apart(void **state) {
    (void)state;
    enum { N = 500, SIZE = 24 };
    struct random rnd = {6};
    struct fixalloc f;
    fixalloc_init(&f, SIZE, NULL, NULL, MEM_OTHER);
    uint64_t *live[N] = {NULL};
    size_t nlive = 0;
    for (uint64_t step = 1; step < 50000; step++) {
        unsigned i = random_below(&rnd, N);
        if (live[i] == NULL) {
            live[i] = fixalloc_alloc(&f);
            assert_true(live[i][0] == 0 && live[i][1] == 0 && live[i][2] == 0);
            live[i][0] = live[i][1] = live[i][2] = i + 1;
            nlive++;
        } else {
            assert_true(live[i][0] == i + 1 && live[i][1] == i + 1 && live[i][2] == i + 1);
            fixalloc_free(&f, live[i]);
            live[i] = NULL;
            nlive--;
        }
        assert_int_equal(f.inuse, nlive * SIZE);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_freed_object_is_the_next),
        cmocka_unit_test(objects_are_zero_unless_told_otherwise),
        cmocka_unit_test(first_is_called_once_for_each_address),
        cmocka_unit_test(sizes_decide_alignment),
        cmocka_unit_test(random_use_keeps_objects_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
