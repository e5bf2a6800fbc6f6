/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap recounted from scratch, for tests: each rule that the other files state is looked up
 * here for every span there is, by a slow and plain walk.
 *
 * Other threads must be at rest, as what they own is looked at without their knowledge.
 */
#include "heap/mheap.h"
#include "heap/mstack.h"

/* Spans by where they say that they are, against those that are found there. */
struct recount {
    uint64_t npages;   /* in spans in use */
    uint64_t npending; /* spans that say they wait on a list */
    uint64_t nlisted;  /* spans that say they are on their mcache's list */
    uint64_t ncentral; /* spans that say they are in a set of an mcentral */
    struct stack_recount stacks;
};

static bool span_in_table(const struct mspan *s) {
    for (size_t i = 0; i < s->npages; i++)
        if (mheap_span_of(s->base + (i << GM_PAGE_SHIFT)) != s)
            return false;
    return true;
}

/* ---- one span ----------------------------------------------------------------------------- */

static bool has_marks(const struct mspan *s) {
    for (size_t w = 0; w < s->nwords; w++)
        if (atomic_load(&s->free_marks[w]) != 0)
            return true;
    return false;
}

static bool has_hint(const struct mcache_entry *e, uintptr_t bit_addr) {
    for (const struct hint *h = e->bottom; h != e->sp; h++)
        if (h->bit_addr == bit_addr)
            return true;
    return false;
}

/* A span of an mcache's in no place: each of its free slots must have a hint. */
static bool all_hinted(const struct mcache *c, const struct mspan *s) {
    for (size_t i = 0; i < s->nelems; i++)
        if ((mspan_free_bits(s)[i / 64] >> i % 64 & 1) != 0 &&
            !has_hint(&c->alloc[s->spc.v], s->bit_base + i))
            return false;
    return true;
}

static const char *check_cached(const struct mspan *s, const struct mcache *c, struct recount *n) {
    if (c->orphan)
        return NULL; /* its lists have been forgotten */
    switch (s->place) {
    case GOMALLOC_PLACE_CURRENT:
        return c->alloc[s->spc.v].span == s ? NULL : "a current span is not its mcache's";
    case GOMALLOC_PLACE_LISTED:
        n->nlisted++;
        return NULL;
    case GOMALLOC_PLACE_NONE:
        return all_hinted(c, s) ? NULL : "a free slot can't be found: no list, no hint";
    default:
        return "an mcache's span is in a place that is not for it";
    }
}

static const char *check_central(const struct mspan *s, struct recount *n) {
    n->ncentral++;
    bool full = s->place == GOMALLOC_PLACE_FULL_SWEPT || s->place == GOMALLOC_PLACE_FULL_UNSWEPT;
    if (!full && s->place != GOMALLOC_PLACE_PARTIAL_SWEPT &&
        s->place != GOMALLOC_PLACE_PARTIAL_UNSWEPT)
        return "an mcentral's span is in a place that is not for it";
    return full == !mspan_has_free(s) ? NULL : "an mcentral's span is in the wrong set";
}

static const char *check_small(const struct mspan *s, struct recount *n) {
    const struct span_owner *o = mspan_owner(s);
    bool known =
        s->place == GOMALLOC_PLACE_PARTIAL_UNSWEPT || s->place == GOMALLOC_PLACE_FULL_UNSWEPT;
    if (has_marks(s) && atomic_load(&s->pending) == 0 && !known)
        return "a mark is lost: nobody is to sweep it";
    if (o->id == GOMALLOC_OWNER_CENTRAL)
        return check_central(s, n);
    if (o->id >= mcaches.n)
        return "a span's owner is neither an mcache nor its mcentral";
    return check_cached(s, mcaches.all[o->id], n);
}

static const char *check_span(const struct mspan *s, struct recount *n) {
    n->npending += atomic_load(&s->pending);
    if (atomic_load(&s->state) == GOMALLOC_SPAN_DEAD)
        return mspan_owner(s) == NULL ? NULL : "a span that is not in use has an owner";
    n->npages += s->npages;
    if (!span_in_table(s))
        return "a page of a span is not in the arena's table";
    if (s->npages == 0 || s->nelems == 0 || mspan_owner(s) == NULL)
        return "a span in use has no pages, no slots or no owner";
    if (atomic_load(&s->state) == GOMALLOC_SPAN_MANUAL)
        return stack_check_span(s, &n->stacks);
    return s->elem_size != 0 ? check_small(s, n) : NULL;
}

/* ---- the lists ---------------------------------------------------------------------------- */

static uint64_t count_pending(const struct span_owner *o) {
    uint64_t n = 0;
    for (struct mspan *s = atomic_load(&o->pending); s != NULL; s = atomic_load(&s->pending_next))
        n++;
    return n;
}

static uint64_t count_listed(const struct mcache *c) {
    uint64_t n = 0;
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        for (const struct mspan *s = c->listed[spc].first; s != NULL; s = s->next)
            n +=
                mspan_owner(s) == &c->owner && s->place == GOMALLOC_PLACE_LISTED && s->spc.v == spc;
    return n;
}

static uint64_t count_set(const struct mspan_set *set) {
    return set->n + set->linked.n;
}

static const char *check_spans(struct mheap *h) {
    struct recount said = {0}, found = {0};
    uint32_t n = atomic_load_explicit(&h->nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        const char *why = check_span(h->allspans[i], &said);
        if (why != NULL)
            return why;
    }
    for (uint32_t i = 0; i < mcaches.n; i++) {
        found.npending += count_pending(&mcaches.all[i]->owner);
        found.nlisted += count_listed(mcaches.all[i]);
    }
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++) {
        const struct mcentral *c = &h->central[spc];
        found.npending += count_pending(&c->owner);
        found.ncentral += count_set(&c->partial_swept) + count_set(&c->partial_unswept) +
                          count_set(&c->full_swept) + count_set(&c->full_unswept);
    }
    if (said.npages != h->pages_in_use)
        return "pages in use are not the sum of the spans";
    if (said.npending != found.npending)
        return "spans that wait with marks are not those on the lists";
    if (said.nlisted != found.nlisted)
        return "listed spans are not those on the lists";
    if (said.ncentral != found.ncentral)
        return "mcentrals' spans are not those in the sets";
    return stack_check_lists(&said.stacks);
}

bool mheap_consistent(struct mheap *h, const char **ret_why) {
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        if (!mcentral_consistent(&h->central[spc])) {
            *ret_why = "a span set is broken";
            return false;
        }
    mutex_lock(&h->lock);
    const char *why = check_spans(h);
    if (why == NULL)
        why = page_alloc_consistent(&h->pages);
    mutex_unlock(&h->lock);
    *ret_why = why;
    return why == NULL;
}
