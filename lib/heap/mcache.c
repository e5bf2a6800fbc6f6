/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads' caches.  Go: runtime/mcache.go; what Go's Ps do for mcaches is here too.
 */
#include "heap/mcache.h"

#include <pthread.h>

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
gm_tls bool mcache_ending;
struct mcaches mcaches = {.lock = MUTEX_INIT(LOCK_RANK_IDLE)};
static pthread_key_t exit_key;
static bool have_exit_key;

static uint32_t heap_sweepgen(void) {
    return atomic_load_explicit(&mheap_.sweepgen, memory_order_relaxed);
}

/* ---- hints and words -------------------------------------------------------------------- */

static uintptr_t take_hint(struct mcache_entry *e) {
    while (e->sp != e->bottom) {
        struct hint h = *--e->sp;
        uint64_t *word = (uint64_t *)(h.bit_addr >> 6 << 3);
        uint64_t bit = UINT64_C(1) << (h.bit_addr & 63);
        uint64_t v = __atomic_load_n(word, __ATOMIC_RELAXED);
        if (v & bit) {
            __atomic_store_n(word, v & ~bit, __ATOMIC_RELAXED);
            return h.p;
        }
        e->fresh = 0;
    }
    return 0;
}

static uintptr_t take_from_word(struct mcache_entry *e, struct mspan *s, size_t w) {
    uint64_t *word = &mspan_free_bits(s)[w];
    uint64_t v = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (v == 0)
        return 0;
    e->word = word;
    e->word_base = s->base + w * 64 * e->elem_size;
    s->freeindex = (uint16_t)w;
    __atomic_store_n(word, v & (v - 1), __ATOMIC_RELAXED);
    return e->word_base + (size_t)__builtin_ctzll(v) * e->elem_size;
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
static void drain_pending(struct mcache *c) {
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

/* What is freed of an ended thread's objects should serve the living before the heap grows: looks
 * at a few of the idle mcaches, others at each call.  Returns whether there was something. */
static bool drain_some_idle(void) {
    bool any = false;
    if (atomic_load_explicit(&mcaches.nidle, memory_order_relaxed) == 0 ||
        !mutex_try_lock(&mcaches.lock))
        return false;
    for (unsigned k = 0; k < 8; k++) {
        struct mcache *c = mcaches.all[mcaches.next_drained++ % mcaches.n];
        if (c->attached || c->orphan ||
            atomic_load_explicit(&c->owner.pending, memory_order_relaxed) == NULL)
            continue;
        drain_pending(c);
        any = true;
    }
    mutex_unlock(&mcaches.lock);
    return any;
}

/* Go: mcache.refill. */
static uintptr_t refill(struct mcache *c, struct mcache_entry *e, struct span_class spc) {
    mcache_count(&c->nrefill);
    mcache_flush_if_due(c);
    drain_pending(c);
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
    if (drain_some_idle()) {
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
    uintptr_t p = take_hint(e);
    if (p != 0)
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
    drain_pending(c);
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
    drain_pending(c);
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

/* ---- threads ------------------------------------------------------------------------------ */

size_t mcache_hints_of(struct span_class spc) {
    return class_to_size[spc.v >> 1] <= SMALL_HINTS_TO ? SMALL_HINTS : LARGE_HINTS;
}

/* Gives each class its part of the stack, all scan classes first: which of their pages are touched
 * is most of what an mcache costs, and few programs use noscan classes. */
static void place_hints(struct mcache *c) {
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

static struct mcache *new_mcache(void) {
    uint32_t id = atomic_load_explicit(&mcaches.n, memory_order_relaxed);
    if (!mem_table_reach(&mcaches.table, (id + 1) * sizeof *mcaches.all))
        return NULL;
    size_t hints = NUM_SPAN_CLASSES * SMALL_HINTS * sizeof(struct hint) /* at most */
                   + (LARGE_KEEP_PAGES + 1) * LARGE_KEEP_HINTS * sizeof(struct hint);
    struct mcache *c = mem_alloc_sparse(align_up(sizeof *c + hints, 4096), MEM_MCACHE);
    if (c == NULL)
        return NULL;
    place_hints(c);
    c->owner.id = id;
    mcaches.all[id] = c;
    atomic_store_explicit(&mcaches.n, id + 1, memory_order_release);
    return c;
}

/* Has every span with marks wait for its owner, as who waited for whom is unknown.  Other threads
 * may be at it too; the lock keeps the headers as they are. */
static void note_all_marks(uint32_t nspans) {
    mutex_lock(&mheap_.lock);
    for (uint32_t i = 0; i < nspans; i++) {
        struct mspan *s = mheap_.allspans[i];
        if (atomic_load_explicit(&s->state, memory_order_relaxed) == GOMALLOC_SPAN_IN_USE &&
            s->elem_size != 0 && mspan_has_marks(s))
            mspan_note_pending(s);
    }
    mutex_unlock(&mheap_.lock);
}

/* Spans of threads that were lost in a fork have no list that can be trusted: walk them all.
 * mcaches.lock is held. */
static void rebuild_orphans(void) {
    uint32_t n = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        struct mspan *s = mheap_.allspans[i];
        /* Before the owner: of his spans others take away only large ones. */
        bool large = __atomic_load_n(&s->elem_size, __ATOMIC_ACQUIRE) == 0;
        const struct span_owner *o = mspan_owner(s);
        if (o == NULL || o->id >= mcaches.n || !mcaches.all[o->id]->orphan)
            continue;
        if (large) {
            large_rescue(s, o);
            continue;
        }
        s->place = GOMALLOC_PLACE_NONE;
        s->next = s->prev = NULL;
        mspan_finish_sweep(s);
        mcentral_uncache_span(&mheap_.central[s->spc.v], s);
    }
    note_all_marks(n);
    for (uint32_t i = 0; i < mcaches.n; i++)
        if (mcaches.all[i]->orphan) {
            mcaches.all[i]->orphan = false;
            mcache_release(mcaches.all[i]);
        }
    mcaches.have_orphans = false;
}

static struct mcache *take_idle(void) {
    if (mcaches.have_orphans)
        rebuild_orphans();
    struct mcache *c = mcaches.idle;
    if (c != NULL) {
        mcaches.idle = c->next_idle;
        atomic_fetch_sub_explicit(&mcaches.nidle, 1, memory_order_relaxed);
    }
    return c != NULL ? c : new_mcache();
}

static void on_thread_exit(void *unused) {
    (void)unused;
    mcache_ending = true;
    mcache_detach();
}

/* The first caller makes the heap.  mcaches.lock is held. */
static bool init_once(void) {
    if (mheap_is_ready(&mheap_))
        return true;
    if (mcaches.all == NULL &&
        !mem_table_init(&mcaches.table, MAX_MCACHES * sizeof *mcaches.all, MEM_MCACHE))
        return false;
    mcaches.all = (struct mcache **)mcaches.table.base;
    if (!mheap_init(&mheap_))
        return false;
    have_exit_key = pthread_key_create(&exit_key, on_thread_exit) == 0;
    return true;
}

struct mcache *mcache_attach(void) {
    mutex_lock(&mcaches.lock);
    struct mcache *c = init_once() ? take_idle() : NULL;
    if (c != NULL)
        c->attached = true;
    mutex_unlock(&mcaches.lock);
    if (c == NULL)
        return NULL;
    atomic_store_explicit(&c->tid, (uint32_t)sys_call3(SYS_gettid, 0, 0, 0), memory_order_relaxed);
    c->flush_gen = heap_sweepgen();
    /* The thread before may have ended, or jumped, out of the recorder.  A thread that is ending
     * gets no stacks: an unwinder would keep what it allots to the thread. */
    atomic_store_explicit(&c->in_recorder, mcache_ending, memory_order_relaxed);
    /* Atomic: the recorder writes the same when the rate changes. */
    __atomic_store_n(&c->next_sample, NEXT_SAMPLE_UNKNOWN, __ATOMIC_RELAXED);
    mcache_self = c;
    if (have_exit_key && !mcache_ending) /* may allocate: this thread has its mcache by now */
        pthread_setspecific(exit_key, c);
    return c;
}

void mcache_detach(void) {
    struct mcache *c = mcache_self;
    if (c == &mcache0)
        return;
    mcache_self = &mcache0;
    mcache_release(c);
    atomic_store_explicit(&c->tid, 0, memory_order_relaxed);
    mutex_lock(&mcaches.lock);
    c->attached = false;
    c->next_idle = mcaches.idle;
    mcaches.idle = c;
    atomic_fetch_add_explicit(&mcaches.nidle, 1, memory_order_relaxed);
    mutex_unlock(&mcaches.lock);
}

size_t mcaches_reclaim_idle(void) {
    mutex_lock(&mcaches.lock);
    if (mcaches.have_orphans)
        rebuild_orphans();
    size_t n = 0;
    for (struct mcache *c = mcaches.idle; c != NULL; c = c->next_idle) {
        if (atomic_load_explicit(&c->owner.pending, memory_order_relaxed) == NULL)
            continue;
        mcache_release(c);
        n++;
    }
    mutex_unlock(&mcaches.lock);
    return n;
}

/* Lists that a lost thread may have been changing: their spans are found again by
 * rebuild_orphans. */
static void forget_lists(struct mcache *c) {
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

/* Lost threads may have stopped amid the lists of spans that wait (mspan.c): begin anew. */
static void forget_pending(void) {
    mspan_forget_pending();
    for (uint32_t i = 0; i < mcaches.n; i++)
        atomic_store_explicit(&mcaches.all[i]->owner.pending, NULL, memory_order_relaxed);
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        atomic_store_explicit(&mheap_.central[spc].owner.pending, NULL, memory_order_relaxed);
}

void mcaches_after_fork(void) {
    mcaches.idle = NULL;
    uint32_t nidle = 0;
    for (uint32_t i = 0; i < mcaches.n; i++) {
        struct mcache *c = mcaches.all[i];
        if (c == mcache_self)
            continue;
        c->orphan = c->attached;
        mcaches.have_orphans |= c->attached;
        mcaches.nlost += c->attached;
        if (c->attached)
            forget_lists(c);
        c->attached = false;
        atomic_store_explicit(&c->tid, 0, memory_order_relaxed);
        c->next_idle = mcaches.idle;
        mcaches.idle = c;
        nidle++;
    }
    atomic_store_explicit(&mcaches.nidle, nidle, memory_order_relaxed);
    if (mcaches.have_orphans)
        forget_pending();
    if (mcache_self != &mcache0)
        atomic_store_explicit(&mcache_self->tid, (uint32_t)sys_call3(SYS_gettid, 0, 0, 0),
                              memory_order_relaxed);
}
