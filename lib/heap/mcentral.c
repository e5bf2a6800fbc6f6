/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The spans of one class that no thread owns.  Go: runtime/mcentral.go.
 */
#include "heap/mcentral.h"

#include "heap/mheap.h"
#include "sys/throw.h"

void mcentral_init(struct mcentral *c, struct span_class spc) {
    c->owner.id = GOMALLOC_OWNER_CENTRAL;
    c->lock = (struct mutex)MUTEX_INIT(LOCK_RANK_MCENTRAL);
    c->spc = spc;
}

static struct mspan_set *set_of(struct mcentral *c, uint8_t place) {
    switch (place) {
    case GOMALLOC_PLACE_PARTIAL_SWEPT:
        return &c->partial_swept;
    case GOMALLOC_PLACE_PARTIAL_UNSWEPT:
        return &c->partial_unswept;
    case GOMALLOC_PLACE_FULL_SWEPT:
        return &c->full_swept;
    case GOMALLOC_PLACE_FULL_UNSWEPT:
        return &c->full_unswept;
    default:
        throw_values("mcentral: span in no set", place, c->spc.v);
    }
}

static void insert(struct mcentral *c, struct mspan *s, uint8_t place) {
    s->place = place;
    mspan_set_push(set_of(c, place), s);
}

static uint8_t swept_place(const struct mspan *s) {
    return mspan_has_free(s) ? GOMALLOC_PLACE_PARTIAL_SWEPT : GOMALLOC_PLACE_FULL_SWEPT;
}

/* A span of ours has got marks since it was swept. */
static void note_unswept(struct mcentral *c, struct mspan *s) {
    uint8_t to;
    if (s->place == GOMALLOC_PLACE_PARTIAL_SWEPT)
        to = GOMALLOC_PLACE_PARTIAL_UNSWEPT;
    else if (s->place == GOMALLOC_PLACE_FULL_SWEPT)
        to = GOMALLOC_PLACE_FULL_UNSWEPT;
    else
        return; /* unswept already */
    mspan_set_remove(set_of(c, s->place), s);
    insert(c, s, to);
}

static void drain_pending(struct mcentral *c) {
    struct mspan *next;
    for (struct mspan *s = mspan_take_pending(&c->owner); s != NULL; s = next) {
        next = mspan_pop_pending(s);
        if (mspan_owner(s) == &c->owner)
            note_unswept(c, s);
        else
            mspan_note_pending(s); /* it has another owner now */
    }
}

/* Takes a span with a free slot out of the sets: the swept ones cost nothing, an unswept partial
 * one may gain more slots by its sweep, a full one gains its first. */
static struct mspan *take(struct mcentral *c) {
    struct mspan *s = mspan_set_pop(&c->partial_swept);
    if (s != NULL)
        return s;
    s = mspan_set_pop(&c->partial_unswept);
    if (s == NULL)
        s = mspan_set_pop(&c->full_unswept);
    if (s != NULL)
        mspan_sweep(s, heap_sweepgen());
    return s;
}

static void set_owner(struct mspan *s, struct span_owner *to) {
    uintptr_t old = atomic_load_explicit(&s->owner, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&s->owner, &old, (uintptr_t)to | (old & SPAN_RECORDED)))
        ; /* mslots_ignore has set the flag in between */
}

struct mspan *mcentral_cache_span(struct mcentral *c, struct span_owner *to) {
    mutex_lock(&c->lock);
    drain_pending(c);
    struct mspan *s = take(c);
    if (s != NULL) {
        s->place = GOMALLOC_PLACE_NONE;
        set_owner(s, to);
        c->ncache++;
    }
    mutex_unlock(&c->lock);
    return s;
}

void mcentral_uncache_span(struct mcentral *c, struct mspan *s) {
    mspan_sweep(s, heap_sweepgen());
    if (mspan_is_empty(s)) {
        mheap_free(&mheap_, s);
        return;
    }
    mutex_lock(&c->lock);
    set_owner(s, &c->owner);
    insert(c, s, swept_place(s));
    c->nuncache++;
    mutex_unlock(&c->lock);
}

/* Sweeps one set; spans that turn out empty are collected in *ret_empty. */
static void sweep_set(struct mcentral *c, struct mspan_set *set, struct mspan_list *ret_empty) {
    struct mspan *s;
    while ((s = mspan_set_pop(set)) != NULL) {
        mspan_sweep(s, heap_sweepgen());
        if (mspan_is_empty(s)) {
            s->place = GOMALLOC_PLACE_NONE;
            mspan_list_push(ret_empty, s);
        } else {
            insert(c, s, swept_place(s));
        }
    }
}

size_t mcentral_sweep(struct mcentral *c) {
    struct mspan_list empty = {0};
    mutex_lock(&c->lock);
    drain_pending(c);
    sweep_set(c, &c->partial_unswept, &empty);
    sweep_set(c, &c->full_unswept, &empty);
    size_t npages = 0;
    while (empty.first != NULL) {
        struct mspan *s = empty.first;
        mspan_list_remove(&empty, s);
        npages += s->npages;
        mheap_free(&mheap_, s);
    }
    mutex_unlock(&c->lock);
    return npages;
}

bool mcentral_consistent(struct mcentral *c) {
    mutex_lock(&c->lock);
    bool ok = mspan_set_consistent(&c->partial_swept) &&
              mspan_set_consistent(&c->partial_unswept) && mspan_set_consistent(&c->full_swept) &&
              mspan_set_consistent(&c->full_unswept);
    mutex_unlock(&c->lock);
    return ok;
}
