/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread's last stack, with its nodes: interning what is new in the next one.
 *
 * Successive allocations of a thread share most of their outer frames (a compiler: 18 of 20), so
 * the next stack is compared with the last one from the outermost frame inwards, and only what
 * follows the first difference is looked up in the stack table.  The comparison is exact: nothing
 * is taken from a hash.
 */
#ifndef GM_PROF_TRAIL_H
#define GM_PROF_TRAIL_H

#include "prof/stack_table.h"

/* The thread's alone.  All zero until trail_init. */
struct trail {
    uint64_t *buf;    /* room for a capture: cap + slack frames */
    uint64_t *pcs;    /* the last stack, innermost frame first, ending at pcs[cap] */
    uint64_t *hashes; /* of each frame's path, see stack_table_intern */
    uint32_t *nodes;  /* of each frame */
    uint32_t cap;     /* frames */
    uint32_t n;       /* of the last stack: pcs[cap - n] ... pcs[cap - 1] */
    uint32_t site;    /* of the last stack, 0 = none */
    uint32_t flags;   /* of the last stack */
};

/* trail_init gives it memory.  False: there is none. */
bool trail_init(struct trail *t, unsigned depth, unsigned slack);

/* trail_intern returns the site of the stack pcs[0] (innermost) ... pcs[n-1], n <= cap; 0 if the
 * table is full.  *ret_new: frames not shared with the stack before. */
uint32_t trail_intern(struct trail *t, struct stack_table *table, const uint64_t *pcs, unsigned n,
                      uint32_t flags, uint32_t *ret_new);

#endif
