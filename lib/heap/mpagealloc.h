/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page allocator: which pages of the heap are free.  See mpagealloc.c.
 */
#ifndef GM_HEAP_MPAGEALLOC_H
#define GM_HEAP_MPAGEALLOC_H

#include <stdatomic.h>

#include "heap/mpallocbits.h"
#include "heap/mpallocsum.h"
#include "heap/mranges.h"
#include "sys/lock.h"

/* A chunk's number: its address (less ARENA_BASE_OFFSET) divided by 4 MiB, and also the index of
 * its leaf summary.  0 is never a chunk of ours. */
struct chunk_idx {
    uintptr_t i;
};

/* The two questions that the scavenger asks of a chunk. */
enum scav_kind {
    SCAV_LONG, /* may it have a run that is worth a system call? */
    SCAV_ANY,  /* may it have any free page that is backed? */
    SCAV_NKINDS
};

#define PALLOC_CHUNKS_PER_L2 ((uintptr_t)1 << PALLOC_CHUNKS_L2_BITS)

/* The bitmaps of 8192 neighbouring chunks (32 GiB); 1.5 MiB of address space, of which a page is
 * touched for each 32 chunks that exist. */
struct palloc_chunks {
    struct palloc_data chunk[PALLOC_CHUNKS_PER_L2];
    /* Bit set: the page was given back to the kernel at least once.  So a page that is scavenged
     * and has no bit here is fresh.  Written by the scavenger only. */
    struct palloc_bits returned[PALLOC_CHUNKS_PER_L2];
    /* Bit c % 64 of word c / 64 (c: the chunk's index in this struct): the answer to the question
     * may be yes. */
    uint64_t scav_index[SCAV_NKINDS][PALLOC_CHUNKS_PER_L2 / 64];
};

/* Where a range of pages that has been taken may hold old data: what of it was not scavenged.  For
 * who clears it; so more may be named than there is. */
#define STALE_RUNS 8u
struct stale_runs {
    uintptr_t base; /* the range's first address; 0: nothing was noted */
    unsigned n;
    struct stale_run {
        uintptr_t base, limit;
    } run[STALE_RUNS]; /* ascending, none touches the next */
};

/* Pages of 4096 bytes that the five levels' arrays have. */
#define SUMMARY_OS_PAGES (32 + 256 + 2048 + 16384 + 131072)

/* All pages of one heap.  Everything but the first block is guarded by mheap_lock. */
struct page_alloc {
    /* Set before page_alloc_init: there is little address space, so that only addresses of the
     * window are provided for (mpagealloc_64bit.c). */
    bool compact;

    /* The heap's memory is backed by huge pages: set before the first growth.  Cleared if the
     * kernel refuses.  The scavenger gives whole ones back. */
    bool huge;

    /* Set by page_alloc_init. */
    struct mutex *mheap_lock;
    bool test;                /* no heap memory exists behind the addresses: never madvise */
    unsigned phys_huge_pages; /* pages in a huge page, which the scavenger tries not to break;
                                 0 = it need not care */
    struct palloc_sum *summary[SUMMARY_LEVELS]; /* Reserved; mapped where in_use needs it */

    /* Held while pages are given back: they look in use then, though nobody has them.  A fork, and
     * a reader whose sums must be exact, take it before mheap_lock. */
    struct mutex scav_lock;

    /* Not NULL: what page_alloc_alloc_range takes is noted there. */
    struct stale_runs *stale;

    /* No page below it is free.  It is in in_use, or MAX_OFF_ADDR: nothing is free at all. */
    struct off_addr search_addr;

    /* All chunks are in [start, end); there may be gaps between.  Both 0: none yet. */
    struct chunk_idx start, end;

    /* The addresses that have been grown. */
    struct addr_ranges in_use;

    /* Counts, in pages.  In use includes the pages in page caches. */
    uint64_t npages_grown;
    uint64_t npages_in_use;
    uint64_t npages_in_use_peak; /* highest npages_in_use since the scavenger last reset it */
    uint64_t npages_scavenged;   /* free and scavenged */

    /* What the scavenger did so far. */
    uint64_t npages_released; /* given back to the kernel */
    uint64_t npages_reused;   /* of these, taken into use again */
    uint64_t nscavenge_calls; /* runs given back: system calls */

    /* No chunk from this one upwards has its bit in scav_index set. */
    struct chunk_idx scav_search[SCAV_NKINDS];

    uint64_t summary_mapped_ready; /* bytes of the summaries that are mapped */

    /* Bit: this 4096-byte page of the levels' arrays (one after the other) is mapped. */
    uint64_t summary_mapped[(SUMMARY_OS_PAGES + 63) / 64];

    /* chunks[i >> 13]->chunk[i & 8191] is chunk i.  NULL: no chunk was ever grown there.  Stored
     * with release order, and never changed again: may be read without the lock. */
    struct palloc_chunks *_Atomic chunks[(uintptr_t)1 << PALLOC_CHUNKS_L1_BITS];
};

gm_inline struct chunk_idx chunk_index(uintptr_t p) {
    return (struct chunk_idx){(p - ARENA_BASE_OFFSET) >> LOG_PALLOC_CHUNK_BYTES};
}

gm_inline uintptr_t chunk_base(struct chunk_idx c) {
    return (c.i << LOG_PALLOC_CHUNK_BYTES) + ARENA_BASE_OFFSET;
}

gm_inline unsigned chunk_page_index(uintptr_t p) {
    return (unsigned)(p % PALLOC_CHUNK_BYTES / GM_PAGE_SIZE);
}

gm_inline struct palloc_chunks *page_alloc_l2(const struct page_alloc *p, struct chunk_idx c) {
    /* relaxed is enough for a reader that holds the lock or follows the pointer: the address
     * dependency orders the reads on x86-64 */
    return atomic_load_explicit(&p->chunks[c.i >> PALLOC_CHUNKS_L2_BITS], memory_order_relaxed);
}

/* page_alloc_chunk returns the bitmaps of a chunk, which must have been grown. */
gm_inline struct palloc_data *page_alloc_chunk(const struct page_alloc *p, struct chunk_idx c) {
    return &page_alloc_l2(p, c)->chunk[c.i & (PALLOC_CHUNKS_PER_L2 - 1)];
}

/* page_alloc_summary returns entry `index` of a level, which must cover an address in in_use. */
gm_inline struct palloc_sum page_alloc_summary(const struct page_alloc *p, unsigned level,
                                               uintptr_t index) {
    return p->summary[level][index];
}

/* How many address bits, and log2 of how many pages, an entry of a level stands for. */
gm_inline unsigned level_shift(unsigned level) {
    return LOG_PALLOC_CHUNK_BYTES + (SUMMARY_LEAF - level) * SUMMARY_LEVEL_BITS;
}

gm_inline unsigned level_log_pages(unsigned level) {
    return LOG_PALLOC_CHUNK_PAGES + (SUMMARY_LEAF - level) * SUMMARY_LEVEL_BITS;
}

/* The entry of a level that covers an address, and the first address that an entry covers. */
gm_inline uintptr_t off_addr_to_level_index(unsigned level, struct off_addr a) {
    return (a.a - ARENA_BASE_OFFSET) >> level_shift(level);
}

gm_inline struct off_addr level_index_to_off_addr(unsigned level, uintptr_t idx) {
    return (struct off_addr){(idx << level_shift(level)) + ARENA_BASE_OFFSET};
}

/* page_alloc_level_range stores the entries [lo, hi) of a level that cover r (not empty).  Entries
 * that are not zero are found by asking this for each range of in_use: neighbouring ranges may
 * share an entry. */
void page_alloc_level_range(unsigned level, struct addr_range r, uintptr_t *ret_lo,
                            uintptr_t *ret_hi);

/* page_alloc_init makes an allocator without pages.  *p is zeroed by the caller (static memory is).
 * False: the kernel refused 585 MiB of address space or the first memory; *p is not usable. */
bool page_alloc_init(struct page_alloc *p, struct mutex *mheap_lock, bool test);

/* page_alloc_destroy gives all metadata back to the kernel: for tests. */
void page_alloc_destroy(struct page_alloc *p);

/* page_alloc_grow adds the pages of [base, base+size), both multiples of 4 MiB and never grown
 * before: they are free and scavenged.  Lock held.  False: no memory for metadata, nothing was
 * added. */
bool page_alloc_grow(struct page_alloc *p, uintptr_t base, uintptr_t size);

/* page_alloc_alloc takes the first free run of npages >= 1 pages.  *ret_scav: how many bytes of it
 * are scavenged, which the caller makes Ready (mem_used).  Lock held.  0: there is none. */
uintptr_t page_alloc_alloc(struct page_alloc *p, uintptr_t npages, uintptr_t *ret_scav);

/* page_alloc_alloc_aligned takes npages pages at a multiple of align_pages (a power of two) pages.
 * It may fail although there is such a run: it looks for npages + align_pages - 1 pages.  Lock
 * held. */
uintptr_t page_alloc_alloc_aligned(struct page_alloc *p, uintptr_t npages, uintptr_t align_pages,
                                   uintptr_t *ret_scav);

/* page_alloc_alloc_at takes exactly these pages.  False: one of them is not free or not ours, and
 * nothing was taken.  Lock held. */
bool page_alloc_alloc_at(struct page_alloc *p, uintptr_t base, uintptr_t npages,
                         uintptr_t *ret_scav);

/* page_alloc_free makes pages free that are all in use.  scavenged: the caller marks them
 * scavenged next, under the same lock.  Lock held. */
void page_alloc_free(struct page_alloc *p, uintptr_t base, uintptr_t npages, bool scavenged);

/* page_alloc_mark_scavenged marks free pages that are not backed, though nobody scavenged them: as
 * what was never used.  They were freed as scavenged under the same lock.  Lock held. */
void page_alloc_mark_scavenged(struct page_alloc *p, uintptr_t base, uintptr_t npages);

/* For the page cache and the scavenger.  Lock held. */

/* page_alloc_alloc_range marks pages in use, all of which are free, and returns how many bytes of
 * them were scavenged. */
uintptr_t page_alloc_alloc_range(struct page_alloc *p, uintptr_t base, uintptr_t npages);

/* page_alloc_find returns the first free run of npages pages, or 0, and a search_addr that is
 * valid if it was found. */
uintptr_t page_alloc_find(struct page_alloc *p, uintptr_t npages, struct off_addr *ret_search);

/* page_alloc_update brings the summaries up to date with bitmaps that were changed in the given
 * range.  contig: all pages of it became in use (alloc) or free (!alloc). */
void page_alloc_update(struct page_alloc *p, uintptr_t base, uintptr_t npages, bool contig,
                       bool alloc);

/* page_alloc_took and page_alloc_gave keep the counts when npages pages, nscav of them scavenged,
 * come into use or are given back. */
void page_alloc_took(struct page_alloc *p, uint64_t npages, uint64_t nscav);
void page_alloc_gave(struct page_alloc *p, uint64_t npages, uint64_t nscav);

/* page_alloc_consistent recounts everything from the bitmaps, bit by bit.  NULL, or what is wrong.
 * Slow.  Lock held. */
const char *page_alloc_consistent(const struct page_alloc *p);

#endif
