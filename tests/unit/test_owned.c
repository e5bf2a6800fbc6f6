/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The list of the library's own mappings: against a map page by page, in several threads, and full.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "random.h"
#include "sys/mem.h"
#include "sys/owned.h"

enum { PAGES = 400, PAGE = 4096, NONE = 255 };

static struct owned_range ranges[OWNED_MAX];

/* A part of the address space that nobody has, page by page. */
struct field {
    uintptr_t base;
    unsigned char why[PAGES];
};

static void *page(const struct field *f, unsigned i) {
    return (void *)(f->base + (uintptr_t)i * PAGE);
}

static void check(const struct field *f) {
    unsigned char seen[PAGES];
    memset(seen, NONE, sizeof seen);
    size_t n = owned_list(ranges, OWNED_MAX);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || ranges[i - 1].end <= ranges[i].start);
        for (uintptr_t p = ranges[i].start; p < ranges[i].end; p += PAGE)
            if (p - f->base < (uintptr_t)PAGES * PAGE)
                seen[(p - f->base) / PAGE] = (unsigned char)ranges[i].why;
    }
    assert_memory_equal(seen, f->why, PAGES);
}

/* change adds a run of free pages, or removes a run of owned ones. */
static void change(struct field *f, struct random *r) {
    unsigned from = random_below(r, PAGES);
    unsigned n = 1 + random_below(r, 20), why = random_below(r, 3);
    bool add = f->why[from] == NONE;
    unsigned to = from;
    while (to < PAGES && to < from + n && (f->why[to] == NONE) == add)
        to++;
    if (add)
        owned_add(page(f, from), (size_t)(to - from) * PAGE, why);
    else
        owned_remove(page(f, from), (size_t)(to - from) * PAGE);
    memset(f->why + from, add ? (int)why : NONE, to - from);
}

static void clear(struct field *f) {
    owned_remove(page(f, 0), (size_t)PAGES * PAGE);
    memset(f->why, NONE, PAGES);
}

static void test_the_list_is_what_was_added_and_not_removed(void **state) {
    (void)state;
    struct field f = {.base = 0x7000000000};
    struct random r = {1};
    memset(f.why, NONE, PAGES);
    for (int i = 0; i < 4000; i++) {
        change(&f, &r);
        if (i % 10 == 0)
            check(&f);
    }
    clear(&f);
    check(&f);
}

static void *change_for_long(void *arg) {
    struct field *f = arg;
    struct random r = {f->base};
    for (int i = 0; i < 4000; i++)
        change(f, &r);
    return NULL;
}

static void test_threads_do_not_lose_each_others_ranges(void **state) {
    (void)state;
    static struct field f[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        f[i].base = 0x7100000000 + i * (uintptr_t)PAGES * PAGE; /* touching */
        memset(f[i].why, NONE, PAGES);
        assert_int_equal(pthread_create(&threads[i], NULL, change_for_long, &f[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < 4; i++)
        check(&f[i]);
    for (unsigned i = 0; i < 4; i++)
        clear(&f[i]);
}

static void test_what_mem_maps_is_listed_until_it_is_freed(void **state) {
    (void)state;
    char *p = mem_alloc(10 * PAGE, MEM_AGENT);
    size_t n = owned_list(ranges, OWNED_MAX);
    bool found = false;
    for (size_t i = 0; i < n; i++)
        found |= ranges[i].start <= (uintptr_t)p && (uintptr_t)p + 10 * PAGE <= ranges[i].end &&
                 ranges[i].why == MEM_AGENT;
    assert_true(found);
    mem_free(p, 10 * PAGE, MEM_AGENT, 0, 0);
    n = owned_list(ranges, OWNED_MAX);
    for (size_t i = 0; i < n; i++)
        assert_false(ranges[i].start <= (uintptr_t)p && (uintptr_t)p < ranges[i].end);
}

static void test_a_huge_range_is_one_to_the_reader_of_pages(void **state) {
    (void)state;
    uintptr_t base = 0x100000000000, size = (uintptr_t)200 << 30, sum = 0;
    owned_add((void *)base, size, MEM_HEAP);
    size_t n = owned_list(ranges, OWNED_MAX);
    for (size_t i = 0; i < n; i++)
        if (ranges[i].start >= base && ranges[i].end <= base + size)
            sum += ranges[i].end - ranges[i].start;
    assert_true(sum == size);
    owned_remove((void *)base, size);
}

static void test_a_full_table_says_so(void **state) {
    (void)state;
    uintptr_t base = 0x200000000000;
    assert_int_equal(owned_lost(), 0);
    for (uintptr_t i = 0; i <= OWNED_MAX; i++)
        owned_add((void *)(base + 2 * i * PAGE), PAGE, MEM_OTHER);
    assert_true(owned_lost() > 0);
    owned_remove((void *)base, (size_t)2 * (OWNED_MAX + 1) * PAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_list_is_what_was_added_and_not_removed),
        cmocka_unit_test(test_threads_do_not_lose_each_others_ranges),
        cmocka_unit_test(test_what_mem_maps_is_listed_until_it_is_freed),
        cmocka_unit_test(test_a_huge_range_is_one_to_the_reader_of_pages),
        cmocka_unit_test(test_a_full_table_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
