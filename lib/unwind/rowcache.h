/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Short rows: what a step from a frame to its caller takes in nearly all code, and a table of them
 * by address, shared by all threads.
 *
 * Compilers keep the CFA at a distance from rsp or rbp and save rbp at a distance from the CFA; the
 * other registers matter to nobody on the way out.  A frame that is different is SLOW, and a stack
 * with such a frame is walked in full (walk.h).
 *
 * An entry of the table is one word, so no reader ever sees half of it: the address, hashed by a
 * bijection of 47 bits, of which the upper ones are the entry's place (one of two) and the rest is
 * stored, and 28 bits of row.  So a hit is exact.  Rows that do not fit into 28 bits (frames beyond
 * 512 KiB) are computed each time.
 *
 * The table begins with 32 KiB and grows to 512 KiB; what it held of code that may be unloaded is
 * computed anew.
 */
#ifndef GM_UNWIND_ROWCACHE_H
#define GM_UNWIND_ROWCACHE_H

#include <stdatomic.h>

#include "unwind/codeobj.h"

enum row_kind {
    ROW_NONE,   /* not in the table */
    ROW_RSP,    /* CFA = rsp + offset */
    ROW_RBP,    /* CFA = rbp + offset */
    ROW_SLOW,   /* known, but not in these terms */
    ROW_DRAP,   /* CFA = the word at rbp - offset, the caller's rbp at rbp (realigned stacks) */
    ROW_SIGNAL, /* a signal's trampoline: all is in the ucontext at rsp */
    ROW_END,    /* the outermost frame */
    ROW_LOST    /* nothing is known */
};

/* A row is one word, so that it stays in a register.  From below: 3 bits of kind; CHECKED; 8 bits
 * of the words below the CFA at which the caller's rbp is saved (0 = it is as it is); 16 bits of
 * the offset in words; flags; 16 more bits of the offset, and 8 of the place of rbp.  What has one
 * of these last is WIDE, and not in the table. */
#define ROW_KIND       UINT64_C(7)
#define ROW_CHECKED    (UINT64_C(1) << 3)  /* may be unloaded: codeobj_same before use */
#define ROW_FLEETING   (UINT64_C(1) << 28) /* not to be remembered: ask again each time */
#define ROW_WIDE       (UINT64_C(1) << 29)
#define ROW_RBP_MAX    UINT64_C(0xffff)
#define ROW_OFFSET_MAX UINT64_C(0xffffffff)

gm_inline enum row_kind row_kind(uint64_t row) {
    return (enum row_kind)(row & ROW_KIND);
}

/* Of rows that are not WIDE. */
gm_inline uint64_t row_narrow_rbp(uint64_t row) {
    return row >> 4 & 0xff;
}
gm_inline uint64_t row_narrow_offset(uint64_t row) {
    return row >> 12 & 0xffff;
}

gm_inline uint64_t row_rbp(uint64_t row) {
    return row_narrow_rbp(row) | (row >> 48 & 0xff) << 8;
}
gm_inline uint64_t row_offset(uint64_t row) {
    return row_narrow_offset(row) | (row >> 32 & 0xffff) << 16;
}

gm_inline uint64_t row_make(enum row_kind kind, uint64_t rbp, uint64_t offset) {
    uint64_t high = (offset >> 16) << 32 | (rbp >> 8) << 48;
    return kind | (rbp & 0xff) << 4 | (offset & 0xffff) << 12 | high | (high != 0 ? ROW_WIDE : 0);
}

/* Of struct ucontext, from the stack pointer in a signal's trampoline. */
#define UCONTEXT_RBP 120
#define UCONTEXT_RSP 160
#define UCONTEXT_RIP 168

/* rowcache_init makes the table.  False: no memory. */
bool rowcache_init(void);

/* rowcache_clear forgets all rows. */
void rowcache_clear(void);

/* rowcache_miss computes a row, and remembers it if it may. */
uint64_t rowcache_miss(uint64_t pc);

struct rowcache {
    _Atomic uint64_t *entries; /* pairs of two, either of which holds an address of the pair */
    uint64_t tag_mask;         /* of the hash; the bits above are the pair's number */
    unsigned tag_bits;
    _Atomic uint32_t nput; /* rows entered since it was made */
};
extern _Atomic(struct rowcache *) rowcache;

#define ROW_ADDRESS_BITS 47
#define ROW_BITS         28

/* row_hash is a bijection of 47 bits, as the factor is odd. */
gm_inline uint64_t row_hash(uint64_t pc) {
    return (pc * 0x5e3779b97f4a7c15u) & (((uint64_t)1 << ROW_ADDRESS_BITS) - 1);
}

/* rowcache_find returns the row of an instruction, which is below 2^47.  If it is CHECKED, the
 * caller has to check before he uses it. */
gm_inline uint64_t rowcache_find(uint64_t pc) {
    const struct rowcache *t = atomic_load_explicit(&rowcache, memory_order_acquire);
    uint64_t h = row_hash(pc);
    uint64_t tag = h & t->tag_mask;
    const _Atomic uint64_t *pair = &t->entries[h >> t->tag_bits << 1];
    uint64_t e = atomic_load_explicit(&pair[0], memory_order_relaxed);
    uint64_t second = atomic_load_explicit(&pair[1], memory_order_relaxed);
    /* Not by a branch: which of the two it is can't be foreseen. */
    uint64_t first = -(uint64_t)(e >> ROW_BITS == tag);
    e = (e & first) | (second & ~first);
    if (gm_likely(e >> ROW_BITS == tag && e != 0))
        return e & (((uint64_t)1 << ROW_BITS) - 1);
    return rowcache_miss(pc);
}

#endif
