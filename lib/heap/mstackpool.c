/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Free stacks that no thread has.  Go: runtime/stack.go stackpool, stackLarge.
 */
#include "heap/mstackpool.h"

#include <string.h>

#include "heap/mheap.h"

/* Guarded stacks that are kept, in pages. */
#define LARGE_MAX_PAGES (((size_t)4 << 20) >> GM_PAGE_SHIFT)

static struct stackpool {
    struct mutex lock;
    struct mspan_list spans; /* with stacks in the pool */
} __attribute__((aligned(64))) stackpool[NUM_STACK_ORDERS] = {
    {.lock = MUTEX_INIT(LOCK_RANK_STACKPOOL)},
    {.lock = MUTEX_INIT(LOCK_RANK_STACKPOOL)},
    {.lock = MUTEX_INIT(LOCK_RANK_STACKPOOL)},
    {.lock = MUTEX_INIT(LOCK_RANK_STACKPOOL)},
};

static struct {
    struct mutex lock;
    size_t npages; /* in the lists */
    struct mspan_list free[MAX_STACK_ORDERS];
} stack_large = {.lock = MUTEX_INIT(LOCK_RANK_STACKLARGE)};

/* ---- the pool ----------------------------------------------------------------------------- */

static uint64_t all_stacks(const struct mspan *s) {
    return (UINT64_C(1) << s->nelems) - 1;
}

static void enlist(struct stackpool *p, struct mspan *s) {
    s->place = GOMALLOC_PLACE_LISTED;
    mspan_list_push(&p->spans, s);
}

static void unlist(struct stackpool *p, struct mspan *s) {
    mspan_list_remove(&p->spans, s);
    s->place = GOMALLOC_PLACE_NONE;
}

/* Go: stackpoolalloc. */
static uintptr_t take(struct mcache *c, struct stackpool *p, unsigned order) {
    mutex_assert_held(&p->lock);
    struct mspan *s = p->spans.first;
    if (s == NULL) {
        s = mheap_alloc_manual(&mheap_, c, STACK_CACHE_SIZE >> GM_PAGE_SHIFT,
                               (unsigned)stack_list_room(order), 0);
        if (s == NULL)
            return 0;
        s->pooled = all_stacks(s);
        enlist(p, s);
    }
    size_t slot = (size_t)__builtin_ctzll(s->pooled);
    s->pooled &= s->pooled - 1;
    if (s->pooled == 0)
        unlist(p, s);
    return s->base + slot * s->elem_size;
}

/* Go: stackpoolfree. */
static void put(struct stackpool *p, struct mspan *s, size_t slot) {
    mutex_assert_held(&p->lock);
    if (s->pooled == 0)
        enlist(p, s);
    s->pooled |= UINT64_C(1) << slot;
    if (s->pooled == all_stacks(s)) {
        unlist(p, s);
        mheap_free_manual(&mheap_, s);
    }
}

void stackpool_put(struct mspan *s, size_t slot) {
    struct stackpool *p = &stackpool[stack_order_of(s)];
    mutex_lock(&p->lock);
    put(p, s, slot);
    mutex_unlock(&p->lock);
}

void stackpool_refill(struct mcache *c, struct stack_list *l, unsigned order) {
    struct stackpool *p = &stackpool[order];
    uintptr_t stack;
    mutex_lock(&p->lock);
    while (l->n < stack_list_room(order) / 2 && (stack = take(c, p, order)) != 0)
        l->stack[l->n++] = stack;
    mutex_unlock(&p->lock);
}

void stackpool_release(struct stack_list *l, unsigned order, size_t keep) {
    struct stackpool *p = &stackpool[order];
    size_t n = l->n > keep ? l->n - keep : 0;
    if (n == 0)
        return;
    mutex_lock(&p->lock);
    for (size_t i = 0; i < n; i++) {
        struct mspan *s = mheap_span_of(l->stack[i]);
        put(p, s, mspan_object_index(s, l->stack[i]));
    }
    l->n -= n;
    memmove(l->stack, l->stack + n, l->n * sizeof l->stack[0]);
    memset(l->stack + l->n, 0, n * sizeof l->stack[0]);
    mutex_unlock(&p->lock);
}

/* ---- guarded stacks ----------------------------------------------------------------------- */

struct mspan *stack_large_take(unsigned order) {
    struct mspan_list *l = &stack_large.free[order];
    mutex_lock(&stack_large.lock);
    struct mspan *s = l->first;
    if (s != NULL) {
        mspan_list_remove(l, s);
        stack_large.npages -= s->npages;
        s->place = GOMALLOC_PLACE_NONE;
    }
    mutex_unlock(&stack_large.lock);
    return s;
}

bool stack_large_keep(struct mspan *s, bool must) {
    mutex_lock(&stack_large.lock);
    bool ok = must || stack_large.npages + s->npages <= LARGE_MAX_PAGES;
    if (ok) {
        mspan_list_push(&stack_large.free[stack_order_of(s)], s);
        stack_large.npages += s->npages;
        s->place = GOMALLOC_PLACE_CACHED_LARGE;
    }
    mutex_unlock(&stack_large.lock);
    return ok;
}

/* ---- checking ----------------------------------------------------------------------------- */

static bool pool_is_sound(const struct stackpool *p, unsigned order, size_t *n) {
    size_t had = *n;
    for (const struct mspan *s = p->spans.first; s != NULL; s = s->next, ++*n)
        if (s->place != GOMALLOC_PLACE_LISTED || s->pooled == 0 || s->pooled == all_stacks(s) ||
            s->elem_size != stack_bytes(order))
            return false;
    return *n - had == p->spans.n;
}

bool stackpool_count(size_t *ret_nspans, size_t *ret_nlarge) {
    size_t npages = 0;
    *ret_nspans = *ret_nlarge = 0;
    for (unsigned k = 0; k < NUM_STACK_ORDERS; k++)
        if (!pool_is_sound(&stackpool[k], k, ret_nspans))
            return false;
    for (unsigned k = 0; k < MAX_STACK_ORDERS; k++)
        for (const struct mspan *s = stack_large.free[k].first; s != NULL; s = s->next) {
            if (s->place != GOMALLOC_PLACE_CACHED_LARGE || s->guard == 0 || stack_order_of(s) != k)
                return false;
            npages += s->npages;
            ++*ret_nlarge;
        }
    return npages == stack_large.npages;
}

/* ---- fork --------------------------------------------------------------------------------- */

void stackpool_lock_all(void) {
    for (unsigned k = 0; k < NUM_STACK_ORDERS; k++)
        mutex_lock_next(&stackpool[k].lock);
    mutex_lock(&stack_large.lock);
}

void stackpool_unlock_all(void) {
    mutex_unlock(&stack_large.lock);
    for (unsigned k = NUM_STACK_ORDERS; k-- > 0;)
        mutex_unlock(&stackpool[k].lock);
}

void stackpool_reset_all(void) {
    mutex_reset(&stack_large.lock);
    for (unsigned k = 0; k < NUM_STACK_ORDERS; k++)
        mutex_reset(&stackpool[k].lock);
}

bool stackpool_holds_lock(void) {
    bool any = mutex_is_mine(&stack_large.lock);
    for (unsigned k = 0; k < NUM_STACK_ORDERS; k++)
        any |= mutex_is_mine(&stackpool[k].lock);
    return any;
}
