/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Epochs: a time since the library started, in 16 bits, for the slot tables.
 *
 * An object's age need be known only as well as a person wants to hear it: "3 hours", not
 * "3:00:07". So an epoch is a floating-point number of 4 bits of exponent and 12 of fraction: whole
 * seconds up to 8,191, and beyond that steps of 1/4,096 to 1/8,192 of the time itself, up to four
 * years.
 *
 *      epoch 0x0000..0x0fff    0 s ... 4,095 s       step 1 s
 *            0x1000..0x1fff    4,096 s ... 8,191 s        1 s
 *            0x2000..0x2fff    8,192 s ... 16,382 s       2 s
 *            0xe000..0xefff    2^25 s ... 2^26 s          2^13 s
 *
 * No clock is read for an allocation: the present epoch is a word that the library's own thread
 * moves on about once a second (10 s in a process that is idle), and the recorder now and then.
 */
#ifndef GM_HEAP_MEPOCH_H
#define GM_HEAP_MEPOCH_H

#include <stdatomic.h>

#include "sys/compiler.h"

#define MEPOCH_UNKNOWN     UINT16_MAX /* before the first mepoch_update */
#define MEPOCH_NOT_A_TIME  UINT32_MAX /* what mepoch_seconds makes of it */
#define MEPOCH_DIGITS      12
#define MEPOCH_MAX_SECONDS ((uint64_t)8191 << 14)

extern _Atomic uint16_t mepoch_now_;

/* mepoch_now returns the present epoch. */
gm_inline uint16_t mepoch_now(void) {
    return atomic_load_explicit(&mepoch_now_, memory_order_relaxed);
}

/* mepoch_update sets the present epoch by the clock; the first call is the start.  errno is kept.
 */
void mepoch_update(void);

/* mepoch_advance begins a new epoch now, and returns it: what has been recorded under the one
 * before can be told from what will be.  Ages grow by a step of the clock. */
uint16_t mepoch_advance(void);

/* mepoch_of returns the epoch in which so many seconds had passed, the last one for too many. */
uint16_t mepoch_of(uint64_t seconds);

/* mepoch_seconds returns the first second of an epoch, MEPOCH_NOT_A_TIME: not known. */
uint32_t mepoch_seconds(uint16_t epoch);

#endif
