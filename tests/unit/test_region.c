/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of named roots: what was added and not removed is there, also while others add.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "leak/region.h"

static struct root_region list[REGIONS_MAX];

static size_t count(uintptr_t start, uintptr_t end) {
    size_t n = region_list(list), found = 0;
    for (size_t i = 0; i < n; i++)
        found += list[i].start == start && list[i].end == end;
    return found;
}

static void what_is_added_is_there_until_it_is_removed(void **state) {
    (void)state;
    assert_int_equal(region_list(list), 0);
    assert_int_equal(region_add(0x1001, 100), 0);
    assert_int_equal(region_add(0x1001, 200), 0);
    assert_int_equal(count(0x1001, 0x1001 + 100), 1);
    assert_int_equal(count(0x1001, 0x1001 + 200), 1);
    assert_int_equal(region_remove(0x1001, 100), 0);
    assert_int_equal(region_list(list), 1);
    assert_int_equal(list[0].end, 0x1001 + 200);
    assert_int_equal(region_remove(0x1001, 200), 0);
    assert_int_equal(region_list(list), 0);
}

static void what_is_added_twice_is_removed_twice(void **state) {
    (void)state;
    assert_int_equal(region_add(0x2000, 8), 0);
    assert_int_equal(region_add(0x2000, 8), 0);
    assert_int_equal(region_remove(0x2000, 8), 0);
    assert_int_equal(count(0x2000, 0x2008), 1);
    assert_int_equal(region_remove(0x2000, 8), 0);
    assert_int_equal(region_remove(0x2000, 8), -ENOENT);
}

static void senseless_regions_are_refused(void **state) {
    (void)state;
    assert_int_equal(region_add(0, 100), -EINVAL);
    assert_int_equal(region_add(0x1000, 0), -EINVAL);
    assert_int_equal(region_add(0x1000, SIZE_MAX - 0x800), -EINVAL);
    assert_int_equal(region_remove(0x1000, 0), -ENOENT);
    assert_int_equal(region_remove(0, 8), -ENOENT);
    assert_int_equal(region_list(list), 0);
}

static void a_full_table_says_so_and_has_room_again(void **state) {
    (void)state;
    for (uintptr_t i = 1; i <= REGIONS_MAX; i++)
        assert_int_equal(region_add(i * 64, 64), 0);
    assert_int_equal(region_add(64, 64), -ENOSPC);
    assert_int_equal(region_list(list), REGIONS_MAX);
    assert_int_equal(region_remove(64 * 500, 64), 0);
    assert_int_equal(region_add(7, 7), 0);
    assert_int_equal(region_add(7, 7), -ENOSPC);
    assert_int_equal(region_remove(7, 7), 0);
    for (uintptr_t i = 1; i <= REGIONS_MAX; i++)
        assert_int_equal(region_remove(i * 64, 64), i == 500 ? -ENOENT : 0);
    assert_int_equal(region_list(list), 0);
}

enum { THREADS = 4, OWN = 50, ROUNDS = 300 };

static void *churn(void *arg) {
    uintptr_t base = (uintptr_t)arg << 20;
    for (int round = 0; round < ROUNDS; round++) {
        for (uintptr_t i = 1; i <= OWN; i++)
            if (region_add(base + i, i) != 0)
                return NULL;
        for (uintptr_t i = 1; i <= OWN; i++)
            if (region_remove(base + i, i) != 0)
                return NULL;
    }
    return arg;
}

static void threads_do_not_lose_each_others_regions(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    assert_int_equal(region_add(0x99, 0x9), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
    for (uintptr_t i = 0; i < THREADS; i++) {
        void *ret;
        pthread_join(threads[i], &ret);
        assert_ptr_equal(ret, (void *)(i + 1));
    }
    assert_int_equal(region_list(list), 1);
    assert_int_equal(count(0x99, 0xa2), 1);
    assert_int_equal(region_remove(0x99, 0x9), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_there_until_it_is_removed),
        cmocka_unit_test(what_is_added_twice_is_removed_twice),
        cmocka_unit_test(senseless_regions_are_refused),
        cmocka_unit_test(a_full_table_says_so_and_has_room_again),
        cmocka_unit_test(threads_do_not_lose_each_others_regions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
