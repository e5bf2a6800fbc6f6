/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Arenas, and the way from an address to its span.  Go: runtime/malloc.go sysAlloc, mheap.go grow.
 */
#include "heap/mheap.h"

_Alignas(PHYS_PAGE_SIZE) struct heap_arena *mheap_arenas[NUM_ARENAS];
_Alignas(PHYS_PAGE_SIZE) _Atomic(struct mspan *) mheap_span_map[SPAN_MAP_PAGES];

#define ARENA_TABLE_BYTES (PAGES_PER_ARENA * sizeof(struct mspan *))
#define NUM_MAP_ARENAS    (SPAN_MAP_PAGES / PAGES_PER_ARENA)

/* Which arena's table each part of the map is. */
static struct heap_arena *map_arenas[NUM_MAP_ARENAS];

static struct heap_arena **map_place(uintptr_t base) {
    return &map_arenas[(base >> ARENA_SHIFT) % NUM_MAP_ARENAS];
}

/* The bytes that the nth of the arenas that begin at first needs: a descriptor, and a table if its
 * place in the map is taken, or will be by one of the others. */
static size_t arena_bytes(uintptr_t first, size_t nth) {
    bool free = nth < NUM_MAP_ARENAS && *map_place(first + nth * HEAP_ARENA_BYTES) == NULL;
    return free ? PHYS_PAGE_SIZE : PHYS_PAGE_SIZE + ARENA_TABLE_BYTES;
}

static size_t arenas_bytes(uintptr_t first, size_t narenas) {
    size_t n = 0;
    for (size_t i = 0; i < narenas; i++)
        n += arena_bytes(first, i);
    return n;
}

static bool unseal_places(size_t from, size_t n) {
    return n == 0 || mem_unseal(&mheap_span_map[from * PAGES_PER_ARENA], n * ARENA_TABLE_BYTES);
}

/* Has room in the tables for narenas more, which begin at first.  False: the kernel refuses. */
static bool open_tables(struct mheap *h, uintptr_t first, size_t narenas) {
    uintptr_t entries = (uintptr_t)&mheap_arenas[first >> ARENA_SHIFT];
    uintptr_t end = align_up(entries + narenas * sizeof *mheap_arenas, PHYS_PAGE_SIZE);
    entries = align_down(entries, PHYS_PAGE_SIZE);
    /* Their places lie one after the other, around the map's end. */
    size_t from = (size_t)(map_place(first) - map_arenas);
    size_t places = narenas < NUM_MAP_ARENAS ? narenas : NUM_MAP_ARENAS;
    size_t to_end = places < NUM_MAP_ARENAS - from ? places : NUM_MAP_ARENAS - from;
    return mem_table_reach(&h->arena_table, (h->narenas + narenas) * sizeof *h->all_arenas) &&
           mem_unseal((void *)entries, end - entries) && unseal_places(from, to_end) &&
           unseal_places(0, places - to_end);
}

static void place_table(struct heap_arena *ha, void *own) {
    struct heap_arena **place = map_place(ha->base);
    if (*place != NULL) {
        ha->spans = own;
        return;
    }
    *place = ha;
    ha->spans = &mheap_span_map[(size_t)(place - map_arenas) * PAGES_PER_ARENA];
    mem_adopt(ARENA_TABLE_BYTES, MEM_ARENA);
}

/* Makes arenas of [base, base+size), in arenas_bytes at p. */
static void add_arenas(struct mheap *h, uintptr_t base, size_t size, char *p) {
    for (size_t i = 0; i < size / HEAP_ARENA_BYTES; i++) {
        struct heap_arena *ha = (struct heap_arena *)p;
        p += arena_bytes(base, i);
        ha->base = base + i * HEAP_ARENA_BYTES;
        place_table(ha, (char *)ha + PHYS_PAGE_SIZE);
        __atomic_store_n(&mheap_arenas[ha->base >> ARENA_SHIFT], ha, __ATOMIC_RELEASE);
        h->all_arenas[h->narenas] = ha;
        atomic_fetch_add_explicit(&h->narenas, 1, memory_order_release);
    }
}

/* Reserves address space for size bytes (a multiple of an arena): at the hint, which makes the heap
 * contiguous, else wherever there is room.  Go: sysAlloc. */
static uintptr_t reserve_arenas(struct mheap *h, size_t size) {
    char *p = mem_reserve((void *)h->arena_hint, size, MEM_HEAP);
    if (p != NULL && (uintptr_t)p != h->arena_hint) {
        mem_free(p, size, MEM_HEAP, size, 0);
        p = mem_reserve_aligned(size, HEAP_ARENA_BYTES, MEM_HEAP);
    }
    return (uintptr_t)p;
}

/* Makes [base, base+size), which is mapped, free pages. */
static bool add_pages(struct mheap *h, uintptr_t base, size_t size) {
    if (h->pages.huge && !mem_huge((void *)base, size)) {
        h->pages.huge = false; /* it won't be otherwise the next time */
        atomic_fetch_add_explicit(&h->nhuge_refused, 1, memory_order_relaxed);
    }
    if (!page_alloc_grow(&h->pages, base, size)) {
        mem_fault((void *)base, size, MEM_HEAP);
        return false;
    }
    return true;
}

/* Gives cur_arena new address space, of which the first ask bytes from there are mapped.  False:
 * the kernel refuses, and all is as before; not even the tables have been touched, of which a
 * request that can't be met would need many.  Adds to *ret_grown what became free. */
static bool next_arenas(struct mheap *h, size_t ask, size_t *ret_grown) {
    size_t size = align_up(ask, HEAP_ARENA_BYTES);
    uintptr_t v = reserve_arenas(h, size);
    if (v == 0)
        return false;
    bool contiguous = v == h->cur_arena_end;
    uintptr_t base = contiguous ? h->cur_arena : v;
    size_t ntables = arenas_bytes(v, size / HEAP_ARENA_BYTES);
    char *tables = mem_alloc_sparse(ntables, MEM_ARENA);
    bool mapped = tables != NULL && mem_map((void *)base, ask, MEM_HEAP);
    if (!mapped || !open_tables(h, v, size / HEAP_ARENA_BYTES)) {
        if (mapped)
            mem_fault((void *)base, ask, MEM_HEAP);
        if (tables != NULL)
            mem_free(tables, ntables, MEM_ARENA, 0, ntables);
        mem_free((void *)v, size, MEM_HEAP, size, 0);
        return false;
    }
    add_arenas(h, v, size, tables);
    h->arena_hint = v + size;
    size_t rest = contiguous ? 0 : h->cur_arena_end - h->cur_arena;
    /* The rest of the old arena would be lost: make it free pages. */
    if (rest != 0 && mem_map((void *)h->cur_arena, rest, MEM_HEAP) &&
        add_pages(h, h->cur_arena, rest))
        *ret_grown += rest;
    h->cur_arena = base;
    h->cur_arena_end = v + size;
    return true;
}

size_t mheap_grow(struct mheap *h, size_t npages) {
    mutex_assert_held(&h->lock);
    size_t ask = align_up(npages, PALLOC_CHUNK_PAGES) << GM_PAGE_SHIFT;
    size_t grown = ask;
    bool ok = h->cur_arena_end - h->cur_arena < ask ? next_arenas(h, ask, &grown)
                                                    : mem_map((void *)h->cur_arena, ask, MEM_HEAP);
    if (!ok || !add_pages(h, h->cur_arena, ask))
        return 0;
    h->cur_arena += ask;
    atomic_fetch_add_explicit(&h->ngrow, 1, memory_order_relaxed);
    return grown;
}

/* ---- the map ------------------------------------------------------------------------------ */

void arenas_seal(void) {
    mem_seal(mheap_arenas, sizeof mheap_arenas);
    mem_seal(mheap_span_map, sizeof mheap_span_map);
}

/* In the arenas behind the one it begins in, a span is entered at the first page only: a terabyte
 * would have a gigabyte of entries.  See mheap_span_covering. */
void arena_set_spans(uintptr_t base, size_t npages, struct mspan *s) {
    for (size_t i = 0; i < npages;) {
        size_t page = (base >> GM_PAGE_SHIFT) + i;
        size_t in_arena = page & (PAGES_PER_ARENA - 1);
        struct heap_arena *ha = mheap_arenas[page >> (ARENA_SHIFT - GM_PAGE_SHIFT)];
        atomic_store_explicit(&ha->spans[in_arena], s, memory_order_release);
        i += in_arena == 0 && i != 0 ? PAGES_PER_ARENA : 1;
    }
}

void arena_note_used(uintptr_t base, size_t npages) {
    /* Per arena, as an object may lie across several.  Go: allocNeedsZero. */
    uintptr_t end = base + (npages << GM_PAGE_SHIFT);
    while (base < end) {
        struct heap_arena *ha = mheap_arenas[base >> ARENA_SHIFT];
        uintptr_t stop = align_up(base + 1, HEAP_ARENA_BYTES);
        if (stop > end)
            stop = end;
        if (stop - ha->base > ha->zeroed_base)
            ha->zeroed_base = stop - ha->base;
        base = stop;
    }
}
