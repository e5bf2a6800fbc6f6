/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread's last stack, with its nodes: interning what is new in the next one.
 *
 * Successive allocations of a thread share most of their outer frames (a compiler: 18 of 20), so
 * the next stack is compared with the last one from the outermost frame inwards, and only what
 * follows the first difference is looked up in the stack table.  The comparison is exact: nothing
 * is taken from a hash.  An unwinder that knows how many are the same (replay.h) says so, and does
 * not even hand them over.
 *
 * There is room for stacks that are not deep in the trail itself, where a thread's first capture
 * does not have to touch memory for it.
 */
#ifndef GM_PROF_TRAIL_H
#define GM_PROF_TRAIL_H

#include "prof/stack_table.h"

#define TRAIL_NEAR 32 /* frames */

/* The thread's alone.  All zero until trail_init; then it stays where it is. */
struct trail {
    uint64_t *pcs;    /* the last stack, innermost frame first, ending at pcs[cap] */
    uint64_t *hashes; /* of each frame's path, see stack_table_intern */
    uint32_t *nodes;  /* of each frame */
    uint32_t cap;     /* frames that there is room for */
    uint32_t depth;   /* and that there will be if need be */
    uint32_t n;       /* of the last stack: pcs[cap - n] ... pcs[cap - 1] */
    uint32_t site;    /* of the last stack, 0 = none */
    uint32_t flags;   /* of the last stack */

    uint64_t near_pcs[TRAIL_NEAR]; /* what the pointers are to, to begin with */
    uint64_t near_hashes[TRAIL_NEAR];
    uint32_t near_nodes[TRAIL_NEAR];
};

/* trail_init makes it ready for stacks of up to `depth` frames. */
void trail_init(struct trail *t, unsigned depth);

/* trail_intern returns the site of a stack of n frames, n <= cap: pcs[0] (innermost) and so on, and
 * outside of these the outermost `known` ones of the last stack; 0 if the table is full or there
 * is no memory, and then nothing is known of the next.  *ret_new: frames not shared with the stack
 * before. */
uint32_t trail_intern(struct trail *t, struct stack_table *table, const uint64_t *pcs, unsigned n,
                      unsigned known, uint32_t flags, uint32_t *ret_new);

#endif
