/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mcaches recounted, for tests: what one refers to is its own, and is what it takes it for.
 *
 * The first rule is that of hints.  malloc follows a hint without a look at the span, so a hint to
 * a slot of somebody else's would write into his bitmap with a plain store.
 */
#include "heap/mheap_check.h"
#include "heap/msize.h"
#include "heap/mtiny.h"

static bool owns(const struct mcache *c, const struct mspan *s, size_t spc) {
    return s != NULL && atomic_load(&s->state) == GOMALLOC_SPAN_IN_USE &&
           mspan_owner(s) == &c->owner && s->spc.v == spc;
}

/* ---- a class's entry ---------------------------------------------------------------------- */

static const char *check_hints(const struct mcache *c, size_t spc) {
    const struct mcache_entry *e = &c->alloc[spc];
    if (e->sp < e->bottom || e->sp > e->end ||
        (size_t)(e->end - e->bottom) != mcache_hints_of((struct span_class){(uint8_t)spc}))
        return "a stack of hints is not within its bounds";
    for (const struct hint *h = e->bottom; h != e->sp; h++) {
        const struct mspan *s = mheap_span_of(h->p);
        size_t slot;
        if (!owns(c, s, spc))
            return "a hint leads to a span that is not its mcache's";
        if (!mspan_small_slot(s, h->p, &slot) || h->bit_addr != s->bit_base + slot)
            return "a hint has the bit of another slot";
    }
    return NULL;
}

/* The word that the fast path takes slots from: one of the current span's, and then the slots are
 * those it stands for; or a zero word that nobody writes. */
static const char *check_word(const struct mcache_entry *e) {
    const struct mspan *s = e->span;
    const uint64_t *bits = s != NULL ? mspan_free_bits(s) : NULL;
    if (s == NULL || e->word < bits || e->word >= bits + s->nwords)
        return *e->word == 0 ? NULL : "an mcache takes slots from a word that is not its span's";
    if (e->elem_size != s->elem_size ||
        e->word_base != s->base + (size_t)(e->word - bits) * 64 * s->elem_size)
        return "an mcache takes other slots than its word says";
    return NULL;
}

static const char *check_listed(const struct mcache *c, size_t spc, struct recount *found) {
    const struct mspan_list *l = &c->listed[spc];
    const struct mspan *prev = NULL;
    size_t n = 0;
    for (const struct mspan *s = l->first; s != NULL; prev = s, s = s->next, n++) {
        if (!owns(c, s, spc) || s->place != GOMALLOC_PLACE_LISTED)
            return "a span on an mcache's list is not for it";
        if (s->prev != prev || n == l->n)
            return "an mcache's list is not linked as it should be";
    }
    found->nlisted += n;
    return n == l->n ? NULL : "an mcache's list has not as many spans as it says";
}

static const char *check_entry(const struct mcache *c, size_t spc, struct recount *found) {
    const struct mcache_entry *e = &c->alloc[spc];
    if (e->span != NULL && (!owns(c, e->span, spc) || e->span->place != GOMALLOC_PLACE_CURRENT))
        return "an mcache's current span is not for it";
    found->ncurrent += e->span != NULL;
    const char *why = check_hints(c, spc);
    if (why == NULL)
        why = check_word(e);
    return why != NULL ? why : check_listed(c, spc, found);
}

/* ---- the rest of an mcache ---------------------------------------------------------------- */

static const char *check_pages(const struct mheap *h, const struct page_cache *c,
                               struct recount *found) {
    if (c->cache == 0)
        return c->scav == 0 ? NULL : "an empty page cache has scavenged pages";
    if ((c->scav & ~c->cache) != 0)
        return "a page cache has scavenged pages that it has not";
    if (c->base % (64 * GM_PAGE_SIZE) != 0 || !addr_ranges_contains(&h->pages.in_use, c->base))
        return "a page cache is not of the heap";
    const struct palloc_data *chunk = page_alloc_chunk(&h->pages, chunk_index(c->base));
    if ((c->cache & ~chunk->alloc.w[chunk_page_index(c->base) / 64]) != 0)
        return "a cached page is free to the page allocator too";
    found->npages_cached += (unsigned)__builtin_popcountll(c->cache);
    return NULL;
}

static const char *check_tiny(const struct mcache *c, struct recount *found) {
    if (c->tiny == 0)
        return NULL;
    const struct mspan *s = mheap_span_of(c->tiny);
    if (s == NULL || !tiny_span(s) || !tiny_filling(s, c->tiny) || c->tiny_offset > TINY_SIZE)
        return "an mcache fills a tiny block that is none";
    found->nfilling++;
    return NULL;
}

const char *mcache_recount(const struct mheap *h, const struct mcache *c, struct recount *found) {
    const char *why = NULL;
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES && why == NULL; spc++)
        why = check_entry(c, spc, found);
    if (why == NULL)
        why = check_pages(h, &c->pcache, found);
    return why != NULL ? why : check_tiny(c, found);
}

/* ---- all of them -------------------------------------------------------------------------- */

static const char *check_idle(void) {
    uint32_t n = 0, nattached = 0;
    for (const struct mcache *c = mcaches.idle; c != NULL; c = c->next_idle)
        if (c->attached || ++n > mcaches.n)
            return "the list of idle mcaches has one that is in use, or a loop";
    for (uint32_t i = 0; i < mcaches.n; i++)
        nattached += mcaches.all[i]->attached;
    if (n != mcaches.nidle || n + nattached != mcaches.n)
        return "not every mcache is either in use or on the list of idle ones";
    return NULL;
}

const char *mcaches_recount(const struct mheap *h, struct recount *found) {
    for (uint32_t i = 0; i < mcaches.n; i++) {
        const struct mcache *c = mcaches.all[i];
        const char *why = c->owner.id != i ? "an mcache has another's number" : NULL;
        if (why == NULL)
            why = mcache_recount(h, c, found);
        if (why != NULL)
            return why;
    }
    return check_idle();
}
