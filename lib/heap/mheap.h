/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap: pages, arenas, spans.  Go: runtime/mheap.go.
 *
 * Pages of arenas (marena.h) are handed to the page allocator (mpagealloc.h) as the heap grows, and
 * from there, or by way of a processor's page cache, to spans.
 */
#ifndef GM_HEAP_MHEAP_H
#define GM_HEAP_MHEAP_H

#include "heap/marena.h"
#include "heap/mcache.h"
#include "heap/mcentral.h"
#include "heap/mfixalloc.h"
#include "heap/mgcpacer.h"
#include "heap/mpagealloc.h"
#include "sys/mem.h"

struct mheap {
    struct mutex lock; /* LOCK_RANK_MHEAP: everything below unless it says otherwise */
    struct page_alloc pages;
    struct scavenger scav;
    _Atomic uint32_t sweepgen; /* even; two more at each sweep cycle.  Go: mheap.sweepgen */

    struct heap_arena **all_arenas; /* in the order of their making */
    _Atomic uint32_t narenas;
    uintptr_t cur_arena; /* reserved space not yet grown into.  Go: curArena */
    uintptr_t cur_arena_end;
    uintptr_t arena_hint; /* where the next arena is asked for */

    struct mem_table span_table; /* allspans and all_arenas lie there */
    struct mem_table arena_table;
    struct mspan **allspans; /* entries are never removed, headers are re-used */
    _Atomic uint32_t nallspans;
    struct fixalloc spanalloc; /* span headers.  Go: spanalloc */

    _Atomic uint64_t pages_in_use; /* in spans */
    _Atomic uint64_t reclaim_at;   /* pages in use at which a refill looks for empty spans first */
    uint64_t last_cycle_ns;        /* when the last sweep cycle began.  Background thread */
    uint64_t last_aging_ns;        /* when the bins were last aged.  Background thread */
    uint64_t last_cycle_work;      /* spans allocated and freed by then.  Background thread */
    _Atomic uint64_t nspan_alloc;  /* spans made and freed since start */
    _Atomic uint64_t nspan_free;
    _Atomic uint64_t ngrow;
    _Atomic uint64_t nhuge_refused; /* growths that the kernel would not back by huge pages */
    _Atomic uint64_t nreclaim;
    _Atomic bool ready; /* set last by mheap_init: who sees it sees the rest */

    uint32_t nprocessors; /* page caches in use: those of so many mcaches.  Constant */

    struct large_bins bins;  /* freed large spans kept for reuse */
    struct span_owner owner; /* of the largest, kept and manual spans: nobody's "mine" */
    struct mcentral central[NUM_SPAN_CLASSES]; /* each with its own lock */
};

extern struct mheap mheap_;
gm_inline uint32_t heap_sweepgen(void) {
    return atomic_load_explicit(&mheap_.sweepgen, memory_order_relaxed);
}

/* mheap_is_ready tells whether mheap_init has done its work. */
gm_inline bool mheap_is_ready(const struct mheap *h) {
    return atomic_load_explicit(&h->ready, memory_order_acquire);
}

/* mheap_init makes the heap usable; called by the first allocation, by one thread at a time.
 * False: the kernel refuses address space. */
bool mheap_init(struct mheap *h);

/* mheap_alloc returns a span of npages for the class, all slots free, owned by `owner`; zeroed
 * unless needzero is set in it.  c: the caller's mcache, for its page cache, or NULL.  NULL: out
 * of memory.  For class 0 (large) the span has one slot, which is taken already. */
struct mspan *mheap_alloc(struct mheap *h, struct mcache *c, size_t npages, struct span_class spc,
                          struct span_owner *owner);

/* mheap_alloc_aligned is mheap_alloc for one large object at a multiple of align_pages. */
struct mspan *mheap_alloc_aligned(struct mheap *h, size_t npages, size_t align_pages,
                                  struct span_owner *owner);

/* mheap_free takes an empty span from its owner, who is the caller; or a large span whose object
 * the caller has freed.  It is in no list. */
void mheap_free(struct mheap *h, struct mspan *s);

/* mheap_alloc_manual returns a span of npages in the state manual, cut into nelems (up to 64)
 * pieces of a power of two bytes, or one of any size; all free, with whatever was in them.  malloc
 * and free do not know them.  guard is noted in it.  c: the caller's mcache, for its page cache.
 * NULL: out of memory.  Go: allocManual. */
struct mspan *mheap_alloc_manual(struct mheap *h, struct mcache *c, size_t npages, unsigned nelems,
                                 size_t guard);

/* mheap_free_manual takes one back: all pieces are free, it is in no list, and all its pages can be
 * read and written. */
void mheap_free_manual(struct mheap *h, struct mspan *s);

/* mheap_free_unbacked is mheap_free of a large span whose pages have been moved away. */
void mheap_free_unbacked(struct mheap *h, struct mspan *s);

/* mheap_free_locked is mheap_free for who holds the heap's lock. */
void mheap_free_locked(struct mheap *h, struct mspan *s);

/* mheap_grow_in_place makes a large span npages long if the pages behind it are free; and
 * mheap_shrink gives its tail back. */
bool mheap_grow_in_place(struct mheap *h, struct mspan *s, size_t npages);
void mheap_shrink(struct mheap *h, struct mspan *s, size_t npages);

/* mheap_scavenge gives all free pages back to the kernel; returns bytes. */
size_t mheap_scavenge(struct mheap *h);

/* mheap_reclaim releases empty spans that nobody uses: the mcentrals' and the idle mcaches'. */
void mheap_reclaim(struct mheap *h);

/* mheap_reclaim_due tells whether the heap has grown by a 64th since the last reclaim: time to
 * look for memory to use again before taking more.  Cheap. */
gm_inline bool mheap_reclaim_due(const struct mheap *h) {
    return atomic_load_explicit(&h->pages_in_use, memory_order_relaxed) >=
           atomic_load_explicit(&h->reclaim_at, memory_order_relaxed);
}

/* mheap_background does what is due: scavenging, a sweep cycle, rebuilding of idle mcaches; returns
 * ns until the next call is wanted.  Called by the library's own thread. */
uint64_t mheap_background(struct mheap *h, uint64_t now_ns);

/* mheap_read_span copies a header that may change meanwhile: false if it is not in use or did not
 * hold still.  Takes no lock. */
bool mheap_read_span(const struct mspan *s, struct mspan *copy);

/* mheap_consistent recounts everything from scratch: pages, spans, the places of spans, hints,
 * marks; for a heap at rest.  On failure *ret_why says what is wrong. */
bool mheap_consistent(struct mheap *h, const char **ret_why);

void mheap_lock_all(struct mheap *h);   /* before fork: every lock of this layer, in rank order */
void mheap_unlock_all(struct mheap *h); /* after it, in the parent */
void mheap_reset_all(struct mheap *h);  /* after it, in the child */
bool mheap_holds_lock(struct mheap *h); /* the calling thread holds one of them */

#endif
