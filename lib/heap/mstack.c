/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks for coroutines.  Go: runtime/stack.go stackalloc, stackfree.
 *
 * fork.  A thread may be lost between any two instructions of stack_alloc and stack_free, but not
 * inside a lock.  Its list's entry n is written before the bit is set, and n after it; and n is
 * taken down before the bit is cleared: so a free stack of a lost thread is among the entries 0 to
 * n, and stack_after_fork looks at those.  What it finds there may be something else by now, which
 * it can tell: a stack that is free, not in the pool and not the surviving thread's was the lost
 * thread's.  What can be lost is the one span that a thread was making or unmaking; it remains,
 * with a free stack in it.
 */
#include "heap/mstack.h"

#include "heap/mguard.h"
#include "heap/mheap.h"
#include "heap/mlarge.h"

/* ---- which is it -------------------------------------------------------------------------- */

static unsigned order_for(size_t size, bool guard) {
    size_t least = guard ? PHYS_PAGE_SIZE : STACK_MIN;
    size_t n = size > least ? size : least;
    return 64 - (unsigned)__builtin_clzll(n - 1) - STACK_MIN_SHIFT;
}

static uintptr_t only_stack(const struct mspan *s) {
    return s->base + s->guard;
}

/* The span of the stack that begins at p, in use or not, and its slot; NULL: none does. */
gm_inline struct mspan *find(uintptr_t p, size_t *ret_slot) {
    struct mspan *s = mheap_span_of(p);
    if (s == NULL ||
        atomic_load_explicit(&s->state, memory_order_acquire) != GOMALLOC_SPAN_MANUAL ||
        p - s->base >= (uintptr_t)s->npages << GM_PAGE_SHIFT)
        return NULL;
    *ret_slot = 0;
    if (s->elem_size == 0)
        return p == only_stack(s) ? s : NULL;
    return mspan_small_slot(s, p, ret_slot) ? s : NULL;
}

/* No order is needed: a stack goes from thread to thread by way of the pool's lock, or of the
 * program's own. */
static void set_live(struct mspan *s, size_t slot) {
    __atomic_fetch_and(&s->free_bits0, ~(UINT64_C(1) << slot), __ATOMIC_RELAXED);
}

static bool is_free(const struct mspan *s, size_t slot) {
    return __atomic_load_n(&s->free_bits0, __ATOMIC_RELAXED) >> slot & 1;
}

/* False: it is free already. */
static bool set_free(struct mspan *s, size_t slot) {
    uint64_t bit = UINT64_C(1) << slot;
    return (__atomic_fetch_or(&s->free_bits0, bit, __ATOMIC_RELAXED) & bit) == 0;
}

/* ---- spans of one stack ------------------------------------------------------------------- */

/* Before the heap grows: what can be had of what it has? */
static void reclaim_if_due(struct mcache *c) {
    if (!mheap_reclaim_due(&mheap_))
        return;
    mcache_flush(c);
    mheap_reclaim(&mheap_);
}

static struct mspan *new_span(struct mcache *c, size_t npages, size_t guard) {
    reclaim_if_due(c);
    struct mspan *s = mheap_alloc_manual(&mheap_, c, npages, 1, guard);
    if (s == NULL) { /* out of memory, unless what the caches keep can be had */
        mcache_release(c);
        mheap_reclaim(&mheap_);
        s = mheap_alloc_manual(&mheap_, c, npages, 1, guard);
    }
    return s;
}

static struct mspan *new_guarded(struct mcache *c, unsigned order) {
    struct mspan *s = stack_large_take(order);
    if (s != NULL)
        return s;
    size_t npages = (stack_bytes(order) >> GM_PAGE_SHIFT) + 1;
    s = new_span(c, npages, (npages << GM_PAGE_SHIFT) - stack_bytes(order));
    if (s != NULL && !mguard_set(s->base, s->guard)) {
        mheap_free_manual(&mheap_, s);
        return NULL;
    }
    return s;
}

/* False: the kernel refuses; it is kept, and stays what it is. */
static bool free_guarded(struct mspan *s) {
    if (!mguard_clear(s->base, s->guard))
        return !stack_large_keep(s, true);
    mheap_free_manual(&mheap_, s);
    return true;
}

static void keep_or_free_guarded(struct mspan *s) {
    if (!stack_large_keep(s, false))
        free_guarded(s);
}

void stack_reclaim(void) {
    struct mspan *s;
    for (unsigned k = 0; k < MAX_STACK_ORDERS; k++)
        while ((s = stack_large_take(k)) != NULL)
            if (!free_guarded(s))
                return;
}

/* ---- the thread's cache ------------------------------------------------------------------- */

/* Gives back those that have been in the list for longest, until it has keep. */
static void release(struct stack_list *l, unsigned order, bool guard, size_t keep) {
    if (!guard) {
        stackpool_release(l, order, keep);
        return;
    }
    while (l->n > keep) {
        keep_or_free_guarded(mheap_span_of(l->stack[0]));
        l->n--;
        atomic_signal_fence(memory_order_seq_cst); /* see fork, above */
        for (size_t i = 0; i < l->n; i++)
            l->stack[i] = l->stack[i + 1];
        l->stack[l->n] = 0;
    }
}

void stack_flush(struct stack_cache *c) {
    for (unsigned guard = 0; guard < 2; guard++)
        for (unsigned k = 0; k < NUM_STACK_ORDERS; k++)
            release(&c->list[guard][k], k, guard, 0);
}

static void fill(struct mcache *c, struct stack_list *l, unsigned order, bool guard) {
    if (!guard) {
        stackpool_refill(c, l, order);
        return;
    }
    struct mspan *s = new_guarded(c, order);
    if (s != NULL)
        l->stack[l->n++] = only_stack(s);
}

/* Go: stackcacherefill.  False: out of memory. */
static gm_noinline bool refill(struct mcache *c, struct stack_list *l, unsigned order, bool guard) {
    if (c->flush_gen != atomic_load_explicit(&mheap_.sweepgen, memory_order_relaxed))
        mcache_flush(c);
    reclaim_if_due(c);
    fill(c, l, order, guard);
    if (l->n == 0) {
        mcache_release(c);
        mheap_reclaim(&mheap_);
        fill(c, l, order, guard);
    }
    return l->n != 0;
}

/* ---- alloc, free -------------------------------------------------------------------------- */

static gm_noinline void *alloc_large(struct mcache *c, unsigned order, bool guard) {
    struct mspan *s =
        guard ? new_guarded(c, order) : new_span(c, stack_bytes(order) >> GM_PAGE_SHIFT, 0);
    if (s == NULL)
        return NULL;
    set_live(s, 0);
    return (void *)only_stack(s);
}

gm_inline void *take(struct stack_list *l) {
    size_t n = l->n - 1;
    uintptr_t p = l->stack[n];
    l->n = n;
    atomic_signal_fence(memory_order_seq_cst); /* see fork, above */
    struct mspan *s = mheap_span_of(p);
    set_live(s, mspan_object_index(s, p));
    l->stack[n] = 0;
    return (void *)p;
}

static gm_noinline void *take_after_refill(struct mcache *c, struct stack_list *l, unsigned order,
                                           bool guard) {
    return refill(c, l, order, guard) ? take(l) : NULL;
}

void *stack_alloc(struct mcache *c, size_t size, bool guard) {
    if (gm_unlikely(size > MAX_ALLOC / 2))
        return NULL;
    unsigned order = order_for(size, guard);
    if (gm_unlikely(order >= NUM_STACK_ORDERS))
        return alloc_large(c, order, guard);
    struct stack_list *l = &c->stacks.list[guard][order];
    return gm_likely(l->n != 0) ? take(l) : take_after_refill(c, l, order, guard);
}

static enum stack_free_result free_large(struct mspan *s) {
    if (!set_free(s, 0))
        return STACK_FREE_DOUBLE;
    if (s->guard != 0)
        keep_or_free_guarded(s);
    else
        mheap_free_manual(&mheap_, s);
    return STACK_FREE_OK;
}

/* For a thread without a cache. */
static enum stack_free_result free_uncached(struct mspan *s, size_t slot) {
    if (s->elem_size == 0)
        return free_large(s);
    if (!set_free(s, slot))
        return STACK_FREE_DOUBLE;
    stackpool_put(s, slot);
    return STACK_FREE_OK;
}

static gm_noinline enum stack_free_result free_after_release(struct mcache *c, struct stack_list *l,
                                                             const struct mspan *s, uintptr_t p) {
    unsigned order = stack_order_of(s);
    release(l, order, s->guard != 0, stack_list_room(order) / 2);
    return stack_free(c, p);
}

enum stack_free_result stack_free(struct mcache *c, uintptr_t p) {
    size_t slot;
    struct mspan *s = find(p, &slot);
    if (gm_unlikely(s == NULL))
        return STACK_FREE_INVALID;
    unsigned order = stack_order_of(s);
    if (gm_unlikely(order >= NUM_STACK_ORDERS || c == &mcache0))
        return free_uncached(s, slot);
    struct stack_list *l = &c->stacks.list[s->guard != 0][order];
    size_t n = l->n;
    if (gm_unlikely(n == stack_list_room(order)))
        return free_after_release(c, l, s, p);
    l->stack[n] = p;
    atomic_signal_fence(memory_order_seq_cst); /* see fork, above */
    if (gm_unlikely(!set_free(s, slot))) {
        l->stack[n] = 0;
        return STACK_FREE_DOUBLE;
    }
    l->n = n + 1;
    return STACK_FREE_OK;
}

size_t stack_size(uintptr_t p) {
    size_t slot;
    const struct mspan *s = find(p, &slot);
    return s != NULL && !is_free(s, slot) ? stack_bytes(stack_order_of(s)) : 0;
}

/* ---- fork --------------------------------------------------------------------------------- */

static bool has(const struct stack_cache *c, uintptr_t p) {
    for (unsigned guard = 0; guard < 2; guard++)
        for (unsigned k = 0; k < NUM_STACK_ORDERS; k++)
            for (size_t i = 0; i <= c->list[guard][k].n && i < stack_list_room(k); i++)
                if (c->list[guard][k].stack[i] == p)
                    return true;
    return false;
}

static void recover(uintptr_t p, const struct stack_cache *mine) {
    size_t slot;
    struct mspan *s = p != 0 ? find(p, &slot) : NULL;
    if (s == NULL || !is_free(s, slot) || has(mine, p))
        return;
    if (s->elem_size != 0) {
        if ((s->pooled >> slot & 1) == 0)
            stackpool_put(s, slot);
    } else if (s->guard != 0 && s->place == GOMALLOC_PLACE_NONE) {
        free_guarded(s); /* its thread may have been doing so */
    }
}

void stack_after_fork(struct stack_cache *lost, const struct stack_cache *mine) {
    if (mheap_holds_lock(&mheap_)) /* a nested fork: they are lost to this child */
        return;
    for (unsigned guard = 0; guard < 2; guard++)
        for (unsigned k = 0; k < NUM_STACK_ORDERS; k++) {
            struct stack_list *l = &lost->list[guard][k];
            for (size_t i = 0; i <= l->n && i < stack_list_room(k); i++)
                recover(l->stack[i], mine);
            l->n = 0;
        }
}
