/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where what is live of a stack begins.
 */
#ifndef GM_LEAK_RED_ZONE_H
#define GM_LEAK_RED_ZONE_H

#include <stdint.h>

#define RED_ZONE 128 /* bytes below the stack pointer that a function may use: x86-64's ABI */

/* red_zone_begin returns where it begins in memory that begins at lo. */
static inline uintptr_t red_zone_begin(uintptr_t lo, uintptr_t sp) {
    return sp - lo > RED_ZONE ? sp - RED_ZONE : lo;
}

#endif
