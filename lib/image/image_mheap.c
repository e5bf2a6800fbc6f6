/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "mcentral", "mheap" and "scavenger": the heap's own structures, below the threads'.
 *
 * Each is read under its lock.  As in section "mcache_class" the spans of a set are counted in the
 * set, and their free slots in the spans that section "span" tells of.
 */
#include "image/image_private.h"
#include "heap/mheap.h"

static uint64_t load(const _Atomic uint64_t *n) {
    return atomic_load_explicit(n, memory_order_relaxed);
}

static uint64_t set_size(const struct mspan_set *set) {
    return set->n + set->linked.n;
}

static void fill_mcentral(struct gomalloc_mcentral *r, struct mcentral *c) {
    mutex_lock(&c->lock);
    r->partial_swept = set_size(&c->partial_swept);
    r->partial_unswept = set_size(&c->partial_unswept);
    r->full_swept = set_size(&c->full_swept);
    r->full_unswept = set_size(&c->full_unswept);
    r->npending = image_count_pending(&c->owner);
    r->ncache = c->ncache;
    r->nuncache = c->nuncache;
    mutex_unlock(&c->lock);
}

/* count_free adds the free slots of the spans of the mcentrals' sets to r, by span class. */
static void count_free(struct image_writer *w, struct gomalloc_mcentral *r) {
    const struct gomalloc_span *s = (const struct gomalloc_span *)w->table[GOMALLOC_SECTION_SPAN].p;
    size_t n = image_count(w, GOMALLOC_SECTION_SPAN, sizeof *s);
    for (size_t i = 0; i < n; i++) {
        if (s[i].owner != GOMALLOC_OWNER_CENTRAL)
            continue;
        struct gomalloc_mcentral *c = &r[s[i].span_class];
        uint64_t free = s[i].nelems - s[i].live;
        if (s[i].place == GOMALLOC_PLACE_PARTIAL_SWEPT)
            c->partial_swept_free += free;
        else if (s[i].place == GOMALLOC_PLACE_PARTIAL_UNSWEPT)
            c->partial_unswept_free += free;
        else if (s[i].place == GOMALLOC_PLACE_FULL_SWEPT)
            c->full_swept_free += free;
        else if (s[i].place == GOMALLOC_PLACE_FULL_UNSWEPT)
            c->full_unswept_free += free;
    }
}

static bool says_something(const struct gomalloc_mcentral *r) {
    return (r->npending | r->partial_swept | r->partial_unswept | r->full_swept | r->full_unswept |
            r->ncache | r->nuncache) != 0;
}

void image_gather_mcentrals(struct image_writer *w) {
    struct gomalloc_mcentral all[NUM_SPAN_CLASSES] = {0};
    for (unsigned spc = 0; spc < NUM_SPAN_CLASSES; spc++) {
        all[spc].span_class = spc;
        if (mheap_is_ready(&mheap_))
            fill_mcentral(&all[spc], &mheap_.central[spc]);
    }
    count_free(w, all);
    for (unsigned spc = 0; spc < NUM_SPAN_CLASSES; spc++) {
        if (!says_something(&all[spc]))
            continue;
        struct gomalloc_mcentral *r = image_add(w, GOMALLOC_SECTION_MCENTRAL, sizeof *r);
        if (r == NULL)
            return;
        *r = all[spc];
    }
}

static void fill_pages(struct gomalloc_mheap *r, const struct page_alloc *p) {
    r->search_addr = p->search_addr.a == MAX_OFF_ADDR.a ? GOMALLOC_NOTHING_FREE : p->search_addr.a;
    r->chunk_start = p->start.i != 0 ? chunk_base(p->start) : 0;
    r->chunk_end = p->end.i != 0 ? chunk_base(p->end) : 0;
    r->pages_grown = p->npages_grown;
    r->pages_taken = p->npages_in_use;
    r->pages_scavenged = p->npages_scavenged;
    r->summary_bytes = p->summary_mapped_ready;
}

void image_gather_mheap(struct image_writer *w) {
    struct mheap *h = &mheap_;
    struct gomalloc_mheap *r = image_add(w, GOMALLOC_SECTION_MHEAP, sizeof *r);
    if (r == NULL || !mheap_is_ready(h))
        return;
    mutex_lock(&h->lock);
    fill_pages(r, &h->pages);
    r->arena_hint = h->arena_hint;
    r->cur_arena = h->cur_arena;
    r->cur_arena_end = h->cur_arena_end;
    mutex_unlock(&h->lock);
    r->sweepgen = atomic_load_explicit(&h->sweepgen, memory_order_relaxed);
    r->pages_in_use = load(&h->pages_in_use);
    r->reclaim_at = load(&h->reclaim_at);
    r->nspan_alloc = load(&h->nspan_alloc);
    r->nspan_free = load(&h->nspan_free);
    r->nlarge = large_count();
    r->ngrow = load(&h->ngrow);
    r->nreclaim = load(&h->nreclaim);
    r->nheaders = atomic_load_explicit(&h->nallspans, memory_order_relaxed);
}

void image_gather_scavenger(struct image_writer *w) {
    const struct scavenger *s = &mheap_.scav;
    const struct page_alloc *p = &mheap_.pages;
    struct gomalloc_scavenger *r = image_add(w, GOMALLOC_SECTION_SCAVENGER, sizeof *r);
    if (r == NULL || !mheap_is_ready(&mheap_))
        return;
    mutex_lock(&mheap_.lock);
    uint64_t now = raw_clock_ns(CLOCK_MONOTONIC);
    r->goal_bytes = scavenger_goal(s);
    r->retained_bytes = page_alloc_retained(p);
    r->peak_pages = p->npages_in_use_peak;
    r->last_peak = s->last_peak;
    r->released_pages = p->npages_released;
    r->reused_pages = p->npages_reused;
    r->ncalls = p->nscavenge_calls;
    r->nwindows = s->nwindows;
    r->nregrets = s->nregrets;
    r->window_ns = s->window_ns;
    r->window_left_ns = s->window_end_ns > now ? s->window_end_ns - now : 0;
    r->regretful = s->regretful;
    mutex_unlock(&mheap_.lock);
    /* The background thread's. */
    r->working = __atomic_load_n(&s->working, __ATOMIC_RELAXED);
    r->worked_ns = __atomic_load_n(&s->worked_ns, __ATOMIC_RELAXED);
}
