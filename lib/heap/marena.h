/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Arenas, and the way from an address to its span.  Go: runtime/mheap.go heapArena, spanOf.
 *
 * The address space is cut into heapArenas of 64 MiB, each with a table page -> span.
 *
 * free asks for the span of an address, so that is made as short as can be: the tables of the
 * arenas lie one after the other in a direct-mapped table, mheap_span_map, by page number modulo
 * 2^23 (64 GiB), and the first lookup goes there without asking whose arena the address is in.  As
 * an address anywhere maps to some entry, and as entries of free pages are stale, who looks there
 * has to check that the address lies within the span found.  An arena whose place in the map is
 * taken (by another at a distance of n * 64 GiB) has a table elsewhere, and its addresses are found
 * by the two levels, as in Go.
 */
#ifndef GM_HEAP_MARENA_H
#define GM_HEAP_MARENA_H

#include "heap/mspan.h"

struct mheap;

/* Arenas by address >> 26: 4 Mi entries for 48-bit addresses.  Those that no arena has are sealed
 * (mem_seal), here and in the span map: the program may ask for any address, and a program that
 * locks its memory has them backed by the one page of zeroes. */
#define ARENA_SHIFT 26
#define NUM_ARENAS  ((size_t)1 << (48 - ARENA_SHIFT))

struct heap_arena {
    _Atomic(struct mspan *) *spans; /* of each page in use; stale otherwise.  PAGES_PER_ARENA */
    uintptr_t base;
    uintptr_t zeroed_base; /* offset of the first byte never used.  Heap's lock */
};

extern struct heap_arena *mheap_arenas[NUM_ARENAS];

#define SPAN_MAP_PAGES ((size_t)1 << 23)
extern _Atomic(struct mspan *) mheap_span_map[SPAN_MAP_PAGES];

/* mheap_span_of returns the span in use that p points into, or NULL; p in the first arena of the
 * span.  For a free page any other span. */
gm_inline struct mspan *mheap_span_of(uintptr_t p) {
    if (gm_unlikely(p >> ARENA_SHIFT >= NUM_ARENAS))
        return NULL;
    struct heap_arena *ha = mheap_arenas[p >> ARENA_SHIFT];
    if (gm_unlikely(ha == NULL))
        return NULL;
    return atomic_load_explicit(&ha->spans[p >> GM_PAGE_SHIFT & (PAGES_PER_ARENA - 1)],
                                memory_order_acquire);
}

/* mheap_span_covering is mheap_span_of for any page of a span, also of one that lies in several
 * arenas: behind the first of them it is entered at the arena's first page only, and stale entries
 * lie between. */
gm_inline struct mspan *mheap_span_covering(uintptr_t p) {
    struct mspan *s = mheap_span_of(p);
    if (s != NULL && p - s->base < (uintptr_t)s->npages << GM_PAGE_SHIFT)
        return s;
    s = mheap_span_of(align_down(p, HEAP_ARENA_BYTES));
    return s != NULL && p - s->base < (uintptr_t)s->npages << GM_PAGE_SHIFT ? s : NULL;
}

/* mheap_span_guess returns the span that p points into, if there is one and its arena is in the
 * map; else any span, in use or not, or NULL. */
gm_inline struct mspan *mheap_span_guess(uintptr_t p) {
    return atomic_load_explicit(&mheap_span_map[p >> GM_PAGE_SHIFT & (SPAN_MAP_PAGES - 1)],
                                memory_order_acquire);
}

/* mheap_grow adds npages at least to the heap's free pages.  Returns the bytes added, 0 = out of
 * memory.  Heap's lock.  Go: mheap.grow. */
size_t mheap_grow(struct mheap *h, size_t npages);

/* arenas_seal makes the tables read-only where no arena is. */
void arenas_seal(void);

/* arena_set_spans enters a span for its pages; arena_note_used notes that they come into use.
 * Heap's lock. */
void arena_set_spans(uintptr_t base, size_t npages, struct mspan *s);
void arena_note_used(uintptr_t base, size_t npages);

#endif
