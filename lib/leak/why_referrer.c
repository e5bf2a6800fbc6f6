/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The words that point to an object directly.
 */
#include "leak/why_referrer.h"

#include "heap/mslots.h"
#include "prof/prof.h"

/* Roots leave room for objects: a stale pointer may stand in each of a hundred threads' stacks. */
#define MOST_ROOTS (WHY_REFERRERS / 2)

static uint32_t site_of(uintptr_t object) {
    const struct mspan *s = mheap_span_covering(object);
    uint32_t site = s != NULL ? prof_tag_site(mslots_tag(s, mspan_object_index(s, object))) : 0;
    return site <= prof_nsites() ? site : 0;
}

static bool same_sort(const struct why_referrer *a, const struct why_referrer *b) {
    const struct why_place *p = &a->place, *q = &b->place;
    if (p->is_object != q->is_object || a->leaked != b->leaked)
        return false;
    if (p->is_object)
        return a->site == b->site && p->end - p->start == q->end - q->start;
    /* Variables are told apart by their addresses. */
    return p->kind == q->kind && p->start == q->start && p->variable == q->variable &&
           ((p->kind != ROOT_DATA && !p->variable) || p->word == q->word);
}

/* count adds the word to those of its sort; false: it is the first, and not told yet. */
static bool count(struct why_referrers *r, const struct why_referrer *one) {
    r->nwords++;
    r->nleaked += one->leaked;
    for (uint32_t i = 0; i < r->n; i++)
        if (same_sort(&r->all[i], one)) {
            r->all[i].words++;
            return true;
        }
    return false;
}

static uint32_t count_roots(const struct why_referrers *r) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->n; i++)
        n += !r->all[i].place.is_object;
    return n;
}

void why_referrer_object(struct why_referrers *r, const struct why_place *at, uintptr_t value,
                         bool leaked) {
    const struct why_referrer one = {
        .place = *at, .value = value, .words = 1, .site = site_of(at->start), .leaked = leaked};
    if (!count(r, &one) && r->n < WHY_REFERRERS)
        r->all[r->n++] = one;
}

void why_referrer_root(struct why_referrers *r, const struct roots *roots,
                       const struct root_place *range, bool variable, uintptr_t word,
                       uintptr_t value) {
    struct why_referrer one = {.place = {.kind = range->kind,
                                         .word = word,
                                         .start = range->start,
                                         .end = range->end,
                                         .variable = variable},
                               .value = value,
                               .words = 1};
    if (count(r, &one) || count_roots(r) == MOST_ROOTS)
        return;
    one.place = why_place_root(roots, range, word);
    r->all[r->n++] = one;
}
