/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large objects, each a span of its own.  Go: runtime/mcache.go allocLarge.
 *
 * Departure: a thread keeps some of the large spans it has freed, and uses them again.  To anybody
 * who looks they are free spans (their slot's free mark is set, their place is CACHED_LARGE).
 */
#include "heap/mlarge.h"

#include "heap/mheap.h"
#include "heap/mslots.h"

#define LARGE_CACHE_BYTES ((size_t)1 << 20) /* kept by a thread at most */
#define LARGE_CACHE_PAGES (LARGE_CACHE_BYTES / 2 / GM_PAGE_SIZE)

static size_t pages_for(size_t size) {
    return (size + GM_PAGE_SIZE - 1) >> GM_PAGE_SHIFT;
}

/* ---- the cache ---------------------------------------------------------------------------- */

/* Returns a cached span of npages or a little more, its object taken, or NULL. */
static struct mspan *take(struct large_cache *l, size_t npages) {
    for (size_t i = 0; i < l->n; i++) {
        struct mspan *s = l->span[i];
        if (s->npages < npages || s->npages - npages > npages / 8)
            continue;
        l->span[i] = l->span[l->n - 1];
        atomic_signal_fence(memory_order_seq_cst); /* see large_cache_after_fork */
        l->n--;
        l->bytes -= mspan_elem_bytes(s);
        s->place = GOMALLOC_PLACE_NONE;
        s->needzero = 1;
        __atomic_store_n(&s->free_bits0, 0, __ATOMIC_RELAXED);
        atomic_store_explicit(&s->free_marks0, 0, memory_order_release);
        return s;
    }
    return NULL;
}

/* Keeps a freed span.  False: no room. */
static bool keep(struct large_cache *l, struct mspan *s) {
    if (l->n == LARGE_CACHE_SLOTS || s->npages > LARGE_CACHE_PAGES ||
        l->bytes + mspan_elem_bytes(s) > LARGE_CACHE_BYTES)
        return false;
    s->place = GOMALLOC_PLACE_CACHED_LARGE;
    l->span[l->n] = s;
    atomic_signal_fence(memory_order_seq_cst); /* see large_cache_after_fork */
    l->n++;
    l->bytes += mspan_elem_bytes(s);
    return true;
}

void large_cache_flush(struct large_cache *l) {
    while (l->n > 0) {
        struct mspan *s = l->span[--l->n];
        s->place = GOMALLOC_PLACE_NONE;
        mheap_free(&mheap_, s);
    }
    l->bytes = 0;
}

/* A lost thread may have been moving an entry, so that there are two of it; but as it stores the
 * entry before the number when it adds one, and likewise when it takes one, each is one of ours. */
void large_cache_after_fork(struct large_cache *l) {
    size_t n = l->n;
    l->n = 0;
    l->bytes = 0;
    for (size_t i = 0; i < n; i++) {
        struct mspan *s = l->span[i];
        size_t k = 0;
        while (k < l->n && l->span[k] != s)
            k++;
        if (k < l->n || s->place != GOMALLOC_PLACE_CACHED_LARGE)
            continue;
        l->span[l->n++] = s;
        l->bytes += mspan_elem_bytes(s);
    }
}

/* ---- allocation and free ------------------------------------------------------------------ */

static struct mspan *new_large(struct mcache *c, size_t npages, size_t align_pages, bool noscan) {
    atomic_fetch_add_explicit(&mheap_.nlarge, 1, memory_order_relaxed);
    return align_pages > 1
               ? mheap_alloc_aligned(&mheap_, npages, align_pages)
               : mheap_alloc(&mheap_, c, npages, make_span_class(0, noscan), &mheap_.owner);
}

struct mspan *large_alloc(struct mcache *c, size_t size, size_t align, bool noscan) {
    if (size > MAX_ALLOC)
        return NULL;
    size_t npages = pages_for(size), align_pages = align >> GM_PAGE_SHIFT;
    struct mspan *s = noscan || align_pages > 1 ? NULL : take(&c->large, npages);
    if (s == NULL && mheap_reclaim_due(&mheap_)) {
        mcache_flush(c);
        mheap_reclaim(&mheap_);
    }
    if (s == NULL)
        s = new_large(c, npages, align_pages, noscan);
    if (s == NULL) { /* out of memory, unless what the caches keep can be had */
        mcache_release(c);
        mheap_reclaim(&mheap_);
        s = new_large(c, npages, align_pages, noscan);
    }
    return s;
}

/* The mark is the claim: of two who free it, one wins. */
bool large_free(struct mspan *s) {
    if (s->free_bits0 != 0 || atomic_fetch_or(&s->free_marks0, 1) != 0)
        return false;
    mslots_clear(s, 0); /* the table stays: who reads it without a lock takes it for this span's */
    s->large_requested = 0;
    if (s->spc.v != 0 || mcache_self == &mcache0 || !keep(&mcache_self->large, s))
        mheap_free(&mheap_, s);
    return true;
}

/* ---- change of size ----------------------------------------------------------------------- */

bool large_resize(struct mspan *s, size_t size) {
    size_t npages = pages_for(size);
    if (npages == s->npages)
        return true;
    if (npages > s->npages)
        return mheap_grow_in_place(&mheap_, s, npages);
    mheap_shrink(&mheap_, s, npages);
    return true;
}
