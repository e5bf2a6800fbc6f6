/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A set of spans: push, pop, remove, walk, each in constant time.  Go: runtime/mspanset.go.
 *
 * A spine of pointers to blocks of 512 spans; a span remembers its position (set_index), so that it
 * can leave from the middle, its place being taken by the last one.  Departure: Go's set is lock
 * free and cannot remove; ours is guarded by its mcentral's lock, which is taken once in a span's
 * worth of allocations.
 *
 * When there is no memory for a block, spans are linked to each other (next, prev) instead: a set
 * is what threads give their memory back to when it has run out, and must not need any.
 */
#ifndef GM_HEAP_MSPANSET_H
#define GM_HEAP_MSPANSET_H

#include "heap/mspan.h"

#define SPAN_SET_BLOCK_ENTRIES 512 /* Go: spanSetBlockEntries */

struct mspan_set {
    struct mspan ***spine; /* of spine_cap blocks */
    uint32_t spine_cap;
    uint32_t nblocks;         /* allocated; blocks are kept */
    uint32_t n;               /* spans in the blocks */
    struct mspan_list linked; /* spans for which there was no block; set_index = SPAN_SET_LINKED */
};

#define SPAN_SET_LINKED UINT32_MAX

/* mspan_set_push adds a span that is in no set. */
void mspan_set_push(struct mspan_set *set, struct mspan *s);
/* mspan_set_pop takes the span added last, or NULL. */
struct mspan *mspan_set_pop(struct mspan_set *set);
void mspan_set_remove(struct mspan_set *set, struct mspan *s);
bool mspan_set_consistent(const struct mspan_set *set);

#endif
