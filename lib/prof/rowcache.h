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
 * The table begins with 32 KiB and grows to 512 KiB; what it held is computed anew.
 */
#ifndef GM_PROF_ROWCACHE_H
#define GM_PROF_ROWCACHE_H

#include <stdatomic.h>

#include "prof/codeobj.h"

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

/* flags of struct row */
enum {
    ROW_CHECKED = 1, /* of an object that may be unloaded: codeobj_same before use */
    ROW_FLEETING = 2 /* not to be remembered: ask again each time */
};

struct row {
    uint8_t kind;
    uint8_t flags;
    uint16_t rbp; /* words below the CFA at which the caller's rbp is saved, 0 = it is as it is */
    uint32_t offset; /* words */
};

/* Of struct ucontext, from the stack pointer in a signal's trampoline. */
#define UCONTEXT_RBP 120
#define UCONTEXT_RSP 160
#define UCONTEXT_RIP 168

/* rowcache_init makes the table.  False: no memory. */
bool rowcache_init(void);

/* rowcache_clear forgets all rows. */
void rowcache_clear(void);

/* rowcache_miss computes a row, and remembers it if it may. */
struct row rowcache_miss(uint64_t pc);

struct rowcache {
    _Atomic uint64_t *entries; /* pairs of two, either of which holds an address of the pair */
    unsigned tag_bits;         /* of the hash; the ones above are the pair's number */
    _Atomic uint32_t nput;     /* rows entered since it was made */
};
extern _Atomic(struct rowcache *) rowcache;

#define ROW_ADDRESS_BITS 47
#define ROW_BITS         28

/* row_hash is a bijection of 47 bits, as the factor is odd. */
gm_inline uint64_t row_hash(uint64_t pc) {
    return (pc * 0x5e3779b97f4a7c15u) & (((uint64_t)1 << ROW_ADDRESS_BITS) - 1);
}

gm_inline struct row row_unpack(uint64_t bits) {
    return (struct row){.kind = bits & 7,
                        .flags = bits >> 3 & 1,
                        .rbp = bits >> 4 & 0xff,
                        .offset = (uint32_t)(bits >> 12 & 0xffff)};
}

/* rowcache_find returns the row of an instruction, which is below 2^47.  If it is CHECKED, the
 * caller has to check before he uses it. */
gm_inline struct row rowcache_find(uint64_t pc) {
    const struct rowcache *t = atomic_load_explicit(&rowcache, memory_order_acquire);
    uint64_t h = row_hash(pc);
    uint64_t tag = h & (((uint64_t)1 << t->tag_bits) - 1);
    const _Atomic uint64_t *pair = &t->entries[h >> t->tag_bits << 1];
    uint64_t e = atomic_load_explicit(&pair[0], memory_order_relaxed);
    if (gm_likely(e >> ROW_BITS == tag && e != 0))
        return row_unpack(e);
    e = atomic_load_explicit(&pair[1], memory_order_relaxed);
    if (gm_likely(e >> ROW_BITS == tag && e != 0))
        return row_unpack(e);
    return rowcache_miss(pc);
}

#endif
