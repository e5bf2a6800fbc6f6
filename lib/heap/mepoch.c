/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Epochs.
 */
#include "heap/mepoch.h"

#include <time.h>

#include "sys/rawcall.h"

_Atomic uint16_t mepoch_now_ = MEPOCH_UNKNOWN;
static _Atomic uint64_t start; /* seconds of the clock, plus 1; 0: not started */

uint16_t mepoch_of(uint64_t seconds) {
    if (seconds > MEPOCH_MAX_SECONDS)
        seconds = MEPOCH_MAX_SECONDS;
    if (seconds < (uint64_t)1 << MEPOCH_DIGITS)
        return (uint16_t)seconds;
    unsigned exponent = 64 - (unsigned)__builtin_clzll(seconds) - MEPOCH_DIGITS; /* from 1 */
    uint64_t digits = seconds >> (exponent - 1);
    uint16_t epoch = (uint16_t)(((uint64_t)(exponent - 1) << MEPOCH_DIGITS) + digits);
    return epoch != MEPOCH_UNKNOWN ? epoch : MEPOCH_UNKNOWN - 1;
}

uint32_t mepoch_seconds(uint16_t epoch) {
    if (epoch == MEPOCH_UNKNOWN)
        return MEPOCH_NOT_A_TIME;
    uint32_t digits = epoch & ((1u << MEPOCH_DIGITS) - 1);
    unsigned exponent = epoch >> MEPOCH_DIGITS;
    return exponent == 0 ? digits : (digits | 1u << MEPOCH_DIGITS) << (exponent - 1);
}

/* The clock of the boot, which goes on while the machine sleeps, as the time of day does by which
 * ages are told. */
static uint64_t clock_seconds(void) {
    struct timespec now = {0, 0};
    sys_call3(SYS_clock_gettime, CLOCK_BOOTTIME, (long)&now, 0);
    return (uint64_t)now.tv_sec + 1;
}

uint16_t mepoch_advance(void) {
    mepoch_update();
    uint16_t old = mepoch_now();
    if (old < MEPOCH_UNKNOWN - 1) {
        uint64_t step = mepoch_seconds((uint16_t)(old + 1)) - mepoch_seconds(old);
        uint64_t first = atomic_load_explicit(&start, memory_order_relaxed);
        if (first > step)
            atomic_fetch_sub_explicit(&start, step, memory_order_relaxed);
        mepoch_update();
    }
    return mepoch_now();
}

void mepoch_update(void) {
    uint64_t now = clock_seconds(), first = 0;
    if (atomic_compare_exchange_strong_explicit(&start, &first, now, memory_order_relaxed,
                                                memory_order_relaxed))
        first = now;
    uint16_t epoch = mepoch_of(now > first ? now - first : 0);
    /* Not written to no purpose: every thread reads that line. */
    if (epoch != mepoch_now())
        atomic_store_explicit(&mepoch_now_, epoch, memory_order_relaxed);
}
