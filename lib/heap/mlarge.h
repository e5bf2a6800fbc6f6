/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large objects, each a span of its own.  See mlarge.c.
 */
#ifndef GM_HEAP_MLARGE_H
#define GM_HEAP_MLARGE_H

#include "heap/mspan.h"

struct hint;
struct mcache;
struct mheap;
struct stale_runs;

/* Freed spans of up to so many pages (1 MiB) are kept for reuse. */
#define LARGE_KEEP_PAGES ((size_t)128)

/* Spans of one number of pages that a thread keeps at most. */
#define LARGE_KEEP_HINTS 8

/* A thread's: the stacks of hints are mcache.large_alloc.  Only the thread touches it. */
struct large_cache {
    struct hint *hints;                       /* LARGE_KEEP_HINTS for each number of pages */
    size_t room;                              /* bytes of spans that the stacks have room for */
    uint64_t used[LARGE_KEEP_PAGES / 64 + 1]; /* bit: this number of pages has room */
    uint32_t nmissed;                         /* spans turned away, as others have the room */
    struct stale_runs *stale; /* of the object being allocated, if it is to be cleared, or NULL */
};

/* The heap's: freed spans by their number of pages.  Guarded by its lock. */
struct large_bins {
    struct large_bin {
        struct mspan *first; /* linked by next */
        uint32_t n;
        uint32_t low; /* the fewest there have been since the last aging */
    } bin[LARGE_KEEP_PAGES + 1];
    uint64_t used[LARGE_KEEP_PAGES / 64 + 1]; /* bit: this bin is not empty */
    size_t nspans;
};

/* The largest request: a span counts its pages in 32 bits.  (32 TiB; no sum of two such overflows.)
 */
#define MAX_ALLOC ((size_t)UINT32_MAX << GM_PAGE_SHIFT)

gm_inline size_t large_pages(size_t size) {
    return (size + GM_PAGE_SIZE - 1) >> GM_PAGE_SHIFT;
}

/* large_alloc returns a span for one object of size bytes at a multiple of align (a power of two),
 * the object taken, or NULL.  Zeroed unless needzero is set. */
struct mspan *large_alloc(struct mcache *c, size_t size, size_t align, bool noscan);

/* large_free frees the object of s.  False: it is free already. */
bool large_free(struct mspan *s);

/* A large object keeps pages that it does not use if they are no more than this part of it, so that
 * it may grow into them. */
#define LARGE_ROOM_PART 8

/* large_resize makes the object of s hold size bytes where it is.  False: there is no room. */
bool large_resize(struct mspan *s, size_t size);

/* large_move moves the object of s, which is to become larger, to q, an object just allocated, by
 * moving its pages, and frees s.  False: it has to be copied. */
bool large_move(struct mspan *s, void *q);

/* large_overflow finds a place for a span of c's whose object has just been freed, its bit set, and
 * for which there was no room among the hints. */
void large_overflow(struct mcache *c, struct mspan *s);

/* large_set_entry lets s be freed by the fast path, or not, as its pages and its owner say: called
 * when either is set. */
void large_set_entry(struct mspan *s);

/* large_cache_flush gives all that the thread keeps to the heap's bins. */
void large_cache_flush(struct mcache *c);

/* large_cache_forget empties the stacks of a thread lost in a fork: its spans are found again by
 * large_rescue, which is shown each span that such an mcache owns.  Other threads of the child may
 * be freeing it. */
void large_cache_forget(struct mcache *c);
void large_rescue(struct mspan *s, const struct span_owner *lost);

/* large_bins_drain frees all spans of the bins, and large_bins_age those that nobody has needed
 * since it was called last.  The heap's lock is held. */
void large_bins_drain(struct mheap *h);
void large_bins_age(struct mheap *h);

/* large_recount looks at all large spans and the places for free ones; NULL, or what is wrong.  The
 * heap's lock is held, and all threads are at rest. */
const char *large_recount(const struct mheap *h);

/* large_count counts the large objects allocated since the start. */
uint64_t large_count(void);

#endif
