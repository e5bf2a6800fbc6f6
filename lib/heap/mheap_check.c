/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap recounted from scratch, for tests: each rule that the other files state is looked up
 * here for every span there is, by a slow and plain walk.
 *
 * Other threads must be at rest, that is, between two calls of the heap's functions, as what they
 * own is looked at without their knowledge.  The heap need not be: spans may wait with marks, hints
 * and page caches may be full, blocks half filled.
 *
 * What a span says of itself (its owner, its place) is checked on the span, and counted; what the
 * places say (lists, sets, caches) is checked there, and counted; the sums must agree.  So a span
 * that says it is on a list and is not, and one that is on two, are found.
 */
#include "heap/mheap_check.h"
#include "heap/msize.h"
#include "heap/mslots.h"
#include "heap/mtiny.h"

/* ---- one span ----------------------------------------------------------------------------- */

static bool in_tables(const struct mspan *s) {
    for (size_t i = 0; i < s->npages; i++)
        if (mheap_span_covering(s->base + (i << GM_PAGE_SHIFT)) != s)
            return false;
    return true;
}

static bool pages_in_use(const struct mheap *h, const struct mspan *s) {
    for (size_t i = 0; i < s->npages; i++) {
        uintptr_t p = s->base + (i << GM_PAGE_SHIFT);
        if (!addr_ranges_contains(&h->pages.in_use, p) ||
            !palloc_bits_get(&page_alloc_chunk(&h->pages, chunk_index(p))->alloc,
                             chunk_page_index(p)))
            return false;
    }
    return true;
}

/* The words of a small span: no bit beyond its slots, and none both free and marked. */
static const char *check_bits(const struct mspan *s) {
    if (s->nwords != (s->nelems + 63) / 64)
        return "a span has not the bitmap for its slots";
    for (size_t w = 0; w < s->nwords; w++) {
        uint64_t bits = mspan_free_bits(s)[w];
        uint64_t marks = atomic_load(&mspan_free_marks(s)[w]);
        unsigned left = s->nelems - (unsigned)w * 64;
        if (left < 64 && (bits | marks) >> left != 0)
            return "a bitmap has a bit beyond the span's slots";
        if ((bits & marks) != 0)
            return "a slot is free and marked";
    }
    return NULL;
}

/* Records of a small span: only live slots have one, and free knows by the owner's word that there
 * are any. */
static const char *check_records(const struct mspan *s) {
    bool flag = (atomic_load(&s->owner) & SPAN_RECORDED) != 0;
    if (flag && atomic_load(&s->sites) == NULL && !tiny_span(s))
        return "a span that says it has records has no table for them";
    for (size_t i = 0; i < s->nelems; i++) {
        if (mslots_tag(s, i) == 0)
            continue;
        if (!flag)
            return "a slot is recorded, and free would not know";
        if ((mspan_live_word(s, i / 64) >> i % 64 & 1) == 0)
            return "a free slot is recorded";
    }
    return NULL;
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
        n->ncurrent++;
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

static const char *check_geometry(const struct mspan *s) {
    unsigned size_class = s->spc.v >> 1;
    if (size_class == 0 || size_class >= NUM_SIZE_CLASSES ||
        s->npages != class_to_allocnpages[size_class])
        return "a small span has not the pages of its class";
    if (s->elem_size != class_to_size[size_class] || s->div_mul != class_to_divmagic[size_class] ||
        s->nelems != (s->npages << GM_PAGE_SHIFT) / s->elem_size ||
        s->limit != (uint64_t)s->nelems * s->elem_size)
        return "a small span is not cut as its class says";
    return NULL;
}

static const char *check_small(const struct mspan *s, struct recount *n) {
    const struct span_owner *o = mspan_owner(s);
    const char *why = check_geometry(s);
    if (why == NULL)
        why = check_bits(s);
    if (why == NULL)
        why = check_records(s);
    if (why == NULL)
        why = tiny_recount(s, &n->nfilling);
    if (why != NULL)
        return why;
    bool known =
        s->place == GOMALLOC_PLACE_PARTIAL_UNSWEPT || s->place == GOMALLOC_PLACE_FULL_UNSWEPT;
    if (mspan_has_marks(s) && !mspan_is_pending(s) && !known && !mcaches.have_orphans)
        return "a mark is lost: nobody is to sweep it";
    if (o->id == GOMALLOC_OWNER_CENTRAL)
        return check_central(s, n);
    if (o->id >= mcaches.n)
        return "a span's owner is neither an mcache nor its mcentral";
    return check_cached(s, mcaches.all[o->id], n);
}

static const char *check_span(const struct mheap *h, const struct mspan *s, struct recount *n) {
    uint8_t state = atomic_load(&s->state);
    n->npending += mspan_is_pending(s);
    if (atomic_load(&s->gen) % 2 != 0)
        return "a span is being changed, at rest";
    if (state == GOMALLOC_SPAN_DEAD)
        return mspan_owner(s) == NULL ? NULL : "a span that is not in use has an owner";
    n->npages += s->npages;
    n->nspans++;
    if (s->npages == 0 || s->nelems == 0 || mspan_owner(s) == NULL)
        return "a span in use has no pages, no slots or no owner";
    if (!in_tables(s))
        return "a page of a span is not in the arena's table";
    if (!pages_in_use(h, s))
        return "a page of a span is free to the page allocator";
    if (state == GOMALLOC_SPAN_MANUAL)
        return stack_check_span(s, &n->stacks);
    return s->elem_size != 0 ? check_small(s, n) : NULL; /* large: large_recount */
}

/* ---- the lists ---------------------------------------------------------------------------- */

static const char *recount_pending(const struct span_owner *o, uint64_t max, struct recount *n) {
    for (const struct mspan *s = atomic_load(&o->pending); s != NULL;
         s = atomic_load(&s->pending_next))
        if (n->npending++ == max || !mspan_is_pending(s))
            return "a list of spans that wait with marks has one that does not, or a loop";
    return NULL;
}

static bool fits_set(const struct mcentral *c, const struct mspan *s, uint8_t place) {
    return mspan_owner(s) == &c->owner && s->spc.v == c->spc.v && s->place == place;
}

static const char *recount_set(const struct mcentral *c, const struct mspan_set *set, uint8_t place,
                               struct recount *n) {
    static const char why[] = "a span is in a set that is not for it";
    for (uint32_t i = 0; i < set->n; i++)
        if (!fits_set(c, set->spine[i / SPAN_SET_BLOCK_ENTRIES][i % SPAN_SET_BLOCK_ENTRIES], place))
            return why;
    for (const struct mspan *s = set->linked.first; s != NULL; s = s->next)
        if (!fits_set(c, s, place))
            return why;
    n->ncentral += set->n + set->linked.n;
    return NULL;
}

static const char *recount_central(const struct mcentral *c, uint64_t nspans, struct recount *n) {
    const struct {
        const struct mspan_set *set;
        uint8_t place;
    } sets[] = {
        {&c->partial_swept, GOMALLOC_PLACE_PARTIAL_SWEPT},
        {&c->partial_unswept, GOMALLOC_PLACE_PARTIAL_UNSWEPT},
        {&c->full_swept, GOMALLOC_PLACE_FULL_SWEPT},
        {&c->full_unswept, GOMALLOC_PLACE_FULL_UNSWEPT},
    };
    const char *why = recount_pending(&c->owner, nspans, n);
    for (size_t i = 0; i < sizeof sets / sizeof sets[0] && why == NULL; i++)
        why = recount_set(c, sets[i].set, sets[i].place, n);
    return why;
}

static const char *recount_places(const struct mheap *h, uint32_t nspans, struct recount *found) {
    const char *why = mcaches_recount(h, found);
    for (uint32_t i = 0; i < mcaches.n && why == NULL; i++)
        why = recount_pending(&mcaches.all[i]->owner, nspans, found);
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES && why == NULL; spc++)
        why = recount_central(&h->central[spc], nspans, found);
    return why;
}

/* ---- the sums ----------------------------------------------------------------------------- */

/* A thread that was lost in a fork may have had a tiny block in its hands. */
static bool exceeds(uint64_t said, uint64_t found, uint32_t nlost) {
    return said < found || said - found > nlost;
}

static const char *compare(const struct mheap *h, const struct recount *said,
                           const struct recount *found) {
    if (said->npages != h->pages_in_use)
        return "pages in use are not the sum of the spans";
    if (said->npages + found->npages_cached != h->pages.npages_in_use)
        return "a page in use is in no span and in no page cache";
    if (said->nspans * h->spanalloc.size != h->spanalloc.inuse)
        return "headers in use are not those of the spans";
    if (said->npending != found->npending)
        return "spans that wait with marks are not those on the lists";
    if (said->ncurrent != found->ncurrent)
        return "current spans are not those of the mcaches";
    if (said->nlisted != found->nlisted)
        return "listed spans are not those on the lists";
    if (exceeds(said->nfilling, found->nfilling, mcaches.nlost))
        return "tiny blocks that are being filled are not those of the mcaches";
    if (said->ncentral != found->ncentral)
        return "mcentrals' spans are not those in the sets";
    return stack_check_lists(&said->stacks);
}

static const char *check_spans(struct mheap *h) {
    struct recount said = {0}, found = {0};
    const char *why = NULL;
    uint32_t n = atomic_load_explicit(&h->nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n && why == NULL; i++)
        why = h->allspans[i]->index == i ? check_span(h, h->allspans[i], &said)
                                         : "a span has another's number";
    if (why == NULL)
        why = recount_places(h, n, &found);
    return why != NULL ? why : compare(h, &said, &found);
}

bool mheap_consistent(struct mheap *h, const char **ret_why) {
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        if (!mcentral_consistent(&h->central[spc])) {
            *ret_why = "a span set is broken";
            return false;
        }
    mutex_lock(&h->pages.scav_lock); /* pages that are being given back look in use */
    mutex_lock(&h->lock);
    const char *why = check_spans(h);
    if (why == NULL)
        why = large_recount(h);
    if (why == NULL)
        why = page_alloc_consistent(&h->pages);
    mutex_unlock(&h->lock);
    mutex_unlock(&h->pages.scav_lock);
    *ret_why = why;
    return why == NULL;
}
