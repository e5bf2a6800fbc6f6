/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sampling: the mathematics against libm, the distribution against theory, the estimates against
 * the truth.  Seeds are fixed, so a run gives the same numbers each time; the bounds are four
 * standard deviations.
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

/* Estimates.  A program allocates SIZES in turn, ALLOCATIONS in all.  Allocation i is sampled with
 * probability p = 1 - exp(-size / RATE), independent of the others, and then stands for 1 / p
 * objects.  So over many runs an estimate, the sum of c = 1 / p (objects) or size / p (bytes) over
 * the samples, has
 *
 *      mean      sum of c p                      = what was allocated: it is unbiased
 *      variance  sum of c^2 p (1 - p)            = sum of (1 or size)^2 (1 - p) / p
 *      4th cumulant  sum of c^4 p (1 - p) (1 - 6 p (1 - p))
 *
 * and over RUNS runs the mean that is seen is off by a standard deviation of sqrt(variance / RUNS),
 * the variance by sqrt((4th cumulant + 2 variance^2) / RUNS). */
#define ALLOCATIONS 2000
#define RUNS        2000

static const uint64_t mixed_sizes[] = {16, 24000, 100, 1000, 48, 8192, 333, 2};
enum { NMIXED = sizeof mixed_sizes / sizeof mixed_sizes[0] };

/* What one run has seen. */
struct run {
    double samples;
    double sample_bytes;
    double objects; /* estimates, each sample by its own weight */
    double bytes;
};

/* A way to sample, and a way to estimate from the samples. */
struct scheme {
    int (*sampled)(int64_t *next, uint64_t *rng, uint64_t size);
    double (*objects)(const struct run *r);
    double (*bytes)(const struct run *r);
};

/* How far off the mean and the variance of the two estimates are, in standard deviations. */
struct off {
    double objects_mean;
    double objects_variance;
    double bytes_mean;
    double bytes_variance;
};

static double weighted_objects(const struct run *r) {
    return r->objects;
}
static double weighted_bytes(const struct run *r) {
    return r->bytes;
}

static struct run run_once(const struct scheme *s, uint64_t seed) {
    struct run r = {0};
    uint64_t rng = sampling_random(&seed); /* neighbours give other numbers, not the same moved */
    int64_t next = sampling_distance(&rng, RATE);
    for (int i = 0; i < ALLOCATIONS; i++) {
        uint64_t size = mixed_sizes[i % NMIXED];
        if (!s->sampled(&next, &rng, size))
            continue;
        r.samples++;
        r.sample_bytes += (double)size;
        r.objects += sampling_weight(size, RATE);
        r.bytes += sampling_weight(size, RATE) * (double)size;
    }
    return r;
}

/* What theory says of the sum over all samples of size^power / p. */
struct theory {
    double mean;
    double variance;
    double fourth; /* cumulant */
};

static struct theory theory_of(int power) {
    struct theory t = {0, 0, 0};
    for (int i = 0; i < ALLOCATIONS; i++) {
        double size = (double)mixed_sizes[i % NMIXED];
        double p = 1 - exp(-size / RATE);
        double c = (power != 0 ? size : 1) / p;
        double v = p * (1 - p);
        t.mean += c * p;
        t.variance += c * c * v;
        t.fourth += c * c * c * c * v * (1 - 6 * v);
    }
    return t;
}

static void measure(const double *x, const struct theory *t, double *ret_mean,
                    double *ret_variance) {
    double sum = 0;
    double sum2 = 0;
    for (int i = 0; i < RUNS; i++) {
        double d = x[i] - t->mean; /* small differences of large numbers otherwise */
        sum += d;
        sum2 += d * d;
    }
    double mean = sum / RUNS;
    *ret_mean = mean / sqrt(t->variance / RUNS);
    *ret_variance = (sum2 / RUNS - mean * mean - t->variance) /
                    sqrt((t->fourth + 2 * t->variance * t->variance) / RUNS);
}

static struct off off_by(const struct scheme *s) {
    static double objects[RUNS];
    static double bytes[RUNS];
    const struct theory of_objects = theory_of(0);
    const struct theory of_bytes = theory_of(1);
    struct off off;
    for (int i = 0; i < RUNS; i++) {
        struct run r = run_once(s, (uint64_t)i + 1);
        objects[i] = s->objects(&r);
        bytes[i] = s->bytes(&r);
    }
    measure(objects, &of_objects, &off.objects_mean, &off.objects_variance);
    measure(bytes, &of_bytes, &off.bytes_mean, &off.bytes_variance);
    return off;
}

static void estimates_have_the_mean_and_variance_of_theory(void **state) {
    (void)state;
    const struct scheme ours = {sampled, weighted_objects, weighted_bytes};
    struct off off = off_by(&ours);
    assert_near(theory_of(0).mean, ALLOCATIONS, 1e-6);
    assert_near(off.objects_mean, 0, 4);
    assert_near(off.objects_variance, 0, 4);
    assert_near(off.bytes_mean, 0, 4);
    assert_near(off.bytes_variance, 0, 4);
}

/* The test of the test: what others do, and what one might write, is seen. */

/* The site's sums scaled by the mean size of its samples, as pprof does. */
static double by_mean_size(const struct run *r) {
    return r->samples == 0 ? 0 : 1 / (1 - exp(-r->sample_bytes / r->samples / RATE));
}
static double objects_by_mean_size(const struct run *r) {
    return r->samples * by_mean_size(r);
}
static double bytes_by_mean_size(const struct run *r) {
    return r->sample_bytes * by_mean_size(r);
}

/* Each sample stands for RATE bytes: right for small objects only. */
static double bytes_by_rate(const struct run *r) {
    return r->samples * RATE;
}

/* Every RATE bytes, not at random. */
static int sampled_periodically(int64_t *next, uint64_t *rng, uint64_t size) {
    (void)rng;
    *next -= (int64_t)size;
    if (*next >= 0)
        return 0;
    *next += RATE;
    return 1;
}

/* Uniform distances of the same mean. */
static int sampled_uniformly(int64_t *next, uint64_t *rng, uint64_t size) {
    *next -= (int64_t)size;
    if (*next >= 0)
        return 0;
    *next = (int64_t)(sampling_random(rng) % (2 * (uint64_t)RATE));
    return 1;
}

/* What a large allocation is beyond the sample is counted against the next. */
static int sampled_with_debt(int64_t *next, uint64_t *rng, uint64_t size) {
    *next -= (int64_t)size;
    if (*next >= 0)
        return 0;
    *next += sampling_distance(rng, RATE);
    return 1;
}

static double mean_off(const struct scheme *s) {
    struct off off = off_by(s);
    return fmax(fabs(off.objects_mean), fabs(off.bytes_mean));
}

static double variance_off(const struct scheme *s) {
    struct off off = off_by(s);
    return fmax(fabs(off.objects_variance), fabs(off.bytes_variance));
}

static void biased_estimates_are_seen(void **state) {
    (void)state;
    const struct scheme mean_size = {sampled, objects_by_mean_size, bytes_by_mean_size};
    const struct scheme rate = {sampled, weighted_objects, bytes_by_rate};
    assert_true(mean_off(&mean_size) > 20);
    assert_true(mean_off(&rate) > 20);
}

static void what_is_not_poisson_is_seen(void **state) {
    (void)state;
    const struct scheme periodic = {sampled_periodically, weighted_objects, weighted_bytes};
    const struct scheme uniform = {sampled_uniformly, weighted_objects, weighted_bytes};
    const struct scheme debt = {sampled_with_debt, weighted_objects, weighted_bytes};
    assert_true(variance_off(&periodic) > 10);
    assert_true(variance_off(&uniform) > 10);
    assert_true(mean_off(&debt) > 20);
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
        cmocka_unit_test(estimates_have_the_mean_and_variance_of_theory),
        cmocka_unit_test(biased_estimates_are_seen),
        cmocka_unit_test(what_is_not_poisson_is_seen),
        cmocka_unit_test(huge_rates_do_not_overflow),
        cmocka_unit_test(seeds_differ_and_are_never_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
