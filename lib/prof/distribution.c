/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A distribution of lifetimes or sizes, in little memory.
 */
#include "prof/distribution.h"

#define LN2 0.693147180559945309417

static unsigned bucket_of(uint64_t value) {
    unsigned b = value != 0 ? 64 - (unsigned)__builtin_clzll(value) : 0;
    return b < DISTRIBUTION_BUCKETS ? b : DISTRIBUTION_BUCKETS - 1;
}

/* Upwards, so that what has been seen is not forgotten altogether. */
static void halve(struct distribution *d) {
    for (unsigned b = 0; b < DISTRIBUTION_BUCKETS; b++)
        d->n[b] = (uint16_t)((d->n[b] + 1u) / 2);
}

void distribution_add(struct distribution *d, uint64_t value) {
    uint16_t *n = &d->n[bucket_of(value)];
    if (*n == UINT16_MAX)
        halve(d);
    ++*n;
}

/* 2^x, 0 <= x <= 1: the series of exp, from its small end; 16 terms reach the last bit. */
static double exp2_part(double x) {
    double sum = 1;
    for (int k = 16; k >= 1; k--)
        sum = 1 + sum * x * LN2 / k;
    return sum;
}

/* The value at the part x of a bucket. */
static double value_in(unsigned b, double x) {
    return b == 0 ? 0 : (double)((uint64_t)1 << (b - 1)) * exp2_part(x);
}

double distribution_quantile(const struct distribution *d, double q) {
    uint64_t total = 0, below = 0;
    for (unsigned b = 0; b < DISTRIBUTION_BUCKETS; b++)
        total += d->n[b];
    double want = q * (double)total;
    for (unsigned b = 0; b < DISTRIBUTION_BUCKETS; b++) {
        if (d->n[b] != 0 && (double)(below + d->n[b]) >= want)
            return value_in(b, (want - (double)below) / d->n[b]);
        below += d->n[b];
    }
    return 0;
}

double distribution_of_few(uint64_t *values, unsigned n, double q) {
    for (unsigned i = 1; i < n; i++) {
        for (unsigned j = i; j > 0 && values[j] < values[j - 1]; j--) {
            uint64_t v = values[j];
            values[j] = values[j - 1];
            values[j - 1] = v;
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (i + 1 >= q * n)
            return (double)values[i];
    }
    return 0;
}
