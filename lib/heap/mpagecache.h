/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread's own pages: up to 64, taken and given back under one lock.  See mpagecache.c.
 */
#ifndef GM_HEAP_MPAGECACHE_H
#define GM_HEAP_MPAGECACHE_H

#include "heap/mpagealloc.h"

/* 64 pages of one chunk, aligned to 64, of which some are this cache's to give out.  Written by
 * the owner without a lock.  All zero: empty. */
struct page_cache {
    uintptr_t base; /* address of the first of the 64 pages */
    uint64_t cache; /* bit i: page i is free and ours */
    uint64_t scav;  /* bit i: page i is ours and scavenged */
};

gm_inline bool page_cache_empty(const struct page_cache *c) {
    return c->cache == 0;
}

/* page_alloc_alloc_to_cache takes all free pages of the first 64-page block that has any. Empty:
 * nothing is free.  Lock held. */
struct page_cache page_alloc_alloc_to_cache(struct page_alloc *p);

/* page_cache_alloc takes the first npages >= 1 pages in a row.  *ret_scav as in page_alloc_alloc.
 * 0: there is no such run in the cache.  No lock. */
uintptr_t page_cache_alloc(struct page_cache *c, uintptr_t npages, uintptr_t *ret_scav);

/* page_cache_flush gives all pages back; the cache is empty afterwards.  Lock held. */
void page_cache_flush(struct page_cache *c, struct page_alloc *p);

#endif
