/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Distributions: quantiles against the values themselves.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "prof/distribution.h"
#include "prof/sampling.h"

#define N 20000

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void nothing_counted_has_no_quantile(void **state) {
    (void)state;
    struct distribution d = {0};
    assert_true(distribution_quantile(&d, 0.5) == 0);
    assert_true(distribution_of_few(NULL, 0, 0.5) == 0);
}

static void a_quantile_lies_in_the_bucket_of_the_value(void **state) {
    (void)state;
    static const uint64_t values[] = {0, 1, 2, 3, 4, 1000, 1 << 20, UINT64_MAX / 4};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct distribution d = {0};
        for (int k = 0; k < 100; k++)
            distribution_add(&d, values[i]);
        double v = (double)values[i];
        for (double q = 0.01; q < 1; q += 0.07) {
            double got = distribution_quantile(&d, q);
            assert_true(values[i] == 0 ? got == 0 : got > v / 2 && got <= v * 2);
        }
    }
}

static void the_largest_values_are_counted(void **state) {
    (void)state;
    struct distribution d = {0};
    distribution_add(&d, UINT64_MAX);
    assert_true(distribution_quantile(&d, 0.5) > 0x1p61);
}

static void what_spreads_evenly_on_a_logarithmic_scale_is_told_within_two_per_cent(void **state) {
    (void)state;
    struct distribution d = {0};
    static uint64_t values[N];
    uint64_t rng = 1;
    for (int i = 0; i < N; i++) {
        values[i] = (uint64_t)exp2(10 + 20 * ((double)(sampling_random(&rng) >> 11) * 0x1p-53));
        distribution_add(&d, values[i]);
    }
    qsort(values, N, sizeof values[0], by_value);
    static const double parts[] = {0.1, 0.5, 0.9, 0.99};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        double want = (double)values[(size_t)(parts[i] * N)];
        assert_true(fabs(distribution_quantile(&d, parts[i]) / want - 1) < 0.02);
    }
}

/* A count that is full halves all: the shape stays, rare values too. */
static void a_full_count_halves_all(void **state) {
    (void)state;
    struct distribution d = {0};
    distribution_add(&d, 1 << 30);
    for (int i = 0; i < 300000; i++)
        distribution_add(&d, i % 3 == 0 ? 8 : 64);
    uint32_t small = d.n[4], large = d.n[7];
    assert_int_equal(d.n[31], 1);
    assert_true(large >= UINT16_MAX / 2 && fabs((double)large / small - 2) < 0.02);
    assert_true(distribution_quantile(&d, 0.3) < 16);
    assert_true(distribution_quantile(&d, 0.5) >= 64);
}

static void few_values_are_told_as_they_are(void **state) {
    (void)state;
    static const struct {
        uint64_t values[3];
        unsigned n;
        double q;
        double want;
    } cases[] = {
        {{7}, 1, 0.5, 7},           {{7}, 1, 0.99, 7},          {{9, 5}, 2, 0.5, 5},
        {{9, 5}, 2, 0.99, 9},       {{30, 10, 20}, 3, 0.5, 20}, {{30, 10, 20}, 3, 0.99, 30},
        {{20, 10, 10}, 3, 0.5, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t values[3];
        memcpy(values, cases[i].values, sizeof values);
        assert_true(distribution_of_few(values, cases[i].n, cases[i].q) == cases[i].want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_counted_has_no_quantile),
        cmocka_unit_test(a_quantile_lies_in_the_bucket_of_the_value),
        cmocka_unit_test(the_largest_values_are_counted),
        cmocka_unit_test(what_spreads_evenly_on_a_logarithmic_scale_is_told_within_two_per_cent),
        cmocka_unit_test(a_full_count_halves_all),
        cmocka_unit_test(few_values_are_told_as_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
