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

/* trail_extend makes room for the deepest stacks; keeps the last one.  False: no memory. */
bool trail_extend(struct trail *t);

/* trail_shared returns how many outer frames of the stack are those of the last one; the outermost
 * `known` ones are. */
gm_inline unsigned trail_shared(const struct trail *t, const uint64_t *pcs, unsigned n,
                                unsigned known) {
    unsigned max = n < t->n ? n : t->n;
    const uint64_t *a = pcs + n - known;
    const uint64_t *b = t->pcs + t->cap - known;
    unsigned k = known;
    while (k < max && *--a == *--b)
        k++;
    return k;
}

/* trail_intern returns the site of a stack of n frames, n <= cap: pcs[0] (innermost) and so on, and
 * outside of these the outermost `known` ones of the last stack; 0 if the table is full or there
 * is no memory, and then nothing is known of the next.  *ret_new: frames not shared with the stack
 * before. */
gm_inline uint32_t trail_intern(struct trail *t, struct stack_table *table, const uint64_t *pcs,
                                unsigned n, unsigned known, uint32_t flags, uint32_t *ret_new) {
    unsigned k = trail_shared(t, pcs, n, known);
    unsigned fresh = n - k;
    *ret_new = fresh;
    if (gm_unlikely(n > t->cap) && !trail_extend(t)) {
        t->n = 0;
        t->site = 0;
        return 0;
    }
    if (fresh == 0 && n == t->n && flags == t->flags && t->site != 0)
        return t->site;
    size_t at = t->cap - n;
    uint32_t outer = k != 0 ? t->nodes[at + fresh] : 0;
    uint64_t hash = k != 0 ? t->hashes[at + fresh] : 0;
    for (unsigned i = fresh; i-- > 0;) {
        t->pcs[at + i] = pcs[i];
        t->hashes[at + i] = hash = stack_path_hash(hash, pcs[i]);
    }
    uint32_t node =
        stack_table_intern(table, outer, t->pcs + at, t->hashes + at, fresh, t->nodes + at);
    t->n = gm_likely(node != 0) ? n : 0;
    t->flags = flags;
    t->site = gm_likely(node != 0) ? stack_table_site(table, node, flags) : 0;
    return t->site;
}

#endif
