/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large objects, each a span of its own.  Go: runtime/mcache.go allocLarge.
 *
 * Departure: Go asks the page allocator each time.  Here freed spans of up to 1 MiB are kept for
 * the next request of as many pages, since a pair of malloc and free of such a size is common
 * (buffers), and the page allocator costs a hundred times what the fast path of small objects does.
 *
 * In front is that fast path itself.  A large span belongs to the mcache of the thread that
 * allocated it, as a small one does.  To free it looks like a span with one slot of one byte
 * (limit, div_mul), whose class is its number of pages (entry_off): so its thread's free sets its
 * bit by a plain store and pushes a hint, and malloc pops it.  The stacks have no room to begin
 * with; a free that finds none comes here (large_overflow), where room is added or not.  Bounds: 2
 * MiB a thread, 8 spans of a size, and for all threads together 16 MiB or an eighth of the heap.
 *
 * Unlike a small slot's, a large span's hint is no advice: it is the one thing that refers to a
 * free span.  Each free bit of a span that an mcache owns has exactly one hint, on the stack for
 * its number of pages.
 *
 * Behind are the heap's bins, under its lock: any number of spans, for any thread, by number of
 * pages.  They cost two locked instructions and no search.  Who has no use for memory must not keep
 * it: the bins are emptied before the heap grows, when it has grown by a 64th since the last
 * reclaim, and of what has lain there unused for a second or two (large_bins_age).  To anybody who
 * looks, kept spans are free ones: their bit is set; and those in bins say CACHED_LARGE.
 *
 * Frees by other threads.  Two threads may free at the same time only if that is the program's
 * error, so the protocol is simpler than for small spans.  Who is not the owner sets the mark by an
 * atomic operation, which is the claim: of two who do, one wins.  Then he takes the span away: to
 * his own mcache, to the bins or to the page allocator.  That is safe because a live large span is
 * referred to by nothing of its owner's: no list, no current span, no hint.  Its owner will not
 * look at it again, unless the program frees it twice.  So nothing waits for the owner to come by,
 * as small spans with marks do, and he need not live.
 *
 * A span's header may lie on the pending list of an mcache from its life before, as one of small
 * objects (mspan.c).  Who drains the list and owns the span now passes over it: he finds a class-0
 * span, of which no mark is ever his to fold.
 *
 * Fork.  A lost thread may have been between bit and hint.  The child forgets its hints, and finds
 * its free spans by their bits (large_rescue).  A span that it had claimed by a mark and not yet
 * put anywhere is lost to the child: it stays a free span that nobody uses.
 */
#include "heap/mlarge.h"

#include "heap/mheap.h"
#include "heap/mslots.h"

#define KEEP_BYTES_THREAD ((size_t)2 << 20)
#define KEEP_BYTES_ALL    ((size_t)16 << 20)

/* So many spans turned away, and what the thread keeps is not what it uses. */
#define MANY_MISSED 16u

/* Bytes for which all threads' stacks have room. */
static _Atomic uint64_t all_room;

static void set_bit(uint64_t *words, size_t i) {
    words[i / 64] |= UINT64_C(1) << (i % 64);
}

static void clear_bit(uint64_t *words, size_t i) {
    words[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* The first set bit from `from` on, up to `last`; 0: none. */
static size_t next_bit(const uint64_t *words, size_t from, size_t last) {
    for (size_t i = from; i <= last; i = (i / 64 + 1) * 64) {
        uint64_t w = words[i / 64] >> (i % 64);
        if (w == 0)
            continue;
        i += (size_t)__builtin_ctzll(w);
        return i <= last ? i : 0;
    }
    return 0;
}

/* The most pages that a span may have to serve for npages. */
static size_t most_pages(size_t npages) {
    size_t most = npages + npages / 8;
    return most < LARGE_KEEP_PAGES ? most : LARGE_KEEP_PAGES;
}

void large_set_entry(struct mspan *s) {
    bool fast = mspan_owner(s)->id != GOMALLOC_OWNER_HEAP && s->npages <= LARGE_KEEP_PAGES;
    s->limit = fast;
    s->div_mul = fast;
    s->entry_off =
        fast ? (uint32_t)((NUM_SPAN_CLASSES + s->npages) * sizeof(struct mcache_entry)) : 0;
}

/* Changes the owner of a span whose object is free, or not yet the program's. */
static void set_owner(struct mspan *s, struct span_owner *owner) {
    atomic_store_explicit(&s->owner, (uintptr_t)owner, memory_order_release);
    large_set_entry(s);
}

static_assert(offsetof(struct mcache, large_alloc) ==
                  offsetof(struct mcache, alloc) + NUM_SPAN_CLASSES * sizeof(struct mcache_entry),
              "large entries are behind the small ones");

/* The object of a kept span is taken. */
static void take_object(struct mspan *s) {
    s->needzero = 1;
    __atomic_store_n(&s->free_bits0, 0, __ATOMIC_RELEASE);
}

/* ---- the heap's bins ---------------------------------------------------------------------- */

static void bins_put(struct large_bins *b, struct mspan *s) {
    struct large_bin *bin = &b->bin[s->npages];
    s->place = GOMALLOC_PLACE_CACHED_LARGE;
    s->next = bin->first;
    bin->first = s;
    bin->n++;
    b->nspans++;
    set_bit(b->used, s->npages);
}

static struct mspan *bins_pop(struct large_bins *b, size_t npages) {
    struct large_bin *bin = &b->bin[npages];
    struct mspan *s = bin->first;
    bin->first = s->next;
    bin->n--;
    b->nspans--;
    if (bin->n < bin->low)
        bin->low = bin->n;
    if (bin->n == 0)
        clear_bit(b->used, npages);
    s->next = NULL;
    s->place = GOMALLOC_PLACE_NONE;
    return s;
}

/* Puts a span with its bit set into a bin. */
static void bins_keep(struct mheap *h, struct mspan *s) {
    mutex_lock(&h->lock);
    set_owner(s, &h->owner);
    bins_put(&h->bins, s);
    mutex_unlock(&h->lock);
}

static struct mspan *bins_take(struct mheap *h, size_t npages) {
    struct mspan *s = NULL;
    mutex_lock(&h->lock);
    size_t found = next_bit(h->bins.used, npages, most_pages(npages));
    if (found != 0)
        s = bins_pop(&h->bins, found);
    mutex_unlock(&h->lock);
    return s;
}

void large_bins_drain(struct mheap *h) {
    size_t npages;
    while ((npages = next_bit(h->bins.used, 1, LARGE_KEEP_PAGES)) != 0)
        mheap_free_locked(h, bins_pop(&h->bins, npages));
}

void large_bins_age(struct mheap *h) {
    struct large_bins *b = &h->bins;
    if (b->nspans == 0)
        return;
    for (size_t npages = 1; npages <= LARGE_KEEP_PAGES; npages++) {
        struct large_bin *bin = &b->bin[npages];
        for (uint32_t n = bin->low; n > 0; n--)
            mheap_free_locked(h, bins_pop(b, npages));
        bin->low = bin->n;
    }
}

/* ---- a thread's stacks -------------------------------------------------------------------- */

static uint64_t most_room(void) {
    uint64_t part =
        (atomic_load_explicit(&mheap_.pages_in_use, memory_order_relaxed) << GM_PAGE_SHIFT) / 8;
    return part > KEEP_BYTES_ALL ? part : KEEP_BYTES_ALL;
}

/* Makes room for one more span.  False: there is enough of it. */
static bool add_room(struct mcache *c, size_t npages) {
    struct mcache_entry *e = &c->large_alloc[npages];
    size_t bytes = npages << GM_PAGE_SHIFT;
    if (e->end - e->bottom == LARGE_KEEP_HINTS || c->large.room + bytes > KEEP_BYTES_THREAD)
        return false;
    if (atomic_fetch_add_explicit(&all_room, bytes, memory_order_relaxed) + bytes > most_room()) {
        atomic_fetch_sub_explicit(&all_room, bytes, memory_order_relaxed);
        return false;
    }
    if (e->bottom == NULL)
        e->sp = e->bottom = e->end = c->large.hints + npages * LARGE_KEEP_HINTS;
    e->end++;
    c->large.room += bytes;
    set_bit(c->large.used, npages);
    return true;
}

static void drop_room(struct mcache *c, size_t npages) {
    struct mcache_entry *e = &c->large_alloc[npages];
    size_t bytes = (size_t)(e->end - e->bottom) * (npages << GM_PAGE_SHIFT);
    atomic_fetch_sub_explicit(&all_room, bytes, memory_order_relaxed);
    c->large.room -= bytes;
    e->sp = e->end = e->bottom;
    clear_bit(c->large.used, npages);
}

static void push(struct mcache *c, struct mspan *s) {
    struct mcache_entry *e = &c->large_alloc[s->npages];
    *e->sp = (struct hint){s->base, s->bit_base};
    e->sp++;
}

void large_overflow(struct mcache *c, struct mspan *s) {
    struct mcache_entry *e = &c->large_alloc[s->npages];
    if (add_room(c, s->npages)) {
        push(c, s);
        return;
    }
    if (e->end == e->bottom && ++c->large.nmissed == MANY_MISSED)
        large_cache_flush(c);
    bins_keep(&mheap_, s);
}

void large_cache_flush(struct mcache *c) {
    size_t npages;
    c->large.nmissed = 0;
    while ((npages = next_bit(c->large.used, 1, LARGE_KEEP_PAGES)) != 0) {
        struct mcache_entry *e = &c->large_alloc[npages];
        while (e->sp != e->bottom) {
            e->sp--;
            bins_keep(&mheap_, mheap_span_of(e->sp->p));
        }
        drop_room(c, npages);
    }
}

void large_cache_forget(struct mcache *c) {
    size_t npages;
    while ((npages = next_bit(c->large.used, 1, LARGE_KEEP_PAGES)) != 0)
        drop_room(c, npages);
    c->large.stale = NULL; /* it was on the thread's stack */
}

/* The bit is looked at before the owner: a thread of the child that frees the object now changes
 * them in the other order (large_free). */
void large_rescue(struct mspan *s, const struct span_owner *lost) {
    if (__atomic_load_n(&s->free_bits0, __ATOMIC_ACQUIRE) == 0)
        return; /* it lives, and the mcache may go on being its owner */
    if (mspan_owner(s) != lost)
        return;
    atomic_store(&s->free_marks0, 0); /* see set_free_bit */
    if (s->npages <= LARGE_KEEP_PAGES)
        bins_keep(&mheap_, s);
    else
        mheap_free(&mheap_, s);
}

/* ---- allocation --------------------------------------------------------------------------- */

static struct mspan *take_hinted(struct mcache *c, size_t npages) {
    struct mcache_entry *e = &c->large_alloc[npages];
    if (e->sp == e->bottom)
        return NULL;
    e->sp--;
    struct mspan *s = mheap_span_of(e->sp->p);
    take_object(s);
    return s;
}

/* A kept span of npages or a little more, or NULL. */
static struct mspan *take_kept(struct mcache *c, size_t npages) {
    struct mspan *s = take_hinted(c, npages);
    if (s == NULL && (s = bins_take(&mheap_, npages)) != NULL) {
        set_owner(s, &c->owner);
        take_object(s);
    }
    for (size_t n = npages; s == NULL;) {
        n = next_bit(c->large.used, n + 1, most_pages(npages));
        if (n == 0)
            break;
        s = take_hinted(c, n);
    }
    return s;
}

static struct mspan *new_large(struct mcache *c, size_t npages, size_t align_pages, bool noscan) {
    struct span_owner *owner = noscan || npages > LARGE_KEEP_PAGES ? &mheap_.owner : &c->owner;
    return align_pages > 1 ? mheap_alloc_aligned(&mheap_, npages, align_pages, owner)
                           : mheap_alloc(&mheap_, c, npages, make_span_class(0, noscan), owner);
}

static bool keeps(const struct mspan *s) {
    return s->npages <= LARGE_KEEP_PAGES && s->spc.v == 0;
}

static struct mspan *reclaim_and_new(struct mcache *c, size_t npages, size_t align_pages,
                                     bool noscan) {
    if (mheap_reclaim_due(&mheap_)) {
        mcache_flush(c);
        mheap_reclaim(&mheap_);
    }
    struct mspan *s = new_large(c, npages, align_pages, noscan);
    if (s == NULL) { /* out of memory, unless what the caches keep can be had */
        mcache_release(c);
        mheap_reclaim(&mheap_);
        s = new_large(c, npages, align_pages, noscan);
    }
    return s;
}

struct mspan *large_alloc(struct mcache *c, size_t size, size_t align, bool noscan) {
    if (size > MAX_ALLOC)
        return NULL;
    size_t npages = large_pages(size), align_pages = align >> GM_PAGE_SHIFT;
    mcache_flush_if_due(c);
    struct mspan *s = NULL;
    if (!noscan && align_pages <= 1 && npages <= LARGE_KEEP_PAGES)
        s = take_kept(c, npages);
    if (s == NULL)
        s = reclaim_and_new(c, npages, align_pages, noscan);
    if (s != NULL)
        mcache_count(&c->nlarge);
    return s;
}

uint64_t large_count(void) {
    uint64_t n = 0;
    uint32_t nmcaches = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < nmcaches; i++)
        n += atomic_load_explicit(&mcaches.all[i]->nlarge, memory_order_relaxed);
    return n;
}

/* ---- free --------------------------------------------------------------------------------- */

static void forget_record(struct mspan *s) {
    mslots_clear(s, 0); /* the table stays: who reads it without a lock takes it for this span's */
    s->large_requested = 0;
}

/* The object is free from here on; and unlike a mark, the bit stays until it is used again. */
static void set_free_bit(struct mspan *s) {
    __atomic_store_n(&s->free_bits0, 1, __ATOMIC_RELEASE);
    atomic_store(&s->free_marks0, 0);
}

static bool free_own(struct mcache *c, struct mspan *s) {
    if (s->free_bits0 != 0 || atomic_load(&s->free_marks0) != 0)
        return false;
    forget_record(s);
    atomic_store(&s->owner, (uintptr_t)c); /* without SPAN_RECORDED */
    set_free_bit(s);
    struct mcache_entry *e = &c->large_alloc[s->npages];
    if (e->sp != e->end)
        push(c, s);
    else
        large_overflow(c, s);
    return true;
}

bool large_free(struct mspan *s) {
    struct mcache *c = mcache_self;
    if (mspan_owner(s) == &c->owner && keeps(s))
        return free_own(c, s);
    if (s->free_bits0 != 0 || atomic_fetch_or(&s->free_marks0, 1) != 0)
        return false;
    forget_record(s);
    if (!keeps(s)) {
        mheap_free(&mheap_, s);
        return true;
    }
    const struct mcache_entry *e = &c->large_alloc[s->npages];
    bool room = e->sp != e->end;
    set_owner(s, room ? &c->owner : &mheap_.owner); /* before the bit: see large_rescue */
    set_free_bit(s);
    if (room)
        push(c, s);
    else
        bins_keep(&mheap_, s);
    return true;
}

/* ---- change of size ----------------------------------------------------------------------- */

bool large_resize(struct mspan *s, size_t size) {
    size_t npages = large_pages(size);
    if (npages == s->npages)
        return true;
    if (npages > s->npages)
        return mheap_grow_in_place(&mheap_, s, npages);
    if (s->npages - npages <= npages / LARGE_ROOM_PART)
        return true;
    mheap_shrink(&mheap_, s, npages);
    return true;
}

/* Moving pages costs three system calls and page-table work, 30 to 100 us for a MiB; copying 8 to
 * 20 us for 256 KiB, if it is all in memory, and page faults in the new place besides. */
#define MOVE_BYTES ((size_t)256 << 10)

/* What is moved is a mapping of its own from then on, and the program may have 65530 by default: so
 * many moves in all, but for such as are so large that there can't be many. */
#define MAX_MOVES   8192u
#define MOVE_ANYWAY ((size_t)64 << 20)
static _Atomic uint32_t nmoves;

bool large_move(struct mspan *s, void *q) {
    struct mspan *to = mheap_span_of((uintptr_t)q);
    size_t n = mspan_elem_bytes(s);
    if (to->elem_size != 0 || to->npages < s->npages || n < MOVE_BYTES)
        return false;
    if (n < MOVE_ANYWAY && atomic_load_explicit(&nmoves, memory_order_relaxed) >= MAX_MOVES)
        return false;
    if (!mem_move(q, (void *)s->base, n))
        return false;
    atomic_fetch_add_explicit(&nmoves, 1, memory_order_relaxed);
    forget_record(s);
    atomic_store(&s->free_marks0, 1);
    mheap_free_unbacked(&mheap_, s);
    return true;
}
