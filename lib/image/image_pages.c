/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "chunk", "summary" and "arena": the heap as the page allocator tells it.
 *
 * Bitmaps and summaries are guarded by the heap's lock, which is taken for a batch of records at a
 * time; what has been grown never goes away, so the list of ranges may be copied once.  The
 * threads' page caches are read without their owners' knowledge: of what is read only pages that
 * the chunk's bitmap calls taken are believed.
 */
#include <string.h>

#include "image/image_private.h"
#include "heap/mheap.h"

#define CHUNK_BATCH   16  /* chunks copied under one hold of the lock: 4 KiB */
#define SUMMARY_BATCH 256 /* summaries looked at */

/* copy_ranges copies the grown ranges into the scratch memory and returns their number. */
static size_t copy_ranges(struct image_writer *w, struct addr_range **ret) {
    struct page_alloc *p = &mheap_.pages;
    size_t most = IMAGE_SCRATCH / sizeof **ret;
    *ret = (struct addr_range *)image_scratch(w);
    mutex_lock(&mheap_.lock);
    size_t n = p->in_use.len;
    if (n > most) {
        n = most;
        w->flags |= GOMALLOC_IMAGE_CUT;
    }
    if (n != 0)
        memcpy(*ret, p->in_use.ranges, n * sizeof **ret);
    mutex_unlock(&mheap_.lock);
    return n;
}

static void fill_chunk(struct gomalloc_chunk *r, struct chunk_idx c) {
    const struct palloc_data *d = page_alloc_chunk(&mheap_.pages, c);
    r->index = c.i;
    r->base = chunk_base(c);
    memcpy(r->alloc, d->alloc.w, sizeof r->alloc);
    memcpy(r->scavenged, d->scavenged.w, sizeof r->scavenged);
    /* The heap grows by whole chunks. */
    memset(r->grown, 0xff, sizeof r->grown);
}

static bool gather_chunk_range(struct image_writer *w, struct addr_range range) {
    struct image_table *t = &w->table[GOMALLOC_SECTION_CHUNK];
    struct chunk_idx c = chunk_index(range.base.a);
    struct chunk_idx end = chunk_index(range.limit.a - 1);
    while (c.i <= end.i) {
        struct gomalloc_chunk *r = image_table_room(t, CHUNK_BATCH * sizeof *r);
        if (r == NULL) {
            image_fail(w, -ENOMEM);
            return false;
        }
        size_t n = 0;
        mutex_lock(&mheap_.lock);
        for (; n < CHUNK_BATCH && c.i <= end.i; c.i++)
            fill_chunk(&r[n++], c);
        mutex_unlock(&mheap_.lock);
        image_table_commit(t, n * sizeof *r);
    }
    return true;
}

/* Ranges are sorted, and so are the records. */
struct gomalloc_chunk *image_find_chunk(const struct image_writer *w, uintptr_t addr) {
    struct gomalloc_chunk *r = (struct gomalloc_chunk *)w->table[GOMALLOC_SECTION_CHUNK].p;
    size_t lo = 0, hi = image_count(w, GOMALLOC_SECTION_CHUNK, sizeof *r);
    uint64_t want = chunk_index(addr).i;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (r[mid].index == want)
            return &r[mid];
        if (r[mid].index < want)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static void note_page_cache(struct image_writer *w, const struct page_cache *pc) {
    const volatile struct page_cache *live = pc; /* its thread may be writing it */
    uintptr_t base = live->base;
    uint64_t cache = live->cache, scav = live->scav;
    struct gomalloc_chunk *r = cache != 0 ? image_find_chunk(w, base) : NULL;
    if (r == NULL || base != live->base)
        return;
    unsigned word = chunk_page_index(base) / 64;
    r->cached[word] |= cache & r->alloc[word];
    r->scavenged[word] |= scav & r->cached[word];
}

void image_gather_chunks(struct image_writer *w) {
    struct addr_range *ranges;
    size_t n = copy_ranges(w, &ranges);
    for (size_t i = 0; i < n; i++)
        if (!gather_chunk_range(w, ranges[i]))
            return;
    uint32_t nmcaches = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < nmcaches; i++)
        if (mcaches.all[i] != NULL)
            note_page_cache(w, &mcaches.all[i]->pcache);
}

static void fill_summary(struct gomalloc_summary *r, unsigned level, uintptr_t i,
                         struct palloc_sum s) {
    r->level = level;
    r->index = i;
    r->base = level_index_to_off_addr(level, i).a;
    r->npages = (uint64_t)1 << level_log_pages(level);
    r->start = palloc_sum_start(s);
    r->max = palloc_sum_max(s);
    r->end = palloc_sum_end(s);
}

/* gather_entries gathers the entries [lo, hi) of a level. */
static bool gather_entries(struct image_writer *w, unsigned level, uintptr_t lo, uintptr_t hi) {
    struct image_table *t = &w->table[GOMALLOC_SECTION_SUMMARY];
    while (lo < hi) {
        struct gomalloc_summary *r = image_table_room(t, SUMMARY_BATCH * sizeof *r);
        if (r == NULL) {
            image_fail(w, -ENOMEM);
            return false;
        }
        size_t n = 0;
        uintptr_t stop = hi - lo > SUMMARY_BATCH ? lo + SUMMARY_BATCH : hi;
        mutex_lock(&mheap_.lock);
        for (; lo < stop; lo++) {
            struct palloc_sum s = page_alloc_summary(&mheap_.pages, level, lo);
            if (s.v != 0)
                fill_summary(&r[n++], level, lo, s);
        }
        mutex_unlock(&mheap_.lock);
        image_table_commit(t, n * sizeof *r);
    }
    return true;
}

void image_gather_summaries(struct image_writer *w) {
    struct addr_range *ranges;
    size_t n = copy_ranges(w, &ranges);
    for (unsigned level = 0; level < SUMMARY_LEVELS; level++) {
        uintptr_t next = 0; /* neighbouring ranges may share an entry */
        for (size_t i = 0; i < n; i++) {
            uintptr_t lo, hi;
            page_alloc_level_range(level, ranges[i], &lo, &hi);
            if (!gather_entries(w, level, lo > next ? lo : next, hi))
                return;
            next = hi;
        }
    }
}

/* The record of each arena by address >> ARENA_SHIFT, plus 1; 0: none.  Of the addresses from the
 * lowest arena to the highest: the program may have locked its memory, and then all of it is
 * backed. */
struct arena_index {
    uint32_t *record;
    uintptr_t first; /* address >> ARENA_SHIFT of record[0] */
    size_t n;
};

static size_t index_bytes(const struct arena_index *index) {
    return align_up(index->n * sizeof *index->record, PHYS_PAGE_SIZE);
}

/* Makes room for the narenas oldest arenas. */
static bool index_init(struct arena_index *index, uint32_t narenas) {
    uintptr_t first = NUM_ARENAS, last = 0;
    mutex_lock(&mheap_.lock);
    for (uint32_t i = 0; i < narenas; i++) {
        uintptr_t a = mheap_.all_arenas[i]->base >> ARENA_SHIFT;
        first = a < first ? a : first;
        last = a > last ? a : last;
    }
    mutex_unlock(&mheap_.lock);
    *index = (struct arena_index){.first = first, .n = last - first + 1};
    index->record = mem_alloc_sparse(index_bytes(index), MEM_AGENT);
    return index->record != NULL;
}

static struct gomalloc_arena *arena_of(struct image_writer *w, const struct arena_index *index,
                                       uintptr_t addr) {
    size_t at = (addr >> ARENA_SHIFT) - index->first;
    uint32_t i = at < index->n ? index->record[at] : 0;
    return i != 0 ? (struct gomalloc_arena *)w->table[GOMALLOC_SECTION_ARENA].p + (i - 1) : NULL;
}

static bool add_arenas(struct image_writer *w, struct arena_index *index, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        struct gomalloc_arena *r =
            image_add(w, GOMALLOC_SECTION_ARENA, sizeof(struct gomalloc_arena));
        if (r == NULL)
            return false;
        mutex_lock(&mheap_.lock);
        r->base = mheap_.all_arenas[i]->base;
        r->zeroed_base = mheap_.all_arenas[i]->zeroed_base;
        mutex_unlock(&mheap_.lock);
        r->size = HEAP_ARENA_BYTES;
        r->reserved_bytes = HEAP_ARENA_BYTES;
        index->record[(r->base >> ARENA_SHIFT) - index->first] = i + 1;
    }
    return true;
}

/* add_spans adds the pages of the spans to their arenas: a large one may lie in several. */
static void add_spans(struct image_writer *w, const struct arena_index *index) {
    const struct gomalloc_span *s = (const struct gomalloc_span *)w->table[GOMALLOC_SECTION_SPAN].p;
    size_t n = image_count(w, GOMALLOC_SECTION_SPAN, sizeof *s);
    for (size_t i = 0; i < n; i++) {
        uintptr_t p = s[i].base, end = p + (s[i].npages << GM_PAGE_SHIFT);
        while (p < end) {
            uintptr_t next = align_down(p, HEAP_ARENA_BYTES) + HEAP_ARENA_BYTES;
            uintptr_t stop = next < end ? next : end;
            struct gomalloc_arena *r = arena_of(w, index, p);
            if (r != NULL)
                r->in_use_pages += (stop - p) >> GM_PAGE_SHIFT;
            p = stop;
        }
    }
}

static unsigned count_bits(const uint64_t *a, const uint64_t *b) {
    unsigned n = 0;
    for (unsigned i = 0; i < PALLOC_WORDS; i++)
        n += (unsigned)__builtin_popcountll(a[i] & b[i]);
    return n;
}

static void add_chunks(struct image_writer *w, const struct arena_index *index) {
    const struct gomalloc_chunk *c =
        (const struct gomalloc_chunk *)w->table[GOMALLOC_SECTION_CHUNK].p;
    size_t n = image_count(w, GOMALLOC_SECTION_CHUNK, sizeof *c);
    for (size_t i = 0; i < n; i++) {
        struct gomalloc_arena *r = arena_of(w, index, c[i].base);
        if (r == NULL)
            continue;
        uint64_t free[PALLOC_WORDS];
        for (unsigned k = 0; k < PALLOC_WORDS; k++)
            free[k] = c[i].grown[k] & (~c[i].alloc[k] | c[i].cached[k]);
        uint64_t grown = (uint64_t)count_bits(c[i].grown, c[i].grown) << GM_PAGE_SHIFT;
        uint64_t scavenged = count_bits(free, c[i].scavenged);
        r->free_pages += count_bits(free, free);
        r->scavenged_pages += scavenged;
        r->reserved_bytes -= grown;
        r->prepared_bytes += scavenged << GM_PAGE_SHIFT;
        r->ready_bytes += grown - (scavenged << GM_PAGE_SHIFT);
    }
}

void image_gather_arenas(struct image_writer *w) {
    uint32_t n = atomic_load_explicit(&mheap_.narenas, memory_order_acquire);
    struct arena_index index;
    if (n == 0)
        return;
    if (!index_init(&index, n)) {
        image_fail(w, -ENOMEM);
        return;
    }
    if (add_arenas(w, &index, n)) {
        add_spans(w, &index);
        add_chunks(w, &index);
    }
    mem_free(index.record, index_bytes(&index), MEM_AGENT, 0, index_bytes(&index));
}
