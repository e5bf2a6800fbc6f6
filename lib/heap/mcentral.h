/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The spans of one class that no thread owns.  Go: runtime/mcentral.go.
 *
 * Four sets, as in Go: partial or full, swept or unswept.  A span here is in exactly one.  "Full"
 * means that free_bits is empty; "unswept" means that it is known to have marks which nobody has
 * folded yet, so that an unswept span, partial or full, will have a free slot once swept.
 *
 * Departure: in Go a garbage collection makes every swept span unswept at once, by moving sweepgen.
 * Here marks arrive one by one; a span's first mark puts it on the mcentral's pending list, from
 * which it is moved to the unswept sets when somebody takes the lock.
 */
#ifndef GM_HEAP_MCENTRAL_H
#define GM_HEAP_MCENTRAL_H

#include "heap/mspanset.h"
#include "sys/lock.h"

struct mcentral {
    struct span_owner owner; /* must be first */
    struct mutex lock;       /* LOCK_RANK_MCENTRAL */
    struct span_class spc;
    struct mspan_set partial_swept;
    struct mspan_set partial_unswept;
    struct mspan_set full_swept;
    struct mspan_set full_unswept;
    uint64_t ncache;   /* spans given to mcaches */
    uint64_t nuncache; /* spans taken from mcaches */
};

void mcentral_init(struct mcentral *c, struct span_class spc);

/* mcentral_cache_span gives a span with at least one free slot to the new owner, swept; NULL if
 * there is none.  Go: cacheSpan, without the growth, which is mcache_refill's. */
struct mspan *mcentral_cache_span(struct mcentral *c, struct span_owner *to);

/* mcentral_uncache_span takes a span from the owner who calls.  Go: uncacheSpan.  The span must be
 * in no list, and the caller's hints to it dropped.  An empty span goes on to the heap. */
void mcentral_uncache_span(struct mcentral *c, struct mspan *s);

/* mcentral_sweep sweeps the unswept sets and gives empty spans to the heap; returns pages freed. */
size_t mcentral_sweep(struct mcentral *c);

bool mcentral_consistent(struct mcentral *c);

#endif
