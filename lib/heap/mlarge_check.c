/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large spans recounted from scratch, for tests: each free one is known to exactly one place, and
 * each place knows only such.  Other threads must be at rest.
 */
#include "heap/mheap.h"

static bool has_bit(const uint64_t *words, size_t i) {
    return (words[i / 64] >> (i % 64) & 1) != 0;
}

static bool is_free(const struct mspan *s, size_t npages) {
    return s != NULL && atomic_load(&s->state) == GOMALLOC_SPAN_IN_USE && s->elem_size == 0 &&
           s->npages == npages && s->free_bits0 == 1 && atomic_load(&s->free_marks0) == 0;
}

static const char *check_hints(const struct mcache *c, size_t npages, size_t *ret_found) {
    const struct mcache_entry *e = &c->large_alloc[npages];
    if (e->sp < e->bottom || e->sp > e->end || e->end - e->bottom > LARGE_KEEP_HINTS)
        return "a stack of large spans is not within its bounds";
    if (has_bit(c->large.used, npages) != (e->end != e->bottom))
        return "an mcache does not know which stacks of large spans it has";
    for (const struct hint *h = e->bottom; h != e->sp; h++) {
        const struct mspan *s = mheap_span_of(h->p);
        if (!is_free(s, npages) || s->base != h->p || s->bit_base != h->bit_addr ||
            mspan_owner(s) != &c->owner)
            return "a hint leads to a large span that is not its mcache's to use";
        ++*ret_found;
    }
    return NULL;
}

static const char *check_mcache(const struct mcache *c, size_t *ret_found) {
    size_t room = 0;
    for (size_t npages = 0; npages <= LARGE_KEEP_PAGES; npages++) {
        const char *why = check_hints(c, npages, ret_found);
        if (why != NULL)
            return why;
        const struct mcache_entry *e = &c->large_alloc[npages];
        room += (size_t)(e->end - e->bottom) * (npages << GM_PAGE_SHIFT);
    }
    return room == c->large.room ? NULL : "an mcache has not the room that it says";
}

static const char *check_bin(const struct large_bins *b, size_t npages, size_t *ret_found) {
    const struct large_bin *bin = &b->bin[npages];
    size_t n = 0;
    for (const struct mspan *s = bin->first; s != NULL && n <= bin->n; s = s->next, n++)
        if (!is_free(s, npages) || s->place != GOMALLOC_PLACE_CACHED_LARGE ||
            mspan_owner(s) != &mheap_.owner)
            return "a bin has a span that is not free, or another's";
    if (n != bin->n || bin->low > bin->n || has_bit(b->used, npages) != (n != 0))
        return "a bin has not as many spans as it says";
    *ret_found += n;
    return NULL;
}

static const char *check_span(const struct mspan *s, size_t *ret_said) {
    const struct span_owner *o = mspan_owner(s);
    bool owned = o->id != GOMALLOC_OWNER_HEAP;
    bool fast = owned && s->npages <= LARGE_KEEP_PAGES;
    if (owned && (o->id >= mcaches.n || &mcaches.all[o->id]->owner != o))
        return "a large span's owner is neither the heap nor an mcache";
    if (s->nelems != 1 || s->limit != fast || s->div_mul != fast ||
        (fast && s->entry_off != (NUM_SPAN_CLASSES + s->npages) * sizeof(struct mcache_entry)))
        return "a large span would not be freed as it should";
    if (owned && mcaches.all[o->id]->orphan)
        return NULL; /* its hints have been forgotten */
    *ret_said += mspan_count_live(s) == 0;
    return NULL;
}

const char *large_recount(const struct mheap *h) {
    size_t said = 0, found = 0, binned = 0;
    const char *why = NULL;
    uint32_t n = atomic_load_explicit(&h->nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n && why == NULL; i++) {
        const struct mspan *s = h->allspans[i];
        if (atomic_load(&s->state) == GOMALLOC_SPAN_IN_USE && s->elem_size == 0)
            why = check_span(s, &said);
    }
    for (uint32_t i = 0; i < mcaches.n && why == NULL; i++)
        why = check_mcache(mcaches.all[i], &found);
    for (size_t npages = 0; npages <= LARGE_KEEP_PAGES && why == NULL; npages++)
        why = check_bin(&h->bins, npages, &binned);
    if (why != NULL)
        return why;
    if (binned != h->bins.nspans)
        return "the bins have not as many spans as they say";
    /* A thread that was lost in a fork may have had one in its hands. */
    return said >= found + binned && said - found - binned <= mcaches.nlost
               ? NULL
               : "a free large span is in no place, or in two";
}
