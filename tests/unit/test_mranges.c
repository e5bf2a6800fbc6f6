/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sorted sets of address ranges: named cases, and a slow twin.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "heap/mranges.h"
#include "random.h"

#define MAX 8

/* Addresses in the cases are small numbers; a range {a, 0} ends a list. */
struct pair {
    uintptr_t base, limit;
};

static struct addr_ranges make(const struct pair *r) {
    struct addr_ranges a;
    assert_true(addr_ranges_init(&a, MEM_CHUNK));
    for (; r->limit != 0; r++)
        assert_true(addr_ranges_add(&a, make_addr_range(r->base, r->limit)));
    return a;
}

static void added_ranges_coalesce(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct pair before[MAX];
        struct pair add;
        struct pair after[MAX];
    } cases[] = {
        {"into nothing", {{0, 0}}, {4, 8}, {{4, 8}, {0, 0}}},
        {"below", {{10, 20}}, {2, 4}, {{2, 4}, {10, 20}}},
        {"above", {{10, 20}}, {22, 24}, {{10, 20}, {22, 24}}},
        {"between", {{10, 20}, {40, 50}}, {25, 30}, {{10, 20}, {25, 30}, {40, 50}}},
        {"touching from below", {{10, 20}}, {5, 10}, {{5, 20}}},
        {"touching from above", {{10, 20}}, {20, 30}, {{10, 30}}},
        {"closing a gap", {{10, 20}, {30, 40}}, {20, 30}, {{10, 40}}},
        {"closing the first of two gaps",
         {{10, 20}, {30, 40}, {50, 60}},
         {20, 30},
         {{10, 40}, {50, 60}}},
        {"touching one of two neighbours", {{10, 20}, {30, 40}}, {21, 30}, {{10, 20}, {21, 40}}},
    };
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        struct addr_ranges a = make(cases[c].before);
        struct addr_ranges want = make(cases[c].after);
        assert_true(addr_ranges_add(&a, make_addr_range(cases[c].add.base, cases[c].add.limit)));
        if (!addr_ranges_consistent(&a) || a.len != want.len ||
            memcmp(a.ranges, want.ranges, a.len * sizeof(a.ranges[0])) != 0)
            fail_msg("%s: %zu ranges", cases[c].name, a.len);
        assert_int_equal(a.total_bytes, want.total_bytes);
    }
}

static void questions_to_a_set(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uintptr_t addr;
        size_t succ;
        bool contains;
        uintptr_t greater_equal; /* 0 = none */
    } cases[] = {
        {"below all", 5, 0, false, 10},       {"the first base", 10, 1, true, 10},
        {"inside", 15, 1, true, 15},          {"the last inside", 19, 1, true, 19},
        {"a limit", 20, 1, false, 30},        {"in a gap", 25, 1, false, 30},
        {"the second base", 30, 2, true, 30}, {"above all", 40, 2, false, 0},
    };
    struct addr_ranges a = make((const struct pair[]){{10, 20}, {30, 40}, {0, 0}});
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        uintptr_t got = 0;
        bool found = addr_ranges_find_addr_greater_equal(&a, cases[c].addr, &got);
        if (addr_ranges_find_succ(&a, cases[c].addr) != cases[c].succ ||
            addr_ranges_contains(&a, cases[c].addr) != cases[c].contains ||
            found != (cases[c].greater_equal != 0) || (found && got != cases[c].greater_equal))
            fail_msg("%s", cases[c].name);
    }
    assert_true(addr_ranges_contains_range(&a, make_addr_range(10, 20)));
    assert_true(addr_ranges_contains_range(&a, make_addr_range(33, 34)));
    assert_false(addr_ranges_contains_range(&a, make_addr_range(9, 20)));
    assert_false(addr_ranges_contains_range(&a, make_addr_range(10, 21)));
    assert_false(addr_ranges_contains_range(&a, make_addr_range(15, 35)));
    assert_false(addr_ranges_contains_range(&a, make_addr_range(15, 15)));

    struct addr_ranges empty = make((const struct pair[]){{0, 0}});
    uintptr_t got;
    assert_false(addr_ranges_contains(&empty, 10));
    assert_false(addr_ranges_find_addr_greater_equal(&empty, 10, &got));
}

/* The upper half of the address space (bit 47 set, sign-extended) comes before the lower. */
static void order_is_that_of_the_offset_space(void **state) {
    (void)state;
    const uintptr_t high = ARENA_BASE_OFFSET;
    assert_true(off_addr_less_than((struct off_addr){high}, (struct off_addr){0}));
    assert_true(off_addr_less_than(MIN_OFF_ADDR, MAX_OFF_ADDR));
    assert_int_equal(MAX_OFF_ADDR.a, 0x7fffffffffff);
    struct addr_ranges a = make((const struct pair[]){{10, 20}, {high + 10, high + 20}, {0, 0}});
    assert_int_equal(a.ranges[0].base.a, high + 10);
    assert_int_equal(a.ranges[1].base.a, 10);
    assert_true(addr_ranges_consistent(&a));
    assert_true(addr_ranges_contains(&a, high + 15));
    assert_int_equal(addr_range_size(make_addr_range(20, 10)), 0);
}

/* A set of 0..1023 as one byte each. */
static void random_sets_agree_with_the_slow_twin(void **state) {
    (void)state;
    struct random rnd = {5};
    for (unsigned round = 0; round < 200; round++) {
        bool slow[1025] = {false};
        uintptr_t total = 0;
        struct addr_ranges a = make((const struct pair[]){{0, 0}});
        unsigned max = round % 2 == 0 ? 3 : 40; /* short ones: more ranges than fit at first */
        for (unsigned step = 0; step < 300; step++) {
            unsigned base = random_below(&rnd, 1024);
            unsigned limit = base;
            unsigned want = random_below(&rnd, max) + 1;
            while (limit < 1024 && !slow[limit] && limit - base < want)
                limit++;
            if (limit == base)
                continue;
            assert_true(addr_ranges_add(&a, make_addr_range(base, limit)));
            memset(slow + base, true, limit - base);
            total += limit - base;
            assert_true(addr_ranges_consistent(&a));
            assert_int_equal(a.total_bytes, total);
        }
        size_t nranges = 0;
        for (unsigned i = 0; i < 1024; i++) {
            assert_int_equal(addr_ranges_contains(&a, i), slow[i]);
            nranges += slow[i] && !slow[i + 1];
            uintptr_t next = 0;
            unsigned slow_next = i;
            while (slow_next < 1024 && !slow[slow_next])
                slow_next++;
            assert_int_equal(addr_ranges_find_addr_greater_equal(&a, i, &next), slow_next < 1024);
            if (slow_next < 1024)
                assert_int_equal(next, slow_next);
        }
        assert_int_equal(a.len, nranges);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(added_ranges_coalesce),
        cmocka_unit_test(questions_to_a_set),
        cmocka_unit_test(order_is_that_of_the_offset_space),
        cmocka_unit_test(random_sets_agree_with_the_slow_twin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
