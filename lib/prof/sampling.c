/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which allocations are sampled, and for how many each stands.  Go: runtime/malloc.go.
 */
#include "prof/sampling.h"

#include <string.h>
#include <time.h>

#include "sys/rawcall.h"

#define LN2     0.693147180559945309417
#define SQRT1_2 0.707106781186547524401

uint64_t sampling_seed(void) {
    uint64_t seed = 0;
    struct timespec now = {0, 0};
    const long grnd_nonblock = 1;
    sys_call3(SYS_getrandom, (long)&seed, sizeof seed, grnd_nonblock);
    /* An old kernel, a filter, or early boot leave 0: time and address differ at least. */
    sys_call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0);
    seed ^= (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec ^ (uintptr_t)&seed;
    return seed | 1; /* 0 says "not seeded" in an mcache */
}

/* splitmix64: one addition of state, so that any seed is good and 0 comes once in 2^64. */
uint64_t sampling_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ln(m * 2^e) = 2 atanh(s) + e ln 2 with s = (m - 1) / (m + 1) and m in [sqrt 1/2, sqrt 2), so that
 * |s| < 0.172 and ten terms of the series reach the last bit. */
double sampling_log(double q) {
    uint64_t bits;
    memcpy(&bits, &q, sizeof bits);
    int e = (int)(bits >> 52) - 1022;
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1022 << 52;
    double m;
    memcpy(&m, &bits, sizeof m); /* [1/2, 1) */
    if (m < SQRT1_2) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1);
    double s2 = s * s;
    double sum = 0;
    for (int k = 21; k >= 1; k -= 2)
        sum = sum * s2 + 1.0 / k;
    return 2 * s * sum + e * LN2;
}

int64_t sampling_distance(uint64_t *state, uint64_t rate) {
    /* q is in (0, 1]; -ln(q) is exponential with mean 1, at most 36.7.  Go adds 1 to the integer
     * part and samples if size >= next; we compare size > next, and add nothing. */
    double q = (double)((sampling_random(state) >> 11) + 1) * 0x1p-53;
    double d = -sampling_log(q) * (double)rate;
    return d < 0x1p61 ? (int64_t)d : (int64_t)1 << 61;
}

/* 1 - exp(-x) for small x, without cancellation: x - x^2/2! + x^3/3! - ... */
static double one_minus_exp_series(double x) {
    double sum = 0;
    for (int k = 14; k >= 1; k--)
        sum = (1 - sum) * x / k;
    return sum;
}

/* 2^-k, 0 <= k < 1000 */
static double exp2_minus(int k) {
    uint64_t bits = (uint64_t)(1023 - k) << 52;
    double ret;
    memcpy(&ret, &bits, sizeof ret);
    return ret;
}

/* 1 - exp(-x) = 1 - 2^-k (1 - (1 - exp(-r))) with x = k ln 2 + r, 0 <= r < ln 2. */
static double one_minus_exp(double x) {
    if (x > 60)
        return 1;
    int k = (int)(x / LN2);
    double r = x - k * LN2;
    if (k == 0)
        return one_minus_exp_series(x);
    return 1 - exp2_minus(k) * (1 - one_minus_exp_series(r));
}

double sampling_weight(uint64_t size, uint64_t rate) {
    if (rate <= 1)
        return 1;
    if (size == 0)
        size = 1; /* no sample falls into nothing; do not divide by it either */
    return 1 / one_minus_exp((double)size / (double)rate);
}
