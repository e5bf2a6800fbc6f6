/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sampling: the mathematics against libm, the distribution against theory.  Seeds are fixed, so a
 * run gives the same numbers each time; the bounds are four standard deviations.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "prof/sampling.h"

#define N    1000000
#define RATE 8192

static void assert_near(double got, double want, double bound) {
    if (!(fabs(got - want) <= bound))
        fail_msg("got %.17g, want %.17g +- %g", got, want, bound);
}

static void logarithm_agrees_with_libm(void **state) {
    (void)state;
    uint64_t rng = 1;
    assert_near(sampling_log(1), 0, 0);
    assert_near(sampling_log(0x1p-53), log(0x1p-53), 1e-13);
    for (int i = 0; i < 200000; i++) {
        double q = (double)((sampling_random(&rng) >> 11) + 1) * 0x1p-53;
        if (i % 2 != 0)
            q = ldexp(q, -(i % 30)); /* small ones too */
        double want = log(q);
        assert_near(sampling_log(q), want, 1e-15 + 4e-16 * fabs(want));
    }
}

static void weight_agrees_with_libm(void **state) {
    (void)state;
    for (uint64_t rate = 2; rate <= (uint64_t)1 << 40; rate *= 3) {
        for (uint64_t size = 1; size <= (uint64_t)1 << 40; size += size / 2 + 1) {
            double want = 1 / -expm1(-(double)size / (double)rate);
            assert_near(sampling_weight(size, rate), want, 1e-14 * want);
        }
    }
}

static void weight_is_one_when_everything_is_recorded(void **state) {
    (void)state;
    for (uint64_t size = 0; size < 5000; size++)
        assert_true(sampling_weight(size, 1) == 1.0);
    assert_true(isfinite(sampling_weight(0, 524288)));
}

static void distances_have_the_mean_and_variance_of_the_exponential(void **state) {
    (void)state;
    uint64_t rng = 42;
    double sum = 0;
    double sum2 = 0;
    for (int i = 0; i < N; i++) {
        /* the integer part of an exponential has a mean of about half a byte less */
        double d = (double)sampling_distance(&rng, RATE) + 0.5;
        assert_true(d > 0);
        sum += d;
        sum2 += d * d;
    }
    double mean = sum / N;
    double variance = sum2 / N - mean * mean;
    assert_near(mean, RATE, 4 * RATE / sqrt(N));
    assert_near(variance, (double)RATE * RATE, 4 * (double)RATE * RATE * sqrt(8.0 / N));
}

/* malloc's side of the contract. */
static int sampled(int64_t *next, uint64_t *rng, uint64_t size) {
    *next -= (int64_t)size;
    if (*next >= 0)
        return 0;
    *next = sampling_distance(rng, RATE);
    return 1;
}

static void each_size_is_sampled_with_its_own_probability(void **state) {
    (void)state;
    static const uint64_t sizes[] = {16, 100, 1000, 8192, 30000};
    enum { NSIZES = sizeof sizes / sizeof sizes[0] };
    double hits[NSIZES] = {0};
    double tries[NSIZES] = {0};
    uint64_t rng = 7;
    uint64_t choice = 8;
    int64_t next = sampling_distance(&rng, RATE);
    for (int i = 0; i < 5 * N; i++) {
        size_t k = sampling_random(&choice) % NSIZES;
        tries[k]++;
        hits[k] += sampled(&next, &rng, sizes[k]);
    }
    for (size_t k = 0; k < NSIZES; k++) {
        double p = 1 - exp(-(double)sizes[k] / RATE);
        assert_near(hits[k], tries[k] * p, 4 * sqrt(tries[k] * p * (1 - p)));
        /* and so the weighted sum estimates the number of tries */
        double w = sampling_weight(sizes[k], RATE);
        assert_near(hits[k] * w, tries[k], 4 * w * sqrt(tries[k] * p * (1 - p)));
    }
}

static void samples_of_one_size_are_independent(void **state) {
    (void)state;
    /* The number of samples in a block of allocations is binomial: its variance over the blocks
     * tells a Poisson process from a periodic one, whose variance would be near 0. */
    enum { BLOCKS = 10000, BLOCK = 200, SIZE = 512 };
    uint64_t rng = 99;
    int64_t next = sampling_distance(&rng, RATE);
    double sum = 0;
    double sum2 = 0;
    for (int b = 0; b < BLOCKS; b++) {
        double hits = 0;
        for (int i = 0; i < BLOCK; i++)
            hits += sampled(&next, &rng, SIZE);
        sum += hits;
        sum2 += hits * hits;
    }
    double p = 1 - exp(-(double)SIZE / RATE);
    double want = BLOCK * p * (1 - p);
    double mean = sum / BLOCKS;
    assert_near(mean, BLOCK * p, 4 * sqrt(want / BLOCKS));
    assert_near(sum2 / BLOCKS - mean * mean, want, 4 * want * sqrt(2.0 / BLOCKS));
}

static void huge_rates_do_not_overflow(void **state) {
    (void)state;
    uint64_t rng = 5;
    for (int i = 0; i < 10000; i++) {
        int64_t d = sampling_distance(&rng, (uint64_t)1 << 60);
        assert_true(d >= 0 && d <= (int64_t)1 << 61);
    }
}

static void seeds_differ_and_are_never_zero(void **state) {
    (void)state;
    uint64_t a = sampling_seed();
    uint64_t b = sampling_seed();
    assert_true(a != 0 && b != 0 && a != b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logarithm_agrees_with_libm),
        cmocka_unit_test(weight_agrees_with_libm),
        cmocka_unit_test(weight_is_one_when_everything_is_recorded),
        cmocka_unit_test(distances_have_the_mean_and_variance_of_the_exponential),
        cmocka_unit_test(each_size_is_sampled_with_its_own_probability),
        cmocka_unit_test(samples_of_one_size_are_independent),
        cmocka_unit_test(huge_rates_do_not_overflow),
        cmocka_unit_test(seeds_differ_and_are_never_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
