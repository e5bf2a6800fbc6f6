/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which allocations are sampled, and for how many each stands.
 *
 * Sampling is a Poisson process on the bytes allocated, with one event in `rate` bytes on average
 * (Go: runtime/malloc.go nextSample, fastexprand): the distance to the next event is exponentially
 * distributed, so an allocation of n bytes holds an event with probability 1 - exp(-n / rate),
 * whatever came before it.  Counting each sampled one as 1 / (1 - exp(-n / rate)) objects makes the
 * sums unbiased for every size.
 *
 * Departures: 53 random bits (Go: 26) and a logarithm good to 1e-15 (Go: a table, 1e-4), which cost
 * nothing once in 512 KiB; a sample is weighted by its own size and the rate it was drawn under,
 * not by its site's mean size and the last rate.
 *
 * No libm: libc is the only library that the .so needs.
 */
#ifndef GM_PROF_SAMPLING_H
#define GM_PROF_SAMPLING_H

#include "sys/compiler.h"

/* sampling_seed returns a state for sampling_random that no other thread or process has. */
uint64_t sampling_seed(void);

/* sampling_random returns 64 random bits and moves the state on. */
uint64_t sampling_random(uint64_t *state);

/* sampling_distance returns how many bytes may be allocated before the next sample: the allocation
 * of size n is sampled if distance - n < 0.  rate > 1. */
int64_t sampling_distance(uint64_t *state, uint64_t rate);

/* sampling_weight returns the number of allocations of the size that one sample stands for; 1 at
 * rate 1.  Relative error below 1e-14. */
double sampling_weight(uint64_t size, uint64_t rate);

/* sampling_log returns ln(q), 0 < q <= 1. */
double sampling_log(double q);

#endif
