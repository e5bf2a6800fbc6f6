/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page allocator's own memory.  Go: runtime/mpagealloc_64bit.go.
 *
 * Each level of the radix tree is one array for the whole 48-bit address space:
 *
 *     level   an entry covers   entries    array
 *       0        16 GiB           2^14     128 KiB
 *       1         2 GiB           2^17       1 MiB
 *       2       256 MiB           2^20       8 MiB
 *       3        32 MiB           2^23      64 MiB
 *       4         4 MiB           2^26     512 MiB
 *
 * 585 MiB of address space, of which almost nothing is ever memory: it is Reserved at the start,
 * and the pages that hold the entries of a stretch of heap are mapped when that stretch is grown.
 * A 64 MiB heap needs the root (all 128 KiB of it: a search may scan it) and one page of each level
 * below, of which a search touches one line each.
 *
 * A search reads the block of 8 entries around the one it descends into, so whole blocks are
 * mapped.  Entries of mapped pages that no heap belongs to are zero: "nothing free there".
 *
 * Where the program's address space is limited (RLIMIT_AS counts what is Reserved, too), 585 MiB
 * may be all there is.  So in a compact allocator the arrays below the root have only the entries
 * of WINDOW_BYTES from WINDOW_BASE on, 2.3 MiB; the summary pointers point where entry 0 would be.
 * Elsewhere it can't grow.
 *
 * Departure: Go works out what is mapped already from the neighbouring ranges in inUse, and throws
 * when the kernel refuses.  Growing may fail here and be tried again, so a bit for each page of the
 * arrays (19 KiB) says whether it is mapped.
 */
#include "heap/mpagealloc_64bit.h"

#include "sys/throw.h"

#define SUMS_PER_OS_PAGE (PHYS_PAGE_SIZE / sizeof(struct palloc_sum))

static const size_t level_entries[SUMMARY_LEVELS] = {
    (size_t)1 << 14, (size_t)1 << 17, (size_t)1 << 20, (size_t)1 << 23, (size_t)1 << 26,
};

/* The first page of each level in summary_mapped. */
static const size_t level_first_page[SUMMARY_LEVELS] = {
    0, 32, 32 + 256, 32 + 256 + 2048, 32 + 256 + 2048 + 16384,
};

static_assert(SUMMARY_OS_PAGES * SUMS_PER_OS_PAGE ==
                  (1 << 14) + (1 << 17) + (1 << 20) + (1 << 23) + (1 << 26),
              "a bit for each page of the levels' arrays");

#define WINDOW_BASE  ((uintptr_t)0xc000000000) /* where the heap asks for its first arena */
#define WINDOW_BYTES ((uintptr_t)1 << 40)

/* The entries of a level that there is address space for: a number of pages. */
static void reserved_entries(const struct page_alloc *p, unsigned level, size_t *ret_lo,
                             size_t *ret_n) {
    bool all = !p->compact || level == 0;
    *ret_lo = all ? 0 : (WINDOW_BASE - ARENA_BASE_OFFSET) >> level_shift(level);
    *ret_n = all ? level_entries[level] : WINDOW_BYTES >> level_shift(level);
    size_t end = align_up(*ret_lo + *ret_n, SUMS_PER_OS_PAGE);
    *ret_lo = align_down(*ret_lo, SUMS_PER_OS_PAGE);
    *ret_n = end - *ret_lo;
}

static bool is_mapped(const struct page_alloc *p, size_t page) {
    return (p->summary_mapped[page / 64] >> (page % 64) & 1) != 0;
}

static void free_level(struct page_alloc *p, unsigned level) {
    size_t lo, n;
    reserved_entries(p, level, &lo, &n);
    size_t bytes = n * sizeof(struct palloc_sum), mapped = 0;
    for (size_t i = lo / SUMS_PER_OS_PAGE; i < (lo + n) / SUMS_PER_OS_PAGE; i++)
        mapped += is_mapped(p, level_first_page[level] + i) ? PHYS_PAGE_SIZE : 0;
    mem_free(p->summary[level] + lo, bytes, MEM_SUMMARY, bytes - mapped, 0);
    p->summary[level] = NULL;
}

bool page_alloc_sys_init(struct page_alloc *p) {
    for (unsigned l = 0; l < SUMMARY_LEVELS; l++) {
        size_t lo, n;
        reserved_entries(p, l, &lo, &n);
        struct palloc_sum *sums = mem_reserve(NULL, n * sizeof *sums, MEM_SUMMARY);
        if (sums != NULL) {
            p->summary[l] = (struct palloc_sum *)((uintptr_t)sums - lo * sizeof *sums);
            continue;
        }
        while (l-- > 0)
            free_level(p, l);
        return false;
    }
    return true;
}

void page_alloc_destroy(struct page_alloc *p) {
    for (unsigned l = 0; l < SUMMARY_LEVELS; l++)
        free_level(p, l);
    size_t n = align_up(sizeof(struct palloc_chunks), PHYS_PAGE_SIZE);
    for (size_t i = 0; i < (size_t)1 << PALLOC_CHUNKS_L1_BITS; i++) {
        struct palloc_chunks *l2 = atomic_load_explicit(&p->chunks[i], memory_order_relaxed);
        if (l2 != NULL)
            mem_free(l2, n, MEM_CHUNK, 0, 0);
        atomic_store_explicit(&p->chunks[i], NULL, memory_order_relaxed);
    }
}

bool page_alloc_summary_is_mapped(const struct page_alloc *p, unsigned level, uintptr_t index) {
    return is_mapped(p, level_first_page[level] + index / SUMS_PER_OS_PAGE);
}

/* map_pages maps the pages [lo, hi) of a level's array, none of which is mapped. */
static bool map_pages(struct page_alloc *p, unsigned level, size_t lo, size_t hi) {
    char *addr = (char *)p->summary[level] + lo * PHYS_PAGE_SIZE;
    size_t n = (hi - lo) * PHYS_PAGE_SIZE;
    if (!mem_map(addr, n, MEM_SUMMARY))
        return false;
    mem_used(addr, n, MEM_SUMMARY);
    p->summary_mapped_ready += n;
    for (size_t i = level_first_page[level] + lo; i < level_first_page[level] + hi; i++)
        p->summary_mapped[i / 64] |= (uint64_t)1 << (i % 64);
    return true;
}

/* grow_level maps those pages that hold the level's entries for [base, limit) and aren't mapped
 * yet. */
static bool grow_level(struct page_alloc *p, unsigned level, uintptr_t base, uintptr_t limit) {
    uintptr_t lo, hi;
    page_alloc_level_range(level, make_addr_range(base, limit), &lo, &hi);
    uintptr_t block = level == 0 ? level_entries[0] : 1 << SUMMARY_LEVEL_BITS;
    size_t page = align_down(lo, block) / SUMS_PER_OS_PAGE;
    size_t end = (align_up(hi, block) + SUMS_PER_OS_PAGE - 1) / SUMS_PER_OS_PAGE;
    size_t first = level_first_page[level];
    while (page < end) {
        size_t run = page;
        while (run < end && !is_mapped(p, first + run))
            run++;
        if (run > page && !map_pages(p, level, page, run))
            return false;
        page = run + 1; /* page `run` is mapped, or the end */
    }
    return true;
}

/* grow_chunks makes sure that there are bitmaps for the chunks [start, end). */
static bool grow_chunks(struct page_alloc *p, struct chunk_idx start, struct chunk_idx end) {
    for (uintptr_t i = start.i >> PALLOC_CHUNKS_L2_BITS; i <= (end.i - 1) >> PALLOC_CHUNKS_L2_BITS;
         i++) {
        if (atomic_load_explicit(&p->chunks[i], memory_order_relaxed) != NULL)
            continue;
        struct palloc_chunks *l2 =
            mem_alloc(align_up(sizeof(struct palloc_chunks), PHYS_PAGE_SIZE), MEM_CHUNK);
        if (l2 == NULL)
            return false;
        /* release: a reader without the lock sees zeroed bitmaps behind the pointer */
        atomic_store_explicit(&p->chunks[i], l2, memory_order_release);
    }
    return true;
}

bool page_alloc_sys_grow(struct page_alloc *p, uintptr_t base, uintptr_t limit) {
    if (base % PALLOC_CHUNK_BYTES != 0 || limit % PALLOC_CHUNK_BYTES != 0)
        throw_values("page_alloc_grow: not whole chunks", base, limit);
    if (p->compact && (base < WINDOW_BASE || limit > WINDOW_BASE + WINDOW_BYTES))
        return false;
    for (unsigned l = 0; l < SUMMARY_LEVELS; l++) {
        if (!grow_level(p, l, base, limit))
            return false;
    }
    return grow_chunks(p, chunk_index(base), chunk_index(limit));
}
