/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A page allocator on its own, for tests.  Go: runtime/export_test.go NewPageAlloc.
 */
#include "palloc_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "heap/mgcscavenge.h"
#include "heap/mpagealloc_64bit.h"

static void fail(const char *what) {
    fprintf(stderr, "palloc_world: %s\n", what);
    exit(2);
}

struct palloc_world *world_new(void) {
    struct palloc_world *w = calloc(1, sizeof(*w));
    if (w == NULL)
        fail("out of memory");
    w->lock.rank = LOCK_RANK_MHEAP;
    if (!page_alloc_init(&w->p, &w->lock, true))
        fail("no address space for the summaries");
    return w;
}

void world_free(struct palloc_world *w) {
    page_alloc_destroy(&w->p);
    free(w);
}

void world_add_chunk(struct palloc_world *w, unsigned c, const struct bit_range *alloc,
                     size_t nalloc, const struct bit_range *scav, size_t nscav) {
    struct page_alloc *p = &w->p;
    uintptr_t base = chunk_base(world_chunk(c));
    mutex_lock(&w->lock);
    if (!page_alloc_grow(p, base, PALLOC_CHUNK_BYTES))
        fail("page_alloc_grow failed");
    struct palloc_data *chunk = page_alloc_chunk(p, world_chunk(c));
    palloc_bits_clear_all(&chunk->scavenged);
    for (size_t k = 0; k < nscav; k++)
        palloc_bits_set_range(&chunk->scavenged, scav[k].i, scav[k].n);
    for (size_t k = 0; k < nalloc; k++)
        palloc_data_alloc_range(chunk, alloc[k].i, alloc[k].n);
    page_alloc_took(p, palloc_bits_popcnt_range(&chunk->alloc, 0, PALLOC_CHUNK_PAGES),
                    PALLOC_CHUNK_PAGES -
                        palloc_bits_popcnt_range(&chunk->scavenged, 0, PALLOC_CHUNK_PAGES));
    scavenge_index_mark(p, base, base + PALLOC_CHUNK_BYTES);
    page_alloc_update(p, base, PALLOC_CHUNK_PAGES, false, false);
    mutex_unlock(&w->lock);
}

uintptr_t world_alloc(struct palloc_world *w, uintptr_t npages, uintptr_t *ret_scav) {
    mutex_lock(&w->lock);
    uintptr_t addr = page_alloc_alloc(&w->p, npages, ret_scav);
    mutex_unlock(&w->lock);
    return addr == 0 ? UINTPTR_MAX : world_page(addr);
}

void world_release(struct palloc_world *w, uintptr_t page, uintptr_t npages) {
    mutex_lock(&w->lock);
    page_alloc_free(&w->p, world_addr(page), npages, false);
    mutex_unlock(&w->lock);
}

void world_check(struct palloc_world *w, const char *where) {
    mutex_lock(&w->lock);
    const char *wrong = page_alloc_consistent(&w->p);
    mutex_unlock(&w->lock);
    if (wrong == NULL)
        return;
    fprintf(stderr, "page allocator inconsistent after %s: %s\n", where, wrong);
    exit(2);
}
