/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the compiler is told, in one place.
 */
#ifndef GM_SYS_COMPILER_H
#define GM_SYS_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define gm_likely(x)   __builtin_expect(!!(x), 1)
#define gm_unlikely(x) __builtin_expect(!!(x), 0)
#define gm_noinline    __attribute__((noinline))
#define gm_inline      static inline __attribute__((always_inline))
#define gm_cold        __attribute__((noinline, cold))
#define gm_export      __attribute__((visibility("default")))
/* The .so is never loaded late in a way that lacks static TLS (we use 32 bytes of it), and any
 * other model calls __tls_get_addr, which may allocate. */
#define gm_tls _Thread_local __attribute__((tls_model("initial-exec")))

/* bit_set and bit_clear change bit i of *w and return what it was: one instruction each, where the
 * compiler would take four. */
gm_inline bool bit_set(uint64_t *w, uint64_t i) {
    bool was;
    __asm__("btsq %2, %0" : "+r"(*w), "=@ccc"(was) : "r"(i));
    return was;
}

gm_inline bool bit_clear(uint64_t *w, uint64_t i) {
    bool was;
    __asm__("btrq %2, %0" : "+r"(*w), "=@ccc"(was) : "r"(i));
    return was;
}

/* mul32 returns the low half of a * *b, and the high one in *ret_high. */
gm_inline uint32_t mul32(uint32_t a, const uint32_t *b, uint64_t *ret_high) {
    uint32_t low;
    __asm__("mull %3" : "=a"(low), "=d"(*ret_high) : "0"(a), "m"(*b) : "cc");
    return low;
}

/* add_in_memory adds a constant to a word: one instruction less than by way of a register. */
#define add_in_memory(word, n) __asm__("addq %1, %0" : "+m"(word) : "i"((int64_t)(n)) : "cc")

/* word_is compares a word that others may write, in memory: one instruction for a relaxed load and
 * a comparison, which the compiler does not join. */
gm_inline bool word_is(const _Atomic uintptr_t *word, uintptr_t v) {
    bool same;
    __asm__("cmpq %2, %1" : "=@cce"(same) : "m"(*word), "r"(v));
    return same;
}

#ifdef GOMALLOC_DEBUG
static const bool gm_debug = true;
#else
static const bool gm_debug = false;
#endif

#endif
