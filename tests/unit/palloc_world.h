/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A page allocator on its own, for tests: addresses are only numbers, no heap memory exists.
 *
 * As in Go's tests chunk 0 stands at 192 GiB.  Pages are numbered from its first page.
 */
#ifndef GM_TESTS_PALLOC_WORLD_H
#define GM_TESTS_PALLOC_WORLD_H

#include "heap/mpagealloc.h"

#define WORLD_BASE ((uintptr_t)0xc000 * PALLOC_CHUNK_BYTES)

/* Pages of a chunk, from page i on. */
struct bit_range {
    unsigned i;
    unsigned n;
};

struct palloc_world {
    struct mutex lock;
    struct page_alloc p;
};

/* world_new returns an allocator without chunks; it ends the program if it can't.  world_free
 * gives all memory back. */
struct palloc_world *world_new(void);
void world_free(struct palloc_world *w);

/* world_add_chunk grows chunk c, in which then exactly the pages in `alloc` are in use, and exactly
 * those in `scav` that aren't in use are scavenged. */
void world_add_chunk(struct palloc_world *w, unsigned c, const struct bit_range *alloc,
                     size_t nalloc, const struct bit_range *scav, size_t nscav);

/* A page's number from its address, and back. */
static inline uintptr_t world_page(uintptr_t addr) {
    return (addr - WORLD_BASE) / GM_PAGE_SIZE;
}

static inline uintptr_t world_addr(uintptr_t page) {
    return WORLD_BASE + page * GM_PAGE_SIZE;
}

static inline struct chunk_idx world_chunk(unsigned c) {
    return (struct chunk_idx){chunk_index(WORLD_BASE).i + c};
}

/* The operations with the lock taken around them, in page numbers.  Failure: UINTPTR_MAX. */
uintptr_t world_alloc(struct palloc_world *w, uintptr_t npages, uintptr_t *ret_scav);
void world_release(struct palloc_world *w, uintptr_t page, uintptr_t npages);

/* world_check ends the program if page_alloc_consistent finds something, naming `where`. */
void world_check(struct palloc_world *w, const char *where);

#endif
