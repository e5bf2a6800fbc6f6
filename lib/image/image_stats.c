/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "memstat", "transition" and "counter": what is counted rather than found in the heap.
 */
#include <string.h>

#include "image/agent_stats.h"
#include "image/image_private.h"
#include "heap/mguard.h"
#include "heap/mheap.h"
#include "prof/history.h"
#include "prof/prof.h"
#include "prof/watch.h"

#define TRANSITIONS_BYTES (MEM_NPURPOSES * MEM_NTRANSITIONS * sizeof(struct gomalloc_transition))

void image_gather_memstats(struct image_writer *w) {
    /* The room for both tables is agent's memory, too: first, so that the two tell the same. */
    if (image_wants(w, GOMALLOC_SECTION_TRANSITION))
        image_table_room(&w->table[GOMALLOC_SECTION_TRANSITION], TRANSITIONS_BYTES);
    for (unsigned i = 0; i < MEM_NPURPOSES; i++) {
        struct gomalloc_memstat *r =
            image_add(w, GOMALLOC_SECTION_MEMSTAT, sizeof(struct gomalloc_memstat));
        if (r == NULL)
            return;
        struct mem_stat *s = &mem_stats[i];
        memcpy(r->name, s->name, sizeof r->name);
        r->reserved = atomic_load_explicit(&s->reserved, memory_order_relaxed);
        r->prepared = atomic_load_explicit(&s->prepared, memory_order_relaxed);
        r->ready = atomic_load_explicit(&s->ready, memory_order_relaxed);
        r->used = atomic_load_explicit(&s->used, memory_order_relaxed);
    }
}

static bool add_transition(struct image_writer *w, const struct mem_stat *s, unsigned t) {
    const struct mem_transition_kind *kind = &mem_transitions[t];
    struct gomalloc_transition *r =
        image_add(w, GOMALLOC_SECTION_TRANSITION, sizeof(struct gomalloc_transition));
    if (r == NULL)
        return false;
    memcpy(r->purpose, s->name, sizeof r->purpose);
    memcpy(r->name, kind->name, strnlen(kind->name, sizeof r->name - 1));
    r->from = kind->from;
    r->to = kind->to;
    r->ncalls = atomic_load_explicit(&s->calls[t], memory_order_relaxed);
    r->bytes = atomic_load_explicit(&s->moved[t], memory_order_relaxed);
    return true;
}

void image_gather_transitions(struct image_writer *w) {
    static_assert(MEM_NONE == (int)GOMALLOC_MEMORY_NONE && MEM_READY == (int)GOMALLOC_MEMORY_READY,
                  "the image numbers the states as we do");
    for (unsigned i = 0; i < MEM_NPURPOSES; i++)
        for (unsigned t = 0; t < MEM_NTRANSITIONS; t++)
            if (!add_transition(w, &mem_stats[i], t))
                return;
}

/* counter_named returns the counter of that name, or NULL. */
static struct gomalloc_counter *counter_named(struct image_writer *w, const char *name) {
    struct gomalloc_counter *r = (struct gomalloc_counter *)w->table[GOMALLOC_SECTION_COUNTER].p;
    size_t n = image_count(w, GOMALLOC_SECTION_COUNTER, sizeof *r);
    for (size_t i = 0; i < n; i++)
        if (strncmp(r[i].name, name, sizeof r[i].name - 1) == 0)
            return &r[i];
    return NULL;
}

/* count adds a counter.  A name is told once: what several parts count under it is added up. */
static void count(struct image_writer *w, const char *name, const char *unit, uint64_t value) {
    struct gomalloc_counter *r = counter_named(w, name);
    if (r != NULL) {
        r->value += value;
        return;
    }
    r = image_add(w, GOMALLOC_SECTION_COUNTER, sizeof(struct gomalloc_counter));
    if (r == NULL)
        return;
    memcpy(r->name, name, strnlen(name, sizeof r->name - 1));
    memcpy(r->unit, unit, strnlen(unit, sizeof r->unit - 1));
    r->value = value;
}

static uint64_t load(const _Atomic uint64_t *n) {
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void count_heap(struct image_writer *w) {
    const struct mheap *h = &mheap_;
    count(w, "heap.pages_in_use", "pages", load(&h->pages_in_use));
    count(w, "heap.grow", "calls", load(&h->ngrow));
    count(w, "heap.huge_refused", "calls", load(&h->nhuge_refused));
    count(w, "heap.reclaim", "calls", load(&h->nreclaim));
    count(w, "heap.large_alloc", "objects", large_count());
    count(w, "heap.span_headers", "spans",
          atomic_load_explicit(&h->nallspans, memory_order_relaxed));
    count(w, "heap.stack_guards", "guards", mguard_count());
    count(w, "heap.sweepgen", "cycles", atomic_load_explicit(&h->sweepgen, memory_order_relaxed));
}

static void count_pages(struct image_writer *w) {
    struct page_alloc *p = &mheap_.pages;
    struct scavenger *s = &mheap_.scav;
    mutex_lock(&mheap_.lock);
    uint64_t grown = p->npages_grown, in_use = p->npages_in_use, scavenged = p->npages_scavenged;
    uint64_t released = p->npages_released, reused = p->npages_reused;
    uint64_t calls = p->nscavenge_calls;
    mutex_unlock(&mheap_.lock);
    count(w, "pages.grown", "pages", grown);
    count(w, "pages.in_use", "pages", in_use);
    count(w, "pages.scavenged", "pages", scavenged);
    count(w, "scavenger.released", "pages", released);
    count(w, "scavenger.reused", "pages", reused);
    count(w, "scavenger.calls", "calls", calls);
    count(w, "scavenger.regrets", "windows", s->nregrets);
    count(w, "scavenger.time", "ns", s->worked_ns);
}

static void count_central(struct image_writer *w) {
    uint64_t ncache = 0, nuncache = 0;
    for (unsigned i = 0; i < NUM_SPAN_CLASSES; i++) {
        struct mcentral *c = &mheap_.central[i];
        mutex_lock(&c->lock);
        ncache += c->ncache;
        nuncache += c->nuncache;
        mutex_unlock(&c->lock);
    }
    count(w, "mcentral.cache_span", "spans", ncache);
    count(w, "mcentral.uncache_span", "spans", nuncache);
}

static void count_mcaches(struct image_writer *w) {
    uint64_t refill = 0, alloc = 0, freed = 0;
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        const struct mcache *c = mcaches.all[i];
        refill += load(&c->nrefill);
        alloc += load(&c->nspan_alloc);
        freed += load(&c->nspan_free);
    }
    count(w, "mcache.made", "mcaches", n);
    count(w, "mcache.idle", "mcaches", atomic_load_explicit(&mcaches.nidle, memory_order_relaxed));
    count(w, "mcache.refill", "calls", refill);
    count(w, "mcache.span_alloc", "spans", alloc);
    count(w, "mcache.span_free", "spans", freed);
}

static void count_history(struct image_writer *w) {
    struct history_counts n = history_counts();
    count(w, "history.ticks", "ticks", n.ticks);
    count(w, "history.turns", "turns", n.turns);
    count(w, "history.time", "ns", n.worked_ns);
}

void image_gather_counters(struct image_writer *w) {
    count_heap(w);
    count_pages(w);
    count_central(w);
    count_mcaches(w);
    count_history(w);
    struct prof_counter c;
    for (unsigned i = 0; prof_counter(i, &c); i++)
        count(w, c.name, c.unit, c.value);
    for (unsigned i = 0; watch_counter(i, &c); i++)
        count(w, c.name, c.unit, c.value);
    for (unsigned i = 0; i < AGENT_NSTATS; i++)
        count(w, agent_stat_names[i].name, agent_stat_names[i].unit, load(&agent_stats[i]));
    count(w, "image.spans_dropped", "spans", w->ndropped);
}
