/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap: spans out of pages.  Go: runtime/mheap.go.
 */
#include "heap/mheap.h"

#include "heap/mslots.h"
#include "heap/mtiny.h"
#include "heap/malloc.h"
#include "sys/rawcall.h"
#include "sys/throw.h"

#include <sys/resource.h>
#include <time.h>

/* Where Go puts its heap: few other things live there, and 0xc0.. is easily told in a dump. */
#define ARENA_HINT ((uintptr_t)0xc000000000)

/* Span headers that the heap can have at all; the table of pointers to them is sparse. */
#define MAX_SPANS ((size_t)1 << 25)

/* Growth below this many pages is not worth looking for empty spans. */
#define RECLAIM_MIN_PAGES 32u

/* A sweep cycle at most once in this time. */
#define SWEEP_CYCLE_NS UINT64_C(1000000000)

/* A process that may have no more address space than this gets small tables: those of a compact
 * page allocator, and for so many spans and arenas. */
#define COMPACT_BELOW      ((uint64_t)4 << 30)
#define MAX_SPANS_COMPACT  ((size_t)1 << 20)
#define MAX_ARENAS_COMPACT ((size_t)1 << 14)

/* No initialiser: most of it is never touched, and should not come from the file. */
struct mheap mheap_;

static uint64_t nanotime(void) {
    struct timespec ts;
    sys_call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&ts, 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void add(_Atomic uint64_t *n, uint64_t d) {
    atomic_fetch_add_explicit(n, d, memory_order_relaxed);
}

/* Called for each header when it is used for the first time.  Go: recordspan. */
static void record_span(void *heap, void *header) {
    struct mheap *h = heap;
    struct mspan *s = header;
    s->index = atomic_load_explicit(&h->nallspans, memory_order_relaxed);
    h->allspans[s->index] = s;
    atomic_store_explicit(&h->nallspans, s->index + 1, memory_order_release);
}

/* The processors that the process may run on. */
static uint32_t count_processors(void) {
    uint64_t mask[128] = {0};
    long n = sys_call3(SYS_sched_getaffinity, 0, sizeof mask, (long)mask);
    uint32_t found = 0;
    for (long i = 0; i < n / 8; i++)
        found += (uint32_t)__builtin_popcountll(mask[i]);
    return found != 0 ? found : 1;
}

static bool little_address_space(void) {
    struct rlimit limit;
    return sys_call4(SYS_prlimit64, 0, RLIMIT_AS, 0, (long)&limit) == 0 &&
           limit.rlim_cur < COMPACT_BELOW;
}

/* Makes the tables.  False: the kernel refuses, and nothing is left of them. */
static bool make_tables(struct mheap *h) {
    bool compact = little_address_space();
    size_t spans = (compact ? MAX_SPANS_COMPACT : MAX_SPANS) * sizeof *h->allspans;
    size_t arenas = (compact ? MAX_ARENAS_COMPACT : NUM_ARENAS) * sizeof *h->all_arenas;
    h->pages.compact = compact;
    bool ok = mem_table_init(&h->span_table, spans, MEM_SPAN);
    ok = mem_table_init(&h->arena_table, arenas, MEM_ARENA) && ok;
    if (ok && page_alloc_init(&h->pages, &h->lock, false)) {
        h->allspans = (struct mspan **)h->span_table.base;
        h->all_arenas = (struct heap_arena **)h->arena_table.base;
        return true;
    }
    mem_table_free(&h->span_table);
    mem_table_free(&h->arena_table);
    return false;
}

bool mheap_init(struct mheap *h) {
    h->lock = (struct mutex)MUTEX_INIT(LOCK_RANK_MHEAP);
    if (!make_tables(h))
        return false;
    arenas_seal();
    for (unsigned spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        mcentral_init(&h->central[spc], (struct span_class){(uint8_t)spc});
    fixalloc_init(&h->spanalloc, sizeof(struct mspan), record_span, h, MEM_SPAN);
    h->spanalloc.zero = false; /* pending, gen and index outlive a header's use */
    scavenger_init(&h->scav, &h->pages, nanotime);
    h->owner.id = GOMALLOC_OWNER_HEAP;
    h->nprocessors = count_processors();
    h->arena_hint = ARENA_HINT;
    h->reclaim_at = RECLAIM_MIN_PAGES;
    h->sweepgen = 2;
    heap_init_classes();
    atomic_store_explicit(&h->ready, true, memory_order_release);
    return true;
}

/* ---- span headers ------------------------------------------------------------------------- */

static struct mspan *new_header(struct mheap *h) {
    size_t nspans = atomic_load_explicit(&h->nallspans, memory_order_relaxed);
    bool room = h->spanalloc.list != NULL ||
                mem_table_reach(&h->span_table, (nspans + 1) * sizeof *h->allspans);
    return room ? fixalloc_alloc(&h->spanalloc) : NULL;
}

static void set_class(struct mspan *s, struct span_class spc) {
    unsigned size_class = spc.v >> 1;
    s->spc = spc;
    s->entry_off = (uint32_t)(spc.v * sizeof(struct mcache_entry));
    __atomic_store_n(&s->elem_size, class_to_size[size_class], __ATOMIC_RELAXED);
    s->div_mul = class_to_divmagic[size_class];
    s->nelems =
        size_class == 0 ? 1 : (uint16_t)((s->npages << GM_PAGE_SHIFT) / class_to_size[size_class]);
    s->limit = size_class == 0 ? 0 : s->nelems * (uint64_t)s->elem_size;
}

/* Go: initSpan.  Departure: needzero comes from the scavenged bits, which on Linux say more than
 * zeroedBase: what was given back reads as zero too. */
static bool init_span(struct mheap *h, struct mspan *s, uintptr_t base, size_t npages,
                      struct span_class spc, struct span_owner *owner, uintptr_t scav) {
    atomic_fetch_add(&s->gen, 1);
    s->base = base;
    s->npages = (uint32_t)npages;
    set_class(s, spc);
    s->place = GOMALLOC_PLACE_NONE;
    s->freeindex = 0;
    s->needzero = scav != npages << GM_PAGE_SHIFT;
    if (spc.v >> 1 == 0)
        s->large_requested = 0;
    else
        s->sweepgen = atomic_load_explicit(&h->sweepgen, memory_order_relaxed);
    bool ok = mspan_init_bits(s);
    if (ok) {
        if (spc.v >> 1 == 0)
            s->free_bits0 = 0; /* the one object is the caller's */
        arena_set_spans(base, npages, s);
        arena_note_used(base, npages);
        atomic_store(&s->owner, (uintptr_t)owner);
        if (spc.v >> 1 == 0)
            large_set_entry(s);
        atomic_store_explicit(&s->state, GOMALLOC_SPAN_IN_USE, memory_order_release);
        add(&h->pages_in_use, npages);
        add(&h->nspan_alloc, 1);
    }
    atomic_fetch_add(&s->gen, 1);
    return ok;
}

/* Gives pages a header; gives them back if there is no memory for one. */
static struct mspan *make_span(struct mheap *h, uintptr_t base, size_t npages,
                               struct span_class spc, struct span_owner *owner, uintptr_t scav) {
    if (scav != 0)
        mem_used((void *)base, scav, MEM_HEAP);
    struct mspan *s = new_header(h);
    if (s != NULL && init_span(h, s, base, npages, spc, owner, scav))
        return s;
    if (s != NULL)
        fixalloc_free(&h->spanalloc, s);
    page_alloc_free(&h->pages, base, npages, false);
    return NULL;
}

/* Go has a page cache for each P, which is a processor; ours are those of the first mcaches, shared
 * with the others: a block of 64 pages for each thread is too much for programs of many threads. */
static struct page_cache *page_cache_of(struct mheap *h, const struct mcache *c) {
    return &mcaches.all[c->owner.id % h->nprocessors]->pcache;
}

/* Go: allocSpan's first part. */
static uintptr_t take_pages(struct mheap *h, struct mcache *c, size_t npages, uintptr_t *scav) {
    if (c == NULL || npages >= PAGE_CACHE_PAGES / 4)
        return page_alloc_alloc(&h->pages, npages, scav);
    struct page_cache *cache = page_cache_of(h, c);
    if (page_cache_empty(cache))
        *cache = page_alloc_alloc_to_cache(&h->pages);
    uintptr_t base = page_cache_alloc(cache, npages, scav);
    return base != 0 ? base : page_alloc_alloc(&h->pages, npages, scav);
}

/* take_pages, if need be of what the bins of large spans keep, or of pages that the heap grows by:
 * so many bytes, *ret_grown.  0 = out of memory. */
static uintptr_t find_pages(struct mheap *h, struct mcache *c, size_t npages, uintptr_t *scav,
                            size_t *ret_grown) {
    uintptr_t base = take_pages(h, c, npages, scav);
    if (base == 0 && h->bins.nspans != 0) {
        large_bins_drain(h);
        base = take_pages(h, c, npages, scav);
    }
    if (base == 0 && (*ret_grown = mheap_grow(h, npages)) != 0)
        base = take_pages(h, c, npages, scav);
    return base;
}

struct mspan *mheap_alloc(struct mheap *h, struct mcache *c, size_t npages, struct span_class spc,
                          struct span_owner *owner) {
    uintptr_t scav = 0;
    size_t grown = 0;
    struct mspan *s = NULL;
    mutex_lock(&h->lock);
    if (c != NULL && c->large.stale != NULL) {
        h->pages.stale = c->large.stale;
        h->pages.stale->base = 0; /* a page cache does not note what it gives */
    }
    uintptr_t base = find_pages(h, c, npages, &scav, &grown);
    h->pages.stale = NULL;
    if (base != 0)
        s = make_span(h, base, npages, spc, owner, scav);
    mutex_unlock(&h->lock);
    if (grown != 0)
        scavenge_for_growth(&h->scav, grown);
    return s;
}

struct mspan *mheap_alloc_aligned(struct mheap *h, size_t npages, size_t align_pages,
                                  struct span_owner *owner) {
    uintptr_t scav = 0;
    size_t grown = 0;
    struct mspan *s = NULL;
    mutex_lock(&h->lock);
    uintptr_t base = page_alloc_alloc_aligned(&h->pages, npages, align_pages, &scav);
    if (base == 0 && h->bins.nspans != 0) {
        large_bins_drain(h);
        base = page_alloc_alloc_aligned(&h->pages, npages, align_pages, &scav);
    }
    if (base == 0 && (grown = mheap_grow(h, npages + align_pages)) != 0)
        base = page_alloc_alloc_aligned(&h->pages, npages, align_pages, &scav);
    if (base != 0)
        s = make_span(h, base, npages, make_span_class(0, false), owner, scav);
    mutex_unlock(&h->lock);
    if (grown != 0)
        scavenge_for_growth(&h->scav, grown);
    return s;
}

/* ---- free --------------------------------------------------------------------------------- */

/* unbacked: its pages have been moved away. */
static void free_span(struct mheap *h, struct mspan *s, uint8_t state, bool unbacked) {
    mutex_assert_held(&h->lock);
    if (atomic_load_explicit(&s->state, memory_order_relaxed) != state)
        throw_values("mheap_free: span in another state", s->base, s->npages);
    /* Before its tables and bitmaps become another's. */
    atomic_fetch_add(&s->gen, 1);
    mslots_release(s);
    atomic_store(&s->owner, 0);
    atomic_store_explicit(&s->state, GOMALLOC_SPAN_DEAD, memory_order_release);
    mspan_release_bits(s);
    tiny_release_table(s);
    atomic_fetch_sub_explicit(&h->pages_in_use, s->npages, memory_order_relaxed);
    add(&h->nspan_free, 1);
    page_alloc_free(&h->pages, s->base, s->npages, unbacked);
    if (unbacked)
        page_alloc_mark_scavenged(&h->pages, s->base, s->npages);
    atomic_fetch_add(&s->gen, 1);
    fixalloc_free(&h->spanalloc, s);
}

void mheap_free_locked(struct mheap *h, struct mspan *s) {
    free_span(h, s, GOMALLOC_SPAN_IN_USE, false);
}

void mheap_free_unbacked(struct mheap *h, struct mspan *s) {
    bool unbacked = mem_unused((void *)s->base, (size_t)s->npages << GM_PAGE_SHIFT, MEM_HEAP);
    mutex_lock(&h->lock);
    free_span(h, s, GOMALLOC_SPAN_IN_USE, unbacked);
    mutex_unlock(&h->lock);
}

void mheap_free(struct mheap *h, struct mspan *s) {
    mutex_lock(&h->lock);
    free_span(h, s, GOMALLOC_SPAN_IN_USE, false);
    mutex_unlock(&h->lock);
}

/* ---- large objects that change their size ------------------------------------------------- */

static void resize(struct mheap *h, struct mspan *s, size_t npages) {
    atomic_fetch_add(&s->gen, 1);
    if (npages > s->npages)
        add(&h->pages_in_use, npages - s->npages);
    else
        atomic_fetch_sub_explicit(&h->pages_in_use, s->npages - npages, memory_order_relaxed);
    s->npages = (uint32_t)npages;
    large_set_entry(s);
    atomic_fetch_add(&s->gen, 1);
}

bool mheap_grow_in_place(struct mheap *h, struct mspan *s, size_t npages) {
    uintptr_t end = s->base + ((uintptr_t)s->npages << GM_PAGE_SHIFT);
    size_t more = npages - s->npages;
    uintptr_t scav = 0;
    mutex_lock(&h->lock);
    bool ok = page_alloc_alloc_at(&h->pages, end, more, &scav);
    if (ok) {
        if (scav != 0)
            mem_used((void *)end, scav, MEM_HEAP);
        arena_set_spans(end, more, s);
        arena_note_used(end, more);
        resize(h, s, npages);
    }
    mutex_unlock(&h->lock);
    return ok;
}

void mheap_shrink(struct mheap *h, struct mspan *s, size_t npages) {
    mutex_lock(&h->lock);
    size_t less = s->npages - npages;
    resize(h, s, npages);
    page_alloc_free(&h->pages, s->base + (npages << GM_PAGE_SHIFT), less, false);
    mutex_unlock(&h->lock);
}

/* ---- housekeeping ------------------------------------------------------------------------- */

static void drain_bins(struct mheap *h) {
    mutex_lock(&h->lock);
    large_bins_drain(h);
    mutex_unlock(&h->lock);
}

size_t mheap_scavenge(struct mheap *h) {
    if (!mheap_is_ready(h))
        return 0;
    drain_bins(h);
    return page_alloc_scavenge(&h->pages, SCAVENGE_ALL);
}

void mheap_reclaim(struct mheap *h) {
    add(&h->nreclaim, 1);
    mcaches_reclaim_idle();
    stack_reclaim();
    for (size_t spc = 2; spc < NUM_SPAN_CLASSES; spc++)
        mcentral_sweep(&h->central[spc]);
    drain_bins(h);
    uint64_t n = atomic_load_explicit(&h->pages_in_use, memory_order_relaxed);
    uint64_t step = n / 64 > RECLAIM_MIN_PAGES ? n / 64 : RECLAIM_MIN_PAGES;
    atomic_store_explicit(&h->reclaim_at, n + step, memory_order_relaxed);
}

/* A cycle asks every thread, by sweepgen, to give back its empty spans at its next refill.  Idle
 * processes are left alone: no span came or went, no cycle. */
static void sweep_cycle(struct mheap *h, uint64_t now_ns) {
    if (now_ns - h->last_aging_ns >= SWEEP_CYCLE_NS) {
        h->last_aging_ns = now_ns;
        mutex_lock(&h->lock);
        large_bins_age(h);
        mutex_unlock(&h->lock);
    }
    uint64_t work = atomic_load_explicit(&h->nspan_alloc, memory_order_relaxed) +
                    atomic_load_explicit(&h->nspan_free, memory_order_relaxed);
    if (now_ns - h->last_cycle_ns < SWEEP_CYCLE_NS || work == h->last_cycle_work)
        return;
    h->last_cycle_ns = now_ns;
    h->last_cycle_work = work;
    atomic_fetch_add_explicit(&h->sweepgen, 2, memory_order_relaxed);
    mheap_reclaim(h);
}

uint64_t mheap_background(struct mheap *h, uint64_t now_ns) {
    if (!mheap_is_ready(h))
        return SWEEP_CYCLE_NS;
    sweep_cycle(h, now_ns);
    uint64_t next = scavenger_tick(&h->scav, now_ns);
    return next < SWEEP_CYCLE_NS ? next : SWEEP_CYCLE_NS;
}

/* ---- reading ------------------------------------------------------------------------------ */

bool mheap_read_span(const struct mspan *s, struct mspan *copy) {
    uint32_t gen = atomic_load(&s->gen);
    if (gen & 1 || atomic_load_explicit(&s->state, memory_order_acquire) == GOMALLOC_SPAN_DEAD)
        return false;
    /* A torn copy is noticed by gen below. */
    const unsigned char *from = (const unsigned char *)s;
    unsigned char *to = (unsigned char *)copy;
    for (size_t i = 0; i < sizeof *s; i += 8)
        *(uint64_t *)(to + i) = __atomic_load_n((const uint64_t *)(from + i), __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load(&s->gen) != gen)
        return false;
    return true; /* a bitmap in the header is read there, by bit_base, not in the copy */
}

/* ---- fork --------------------------------------------------------------------------------- */

void mheap_lock_all(struct mheap *h) {
    mutex_lock(&mcaches.lock);
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        mutex_lock_next(&h->central[spc].lock);
    stackpool_lock_all();
    mutex_lock(&h->pages.scav_lock);
    mutex_lock(&h->lock);
    mutex_lock(&mslots_lock);
}

bool mheap_holds_lock(struct mheap *h) {
    bool any = stackpool_holds_lock() || mutex_is_mine(&mcaches.lock) ||
               mutex_is_mine(&h->pages.scav_lock) || mutex_is_mine(&h->lock) ||
               mutex_is_mine(&mslots_lock);
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        any |= mutex_is_mine(&h->central[spc].lock);
    return any;
}

void mheap_unlock_all(struct mheap *h) {
    mutex_unlock(&mslots_lock);
    mutex_unlock(&h->lock);
    mutex_unlock(&h->pages.scav_lock);
    stackpool_unlock_all();
    for (size_t spc = NUM_SPAN_CLASSES; spc-- > 0;)
        mutex_unlock(&h->central[spc].lock);
    mutex_unlock(&mcaches.lock);
}

void mheap_reset_all(struct mheap *h) {
    mutex_reset(&mslots_lock);
    mutex_reset(&h->lock);
    mutex_reset(&h->pages.scav_lock);
    stackpool_reset_all();
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        mutex_reset(&h->central[spc].lock);
    mutex_reset(&mcaches.lock);
}

/* ---- manual spans ------------------------------------------------------------------------- */

static void init_manual(struct mheap *h, struct mspan *s, uintptr_t base, size_t npages,
                        unsigned nelems, size_t guard) {
    atomic_fetch_add(&s->gen, 1);
    s->base = base;
    s->npages = (uint32_t)npages;
    set_class(s, make_span_class(0, false));
    if (nelems > 1) {
        s->elem_size = (uint32_t)((npages << GM_PAGE_SHIFT) / nelems);
        s->div_mul = UINT32_MAX / s->elem_size + 1;
        s->nelems = (uint16_t)nelems;
        s->limit = npages << GM_PAGE_SHIFT;
    }
    s->place = GOMALLOC_PLACE_NONE;
    s->freeindex = 0;
    s->needzero = 1;
    s->pooled = 0;
    s->guard = (uint32_t)guard;
    mspan_init_bits(s); /* a word, which is in the header */
    arena_set_spans(base, npages, s);
    arena_note_used(base, npages);
    atomic_store(&s->owner, (uintptr_t)&h->owner);
    atomic_store_explicit(&s->state, GOMALLOC_SPAN_MANUAL, memory_order_release);
    add(&h->pages_in_use, npages);
    add(&h->nspan_alloc, 1);
    atomic_fetch_add(&s->gen, 1);
}

struct mspan *mheap_alloc_manual(struct mheap *h, struct mcache *c, size_t npages, unsigned nelems,
                                 size_t guard) {
    uintptr_t scav = 0;
    size_t grown = 0;
    mutex_lock(&h->lock);
    struct mspan *s = new_header(h);
    uintptr_t base = s != NULL ? find_pages(h, c, npages, &scav, &grown) : 0;
    if (scav != 0)
        mem_used((void *)base, scav, MEM_HEAP);
    if (base != 0) {
        init_manual(h, s, base, npages, nelems, guard);
    } else if (s != NULL) {
        fixalloc_free(&h->spanalloc, s);
        s = NULL;
    }
    mutex_unlock(&h->lock);
    if (grown != 0)
        scavenge_for_growth(&h->scav, grown);
    return s;
}

void mheap_free_manual(struct mheap *h, struct mspan *s) {
    mutex_lock(&h->lock);
    free_span(h, s, GOMALLOC_SPAN_MANUAL, false);
    mutex_unlock(&h->lock);
}
