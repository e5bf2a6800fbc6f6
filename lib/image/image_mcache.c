/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "mcache" and "mcache_class": what each thread's cache holds.
 *
 * An mcache is its thread's alone, and is read here while that thread goes on.  What makes it safe:
 * mcaches are never unmapped, span headers are type-stable, and every word read is bounded before
 * it is used.  What makes it worth something: at rest it is exact, and since spans and hints are
 * counted in the mcache itself, but free slots in the spans that section "span" tells of, the two
 * can be compared (v1_balance).
 *
 * Records of "mcache_class" come in the order of mcaches and span classes, but for classes that
 * have nothing but spans of no list (full ones, mostly), which come behind.
 */
#include <string.h>

#include "image/image_private.h"
#include "heap/mheap.h"

/* What a thread may be writing just now, in one reading. */
#define peek(lvalue) __atomic_load_n(&(lvalue), __ATOMIC_RELAXED)

uint32_t image_count_pending(const struct span_owner *o) {
    uint32_t most = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire), n = 0;
    const struct mspan *s = atomic_load_explicit(&o->pending, memory_order_acquire);
    for (; s != NULL && n < most; n++)
        s = atomic_load_explicit(&s->pending_next, memory_order_acquire);
    return n;
}

static uint64_t sample_distance(const struct mcache *c) {
    /* INT64_MAX / 2: nobody counts down from there, recording is off. */
    int64_t n = peek(c->next_sample);
    return n >= 0 && n < INT64_MAX / 2 ? (uint64_t)n : GOMALLOC_NO_SAMPLE;
}

static void fill_tiny(struct gomalloc_mcache *r, const struct mcache *c) {
    r->tiny = peek(c->tiny);
    r->tiny_offset = r->tiny != 0 ? peek(c->tiny_offset) : 0;
}

static void fill_pages(struct gomalloc_mcache *r, const struct page_cache *pc) {
    uintptr_t base = peek(pc->base);
    uint64_t free = peek(pc->cache), scav = peek(pc->scav);
    if (free == 0 || base != peek(pc->base))
        return;
    r->pcache_base = base;
    r->pcache_free = free;
    r->pcache_scavenged = scav & free;
    r->pcache_npages = (uint32_t)__builtin_popcountll(free);
    r->pcache_nscavenged = (uint32_t)__builtin_popcountll(scav & free);
}

static void fill_large(struct gomalloc_mcache *r, const struct mcache *c) {
    for (size_t npages = 1; npages <= LARGE_KEEP_PAGES; npages++) {
        if ((peek(c->large.used[npages / 64]) >> (npages % 64) & 1) == 0)
            continue;
        const struct mcache_entry *e = &c->large_alloc[npages];
        size_t n = (size_t)(peek(e->sp) - peek(e->bottom));
        r->nlarge += n <= LARGE_KEEP_HINTS ? (uint32_t)n : 0;
        r->large_bytes += n <= LARGE_KEEP_HINTS ? n * npages << GM_PAGE_SHIFT : 0;
    }
}

static void fill_stacks(struct gomalloc_mcache *r, const struct stack_cache *stacks) {
    for (unsigned guard = 0; guard < 2; guard++)
        for (unsigned order = 0; order < NUM_STACK_ORDERS; order++) {
            size_t n = peek(stacks->list[guard][order].n);
            if (n > stack_list_room(order))
                continue;
            r->nstacks += (uint32_t)n;
            r->stack_bytes += n * stack_bytes(order);
        }
}

static void fill_mcache(struct gomalloc_mcache *r, const struct mcache *c) {
    r->flags = (peek(c->attached) ? GOMALLOC_MCACHE_ATTACHED : 0) |
               (peek(c->orphan) ? GOMALLOC_MCACHE_ORPHAN : 0);
    r->next_sample = sample_distance(c);
    fill_tiny(r, c);
    fill_pages(r, &c->pcache);
    fill_large(r, c);
    fill_stacks(r, &c->stacks);
    r->npending = image_count_pending(&c->owner);
    r->flush_gen = peek(c->flush_gen);
    r->nrefill = atomic_load_explicit(&c->nrefill, memory_order_relaxed);
    r->nspan_alloc = atomic_load_explicit(&c->nspan_alloc, memory_order_relaxed);
    r->nspan_free = atomic_load_explicit(&c->nspan_free, memory_order_relaxed);
}

void image_gather_mcaches(struct image_writer *w) {
    size_t n = image_count(w, GOMALLOC_SECTION_THREAD, sizeof(struct gomalloc_thread));
    for (uint32_t i = 0; i < n; i++) {
        struct gomalloc_mcache *r =
            image_add(w, GOMALLOC_SECTION_MCACHE, sizeof(struct gomalloc_mcache));
        if (r == NULL)
            return;
        r->mcache = i;
        if (mcaches.all[i] != NULL)
            fill_mcache(r, mcaches.all[i]);
    }
}

/* ---- span classes ------------------------------------------------------------------------- */

/* The record of each (mcache, span class), plus 1; 0: none.  Sparse. */
struct class_index {
    uint32_t *record;
    size_t nmcaches;
};

static size_t index_bytes(size_t nmcaches) {
    return align_up(nmcaches * NUM_SPAN_CLASSES * sizeof(uint32_t), PHYS_PAGE_SIZE);
}

/* class_record returns the record of a span class of an mcache, which it makes if need be, or NULL
 * after image_fail. */
static struct gomalloc_mcache_class *class_record(struct image_writer *w,
                                                  const struct class_index *index, uint32_t mcache,
                                                  uint32_t spc) {
    const size_t size = sizeof(struct gomalloc_mcache_class);
    uint32_t *at = &index->record[mcache * NUM_SPAN_CLASSES + spc];
    if (*at == 0) {
        struct gomalloc_mcache_class *r = image_add(w, GOMALLOC_SECTION_MCACHE_CLASS, size);
        if (r == NULL)
            return NULL;
        r->mcache = mcache;
        r->span_class = spc;
        *at = (uint32_t)image_count(w, GOMALLOC_SECTION_MCACHE_CLASS, size);
    }
    struct image_table *t = &w->table[GOMALLOC_SECTION_MCACHE_CLASS];
    return (struct gomalloc_mcache_class *)t->p + (*at - 1);
}

static uint64_t base_of(const struct mspan *s) {
    struct mspan copy;
    return s != NULL && mheap_read_span(s, &copy) ? copy.base : 0;
}

/* add_entry makes the record of a class in which the mcache itself has something. */
static bool add_entry(struct image_writer *w, const struct class_index *index, uint32_t mcache,
                      uint32_t spc) {
    const struct mcache *c = mcaches.all[mcache];
    const struct mcache_entry *e = &c->alloc[spc];
    const struct hint *bottom = peek(e->bottom), *sp = peek(e->sp), *end = peek(e->end);
    uint64_t current = base_of(peek(e->span)), nlisted = peek(c->listed[spc].n);
    if (sp == bottom && current == 0 && nlisted == 0)
        return true;
    struct gomalloc_mcache_class *r = class_record(w, index, mcache, spc);
    if (r == NULL)
        return false;
    r->current = current;
    r->nlisted = nlisted;
    r->nhints = (uint32_t)(sp - bottom);
    r->hint_capacity = (uint32_t)(end - bottom);
    return true;
}

/* add_span adds a span's free slots to the record of its owner and class. */
static bool add_span(struct image_writer *w, const struct class_index *index,
                     const struct gomalloc_span *s) {
    if (s->owner >= index->nmcaches)
        return true;
    struct gomalloc_mcache_class *r = class_record(w, index, s->owner, s->span_class);
    if (r == NULL)
        return false;
    uint32_t free = s->nelems - s->live;
    if (s->base == r->current) {
        r->current_free = free;
        r->search = s->freeindex;
    } else if (s->place == GOMALLOC_PLACE_LISTED) {
        r->listed_free += free;
    } else {
        r->nheld++;
        r->held_free += free;
    }
    return true;
}

static void gather_classes(struct image_writer *w, const struct class_index *index) {
    for (uint32_t i = 0; i < index->nmcaches; i++)
        for (uint32_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
            if (mcaches.all[i] != NULL && !add_entry(w, index, i, spc))
                return;
    const struct gomalloc_span *s = (const struct gomalloc_span *)w->table[GOMALLOC_SECTION_SPAN].p;
    size_t n = image_count(w, GOMALLOC_SECTION_SPAN, sizeof *s);
    for (size_t i = 0; i < n; i++)
        if (!add_span(w, index, &s[i]))
            return;
}

void image_gather_mcache_classes(struct image_writer *w) {
    struct class_index index = {
        .nmcaches = image_count(w, GOMALLOC_SECTION_THREAD, sizeof(struct gomalloc_thread))};
    if (index.nmcaches == 0)
        return;
    index.record = mem_alloc_sparse(index_bytes(index.nmcaches), MEM_AGENT);
    if (index.record == NULL) {
        image_fail(w, -ENOMEM);
        return;
    }
    gather_classes(w, &index);
    mem_free(index.record, index_bytes(index.nmcaches), MEM_AGENT, 0, index_bytes(index.nmcaches));
}
