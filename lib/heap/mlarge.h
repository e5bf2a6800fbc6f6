/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large objects, each a span of its own.  See mlarge.c.
 */
#ifndef GM_HEAP_MLARGE_H
#define GM_HEAP_MLARGE_H

#include "heap/mspan.h"

struct mcache;

#define LARGE_CACHE_SLOTS 16

/* Freed large spans that a thread keeps for reuse; each has its one slot free.  Only the thread
 * touches it. */
struct large_cache {
    struct mspan *span[LARGE_CACHE_SLOTS];
    size_t n;
    size_t bytes;
};

/* The largest request: a span counts its pages in 32 bits.  (32 TiB; no sum of two such overflows.)
 */
#define MAX_ALLOC ((size_t)UINT32_MAX << GM_PAGE_SHIFT)

/* large_alloc returns a span for one object of size bytes at a multiple of align (a power of two),
 * the object taken, or NULL.  Zeroed unless needzero is set. */
struct mspan *large_alloc(struct mcache *c, size_t size, size_t align, bool noscan);

/* large_free frees the object of s.  False: it is free already. */
bool large_free(struct mspan *s);

/* large_resize makes the object of s hold size bytes where it is.  False: there is no room. */
bool large_resize(struct mspan *s, size_t size);

/* large_cache_flush gives all that the thread keeps to the heap. */
void large_cache_flush(struct large_cache *l);

/* large_cache_after_fork makes the cache of a thread lost in a fork whole again. */
void large_cache_after_fork(struct large_cache *l);

#endif
