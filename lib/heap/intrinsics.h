/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counting bits.  Go: runtime/internal/sys/intrinsics.go.
 *
 * The compiler's builtins are undefined for 0; these answer 64, which is what the bitmap searches
 * rely on.
 */
#ifndef GM_HEAP_INTRINSICS_H
#define GM_HEAP_INTRINSICS_H

#include "sys/compiler.h"

gm_inline unsigned trailing_zeros64(uint64_t x) {
    return x != 0 ? (unsigned)__builtin_ctzll(x) : 64;
}

gm_inline unsigned leading_zeros64(uint64_t x) {
    return x != 0 ? (unsigned)__builtin_clzll(x) : 64;
}

gm_inline unsigned ones_count64(uint64_t x) {
    return (unsigned)__builtin_popcountll(x);
}

#endif
