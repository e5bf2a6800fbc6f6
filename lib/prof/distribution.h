/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A distribution of lifetimes or sizes, in little memory.
 *
 * 64 counts of 16 bits: bucket b > 0 has the values of [2^(b-1), 2^b), bucket 0 the zeros (and the
 * last one also what is larger).  When a count is full all are halved, so that what is told is the
 * distribution of the last ones rather than of all.  A quantile is interpolated in its bucket
 * geometrically, as if the values lay there evenly on a logarithmic scale: it is off by a factor of
 * 2 at most, and by a few per cent where values spread over several buckets.
 *
 * Of few values nothing is lost: distribution_of_few takes them as they are.
 */
#ifndef GM_PROF_DISTRIBUTION_H
#define GM_PROF_DISTRIBUTION_H

#include "sys/compiler.h"

#define DISTRIBUTION_BUCKETS 64

/* All zero: nothing counted.  The caller sees to it that there is one writer at a time. */
struct distribution {
    uint16_t n[DISTRIBUTION_BUCKETS];
};

void distribution_add(struct distribution *d, uint64_t value);

/* distribution_quantile returns the value below which the part q (0 < q < 1) of those counted is,
 * 0 if there are none. */
double distribution_quantile(const struct distribution *d, double q);

/* distribution_of_few returns the quantile of n values themselves: the smallest of them that is not
 * less than the part q of them.  It sorts them. */
double distribution_of_few(uint64_t *values, unsigned n, double q);

#endif
