/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads' caches.  Go: runtime/mcache.go.
 */
#include "heap/mcache.h"

#include "heap/malloc.h"
#include "heap/mheap.h"
#include "heap/msize.h"
#include "heap/mslots.h"
#include "heap/mtiny.h"
#include "sys/rawcall.h"
#include "sys/throw.h"

/* What an entry without a span looks at.  Never written: a zero word has no bit to take. */
static uint64_t no_slots;

/* Its entries' words are NULL-free by static initialisation only of what the fast path reads before
 * it finds nothing: so each points to no_slots. */
#define EMPTY4(i)                                                                                  \
    [i] = {.word = &no_slots}, [(i) + 1] = {.word = &no_slots}, [(i) + 2] = {.word = &no_slots},   \
    [(i) + 3] = {.word = &no_slots}
#define EMPTY16(i) EMPTY4(i), EMPTY4((i) + 4), EMPTY4((i) + 8), EMPTY4((i) + 12)

struct mcache mcache0 = {
    .owner = {.id = UINT32_MAX},
    .next_sample = INT64_MAX,
    .alloc = {EMPTY16(0), EMPTY16(16), EMPTY16(32), EMPTY16(48), EMPTY16(64), EMPTY16(80),
              EMPTY16(96), EMPTY16(112), EMPTY4(128), EMPTY4(132)},
};

gm_tls struct mcache *mcache_self = &mcache0;

/* ---- hints and words -------------------------------------------------------------------- */

static uintptr_t take_from_word(struct mcache_entry *e, struct mspan *s, size_t w) {
    uint64_t *word = &mspan_free_bits(s)[w];
    uint64_t v = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (v == 0)
        return 0;
    e->word = word;
    e->word_base = s->base + w * 64 * e->elem_size;
    s->freeindex = (uint16_t)w;
    uintptr_t p = mcache_visible(e->word_base + (size_t)__builtin_ctzll(v) * e->elem_size);
    __atomic_store_n(word, v & (v - 1), __ATOMIC_RELAXED);
    return p;
}

/* Looks through all words of the current span, from where the search stands and round. */
static uintptr_t take_from_span(struct mcache_entry *e) {
    struct mspan *s = e->span;
    for (size_t i = 0; i < s->nwords; i++) {
        size_t w = s->freeindex + i;
        uintptr_t p = take_from_word(e, s, w < s->nwords ? w : w - s->nwords);
        if (p != 0)
            return p;
    }
    return 0;
}

static void set_current(struct mcache_entry *e, struct mspan *s) {
    if (e->span != NULL)
        e->span->place = GOMALLOC_PLACE_NONE;
    e->span = s;
    e->word = &no_slots;
    e->fresh = 0;
    if (s == NULL)
        return;
    s->place = GOMALLOC_PLACE_CURRENT;
    e->elem_size = s->elem_size;
}

void mcache_enlist(struct mcache *c, struct mspan *s) {
    gm_assert(s->place == GOMALLOC_PLACE_NONE);
    if (s->elem_size == 0) {
        large_overflow(c, s);
        return;
    }
    s->place = GOMALLOC_PLACE_LISTED;
    mspan_list_push(&c->listed[s->spc.v], s);
}

static void unlist(struct mcache *c, struct mspan *s) {
    mspan_list_remove(&c->listed[s->spc.v], s);
    s->place = GOMALLOC_PLACE_NONE;
}

/* ---- marks by other threads --------------------------------------------------------------- */

/* Sweeps the spans of ours that others have freed into.  An idle mcache's go to the mcentral. */
void mcache_drain_pending(struct mcache *c) {
    struct mspan *next;
    for (struct mspan *s = mspan_take_pending(&c->owner); s != NULL; s = next) {
        next = mspan_pop_pending(s);
        /* Before the owner is asked: see mlarge.c. */
        if (__atomic_load_n(&s->elem_size, __ATOMIC_RELAXED) == 0)
            continue;
        if (mspan_owner(s) != &c->owner) {
            mspan_note_pending(s);
            continue;
        }
        mspan_sweep(s, heap_sweepgen());
        c->alloc[s->spc.v].fresh = 0;
        if (s->place != GOMALLOC_PLACE_NONE || !mspan_has_free(s))
            continue;
        if (c->attached)
            mcache_enlist(c, s);
        else
            mcentral_uncache_span(&mheap_.central[s->spc.v], s);
    }
}

/* ---- refill ------------------------------------------------------------------------------- */

static uintptr_t use_listed(struct mcache *c, struct mcache_entry *e, struct span_class spc) {
    struct mspan *s;
    while ((s = c->listed[spc.v].first) != NULL) {
        unlist(c, s);
        set_current(e, s);
        uintptr_t p = take_from_span(e);
        if (p != 0)
            return p;
        set_current(e, NULL); /* its slots have been taken through hints */
    }
    return 0;
}

static uintptr_t use_span(struct mcache_entry *e, struct mspan *s) {
    if (s == NULL)
        return 0;
    s->freeindex = 0;
    set_current(e, s);
    return take_from_span(e);
}

static uintptr_t use_new_span(struct mcache *c, struct mcache_entry *e, struct span_class spc) {
    struct mspan *s = mheap_alloc(&mheap_, c, class_to_allocnpages[spc.v >> 1], spc, &c->owner);
    if (s == NULL)
        return 0;
    mcache_count(&c->nspan_alloc);
    uintptr_t p = use_span(e, s);
    e->fresh = !s->needzero;
    return p;
}

/* Go: mcache.refill. */
static uintptr_t refill(struct mcache *c, struct mcache_entry *e, struct span_class spc) {
    mcache_count(&c->nrefill);
    mcache_flush_if_due(c);
    mcache_drain_pending(c);
    uintptr_t p = use_listed(c, e, spc);
    if (p != 0)
        return p;
    p = use_span(e, mcentral_cache_span(&mheap_.central[spc.v], &c->owner));
    if (p != 0)
        return p;
    if (mheap_reclaim_due(&mheap_)) {
        mcache_flush(c);
        mheap_reclaim(&mheap_);
    }
    if (mcaches_drain_some()) {
        p = use_span(e, mcentral_cache_span(&mheap_.central[spc.v], &c->owner));
        if (p != 0)
            return p;
    }
    p = use_new_span(c, e, spc);
    if (p != 0)
        return p;
    /* Out of memory, unless what other classes keep can be had. */
    mcache_release(c);
    mheap_reclaim(&mheap_);
    p = use_span(e, mcentral_cache_span(&mheap_.central[spc.v], &c->owner));
    return p != 0 ? p : use_new_span(c, e, spc);
}

uintptr_t mcache_alloc_slow(struct mcache *c, struct span_class spc) {
    struct mcache_entry *e = &c->alloc[spc.v];
    uintptr_t p;
    if (mcache_pop_any(e, &p))
        return p;
    if (e->span != NULL) {
        p = take_from_span(e);
        if (p != 0)
            return p;
        if (mspan_sweep(e->span, heap_sweepgen()) != 0) {
            e->fresh = 0;
            return take_from_span(e);
        }
        set_current(e, NULL);
    }
    return refill(c, e, spc);
}

/* ---- giving back -------------------------------------------------------------------------- */

/* Forgets the hints of a class; spans that only hints knew of are listed. */
static void drop_hints(struct mcache *c, struct mcache_entry *e) {
    for (struct hint *h = e->bottom; h != e->sp; h++) {
        struct mspan *s = mheap_span_of(h->p);
        if (s->place == GOMALLOC_PLACE_NONE && mspan_has_free(s))
            mcache_enlist(c, s);
    }
    if (e->sp != e->bottom)
        e->fresh = 0;
    e->sp = e->bottom;
}

static void give_span(struct mcache *c, struct mspan *s) {
    unlist(c, s);
    mcache_count(&c->nspan_free);
    mcentral_uncache_span(&mheap_.central[s->spc.v], s);
}

/* Gives the class's listed spans back: the empty ones, or all. */
static void give_listed(struct mcache *c, size_t spc, bool all) {
    struct mspan *next;
    for (struct mspan *s = c->listed[spc].first; s != NULL; s = next) {
        next = s->next;
        mspan_sweep(s, heap_sweepgen());
        if (all || mspan_is_empty(s))
            give_span(c, s);
    }
}

/* ---- all of it ---------------------------------------------------------------------------- */

static void flush_pages(struct mcache *c) {
    mutex_lock(&mheap_.lock);
    page_cache_flush(&c->pcache, &mheap_.pages);
    mutex_unlock(&mheap_.lock);
}

void mcache_flush_if_due(struct mcache *c) {
    if (c->flush_gen != heap_sweepgen())
        mcache_flush(c);
}

void mcache_flush(struct mcache *c) {
    c->flush_gen = heap_sweepgen();
    mcache_drain_pending(c);
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++) {
        drop_hints(c, &c->alloc[spc]);
        give_listed(c, spc, false);
    }
    large_cache_flush(c);
    stack_flush(&c->stacks);
}

/* Full spans stay with the mcache until somebody frees into them. */
void mcache_release(struct mcache *c) {
    tiny_flush(c);
    mcache_drain_pending(c);
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++) {
        struct mcache_entry *e = &c->alloc[spc];
        drop_hints(c, e);
        struct mspan *s = e->span;
        set_current(e, NULL);
        if (s != NULL && mspan_has_free(s))
            mcache_enlist(c, s);
        give_listed(c, spc, true);
    }
    large_cache_flush(c);
    stack_flush(&c->stacks);
    flush_pages(c);
}

/* ---- beginning, and beginning anew -------------------------------------------------------- */

size_t mcache_hints_of(struct span_class spc) {
    return class_to_size[spc.v >> 1] <= SMALL_HINTS_TO ? SMALL_HINTS : LARGE_HINTS;
}

/* Gives each class its part of the stack, all scan classes first: which of their pages are touched
 * is most of what an mcache costs, and few programs use noscan classes. */
void mcache_place_hints(struct mcache *c) {
    struct hint *stack = (struct hint *)(c + 1);
    for (size_t i = 0; i < NUM_SPAN_CLASSES; i++) {
        struct span_class spc = make_span_class(i % NUM_SIZE_CLASSES, i >= NUM_SIZE_CLASSES);
        struct mcache_entry *e = &c->alloc[spc.v];
        e->sp = e->bottom = stack;
        e->end = stack += mcache_hints_of(spc);
        e->word = &no_slots;
    }
    c->large.hints = stack;
}

/* Lists that a lost thread may have been changing: their spans are found again by
 * mcaches.c. */
void mcache_forget_lists(struct mcache *c) {
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++) {
        struct mcache_entry *e = &c->alloc[spc];
        e->sp = e->bottom;
        e->span = NULL;
        e->fresh = 0;
        e->word = &no_slots;
        c->listed[spc] = (struct mspan_list){0};
    }
    large_cache_forget(c);
    stack_after_fork(&c->stacks, &mcache_self->stacks);
    tiny_flush(c);
}
