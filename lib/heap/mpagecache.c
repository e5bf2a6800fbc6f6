/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page cache.  Go: runtime/mpagecache.go.
 *
 * A span of one page costs some 50 ns of search and update, under the heap lock.  So all the free
 * pages of one aligned block of 64 are taken at once (one update; a block is one word of a bitmap)
 * and given out one after the other, to the threads that share the cache (mheap.c).  To the page
 * allocator they are in use until they are flushed; c->cache has a 1 for each page that is still
 * here.
 *
 * Example: the block's bits in the chunk are 1011 (1 = in use; page 2 is free).  The cache gets
 * 0100 and the chunk's word becomes 1111.  After page 2 was given out the cache is empty, and its
 * owner fetches the next block.
 *
 * Requests of 16 pages and more don't ask the cache (mheap.c): they would rarely be in luck.
 * What it costs is memory that sits in caches, up to 512 KiB for each processor; that is why a
 * thread that ends flushes its mcache's.
 *
 * Departure: flushing tells the scavenger's index of the pages.  In Go 1.19 a page that was in a
 * cache while its chunk was found to have nothing to scavenge is forgotten until something else is
 * freed there.
 */
#include "heap/mpagecache.h"

#include "heap/intrinsics.h"
#include "heap/mgcscavenge.h"
#include "sys/throw.h"

#define PAGE_CACHE_BYTES (PAGE_CACHE_PAGES * GM_PAGE_SIZE)

uintptr_t page_cache_alloc(struct page_cache *c, uintptr_t npages, uintptr_t *ret_scav) {
    if (c->cache == 0 || npages > PAGE_CACHE_PAGES)
        return 0;
    unsigned i = find_bit_range64(c->cache, (unsigned)npages);
    if (i >= 64)
        return 0;
    uint64_t mask = ~(uint64_t)0 >> (64 - npages) << i;
    *ret_scav = ones_count64(c->scav & mask) * GM_PAGE_SIZE;
    c->cache &= ~mask;
    c->scav &= ~mask;
    return c->base + i * GM_PAGE_SIZE;
}

/* The block of 64 bits around a page. */
static uint64_t *block64(struct palloc_bits *b, uintptr_t addr) {
    return &b->w[chunk_page_index(addr) / 64];
}

/* count_returned counts those of the block's pages that are in `scav` and were once given back. */
static unsigned count_returned(const struct page_alloc *p, uintptr_t addr, uint64_t scav) {
    if (scav == 0 || p->npages_released == 0)
        return 0;
    struct chunk_idx c = chunk_index(addr);
    struct palloc_chunks *l2 = page_alloc_l2(p, c);
    return ones_count64(*block64(&l2->returned[c.i & (PALLOC_CHUNKS_PER_L2 - 1)], addr) & scav);
}

void page_cache_flush(struct page_cache *c, struct page_alloc *p) {
    mutex_assert_held(p->mheap_lock);
    if (page_cache_empty(c))
        return;
    struct palloc_data *chunk = page_alloc_chunk(p, chunk_index(c->base));
    *block64(&chunk->alloc, c->base) &= ~c->cache;
    *block64(&chunk->scavenged, c->base) |= c->scav;
    p->npages_reused -= count_returned(p, c->base, c->scav);
    page_alloc_gave(p, ones_count64(c->cache), ones_count64(c->scav));
    if ((c->cache & ~c->scav) != 0)
        scavenge_index_mark(p, c->base, c->base + PAGE_CACHE_BYTES);
    /* As page_alloc_free does. */
    if (off_addr_less_than((struct off_addr){c->base}, p->search_addr))
        p->search_addr = (struct off_addr){c->base};
    page_alloc_update(p, c->base, PAGE_CACHE_PAGES, false, false);
    *c = (struct page_cache){0};
}

/* first_free returns the address of the heap's first free page, 0 if there is none. */
static uintptr_t first_free(struct page_alloc *p) {
    struct chunk_idx c = chunk_index(p->search_addr.a);
    if (c.i >= p->end.i)
        return 0;
    struct off_addr search;
    if (p->summary[SUMMARY_LEAF][c.i].v == 0)
        return page_alloc_find(p, 1, &search);
    unsigned first;
    unsigned i = palloc_bits_find(&page_alloc_chunk(p, c)->alloc, 1,
                                  chunk_page_index(p->search_addr.a), &first);
    if (i == PALLOC_NOT_FOUND)
        throw_values("page_alloc_alloc_to_cache: no page free, against the summary", c.i, 0);
    return chunk_base(c) + i * GM_PAGE_SIZE;
}

struct page_cache page_alloc_alloc_to_cache(struct page_alloc *p) {
    mutex_assert_held(p->mheap_lock);
    uintptr_t addr = first_free(p);
    if (addr == 0) {
        p->search_addr = MAX_OFF_ADDR;
        return (struct page_cache){0};
    }
    struct palloc_data *chunk = page_alloc_chunk(p, chunk_index(addr));
    struct page_cache c = {
        .base = align_down(addr, PAGE_CACHE_BYTES),
        .cache = ~*block64(&chunk->alloc, addr),
        .scav = *block64(&chunk->scavenged, addr),
    };
    p->npages_reused += count_returned(p, addr, c.cache & c.scav);
    page_alloc_took(p, ones_count64(c.cache), ones_count64(c.cache & c.scav));
    *block64(&chunk->alloc, addr) |= c.cache;
    *block64(&chunk->scavenged, addr) &= ~(c.cache & c.scav);
    page_alloc_update(p, c.base, PAGE_CACHE_PAGES, false, true);
    /* All before the block's end is in use now.  Not the page after it: that may be beyond the
     * heap, and search_addr must point into it. */
    p->search_addr = (struct off_addr){c.base + PAGE_CACHE_BYTES - GM_PAGE_SIZE};
    return c;
}
