/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stacks recounted from scratch, for tests: mheap_check.c's part for manual spans.
 */
#include "heap/mheap.h"
#include "heap/mstack.h"

static uint64_t all_stacks(const struct mspan *s) {
    return s->nelems == 64 ? UINT64_MAX : (UINT64_C(1) << s->nelems) - 1;
}

static const char *check_cut(const struct mspan *s, struct stack_recount *said) {
    uint64_t cached = s->free_bits0 & ~s->pooled;
    if (s->pooled & ~s->free_bits0)
        return "a stack of the pool is in use";
    if (s->pooled == all_stacks(s))
        return "a span with no stack in use or cached is kept";
    if ((s->pooled != 0) != (s->place == GOMALLOC_PLACE_LISTED))
        return "a span of stacks is in the wrong place";
    if (s->guard != 0 || s->elem_size * (size_t)s->nelems != (size_t)s->npages << GM_PAGE_SHIFT)
        return "a span of stacks is cut wrongly";
    said->npooled += s->pooled != 0;
    said->ncached += (size_t)__builtin_popcountll(cached);
    return NULL;
}

static const char *check_one(const struct mspan *s, struct stack_recount *said) {
    size_t bytes = mspan_elem_bytes(s) - s->guard;
    bool kept = s->place == GOMALLOC_PLACE_CACHED_LARGE;
    if (s->nelems != 1 || (bytes & (bytes - 1)) != 0 || s->guard % PHYS_PAGE_SIZE != 0)
        return "a stack's span has the wrong size";
    if (!kept && s->place != GOMALLOC_PLACE_NONE)
        return "a stack's span is in the wrong place";
    if (kept && s->free_bits0 == 0)
        return "a kept stack is in use";
    said->nlarge += kept;
    said->ncached += s->free_bits0 != 0 && !kept;
    return NULL;
}

const char *stack_check_span(const struct mspan *s, struct stack_recount *said) {
    if (mspan_owner(s) != &mheap_.owner || atomic_load(&mspan_free_marks(s)[0]) != 0 ||
        (s->free_bits0 & ~all_stacks(s)) != 0)
        return "a manual span is not the heap's, or has bits that mean nothing";
    return s->elem_size != 0 ? check_cut(s, said) : check_one(s, said);
}

static bool entry_is_sound(uintptr_t p, unsigned order, bool guard) {
    const struct mspan *s = mheap_span_of(p);
    if (s == NULL || atomic_load(&s->state) != GOMALLOC_SPAN_MANUAL || stack_order_of(s) != order ||
        guard != (s->guard != 0))
        return false;
    size_t slot = guard ? 0 : (p - s->base) / stack_bytes(order);
    uintptr_t begin = guard ? s->base + s->guard : s->base + slot * stack_bytes(order);
    return p == begin && (s->free_bits0 & ~s->pooled) >> slot & 1;
}

static bool list_is_sound(const struct stack_list *l, unsigned order, bool guard) {
    if (l->n > stack_list_room(order))
        return false;
    for (size_t i = 0; i < l->n; i++) {
        if (!entry_is_sound(l->stack[i], order, guard))
            return false;
        for (size_t k = 0; k < i; k++)
            if (l->stack[k] == l->stack[i])
                return false;
    }
    return true;
}

const char *stack_check_lists(const struct stack_recount *said) {
    struct stack_recount found = {0};
    for (uint32_t i = 0; i < mcaches.n; i++)
        for (unsigned guard = 0; guard < 2; guard++)
            for (unsigned k = 0; k < NUM_STACK_ORDERS; k++) {
                const struct stack_list *l = &mcaches.all[i]->stacks.list[guard][k];
                if (!list_is_sound(l, k, guard))
                    return "a thread's list of stacks is broken";
                found.ncached += l->n;
            }
    if (!stackpool_count(&found.npooled, &found.nlarge))
        return "a list of the stack pool is broken";
    if (said->npooled != found.npooled || said->nlarge != found.nlarge)
        return "spans of free stacks are not those on the lists";
    /* A thread that was lost in a fork may have had one in its hands. */
    return said->ncached >= found.ncached && said->ncached - found.ncached <= mcaches.nlost
               ? NULL
               : "a free stack is lost: no pool, no cache";
}
