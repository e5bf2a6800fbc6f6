/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gomalloc's stacks for coroutines: gomalloc(3).
 *
 * free takes no size: the span knows it, and what is not said can't be wrong.
 */
#include <errno.h>

#include "api/crime.h"
#include "api/start.h"
#include "gomalloc/gomalloc.h"
#include "heap/mstack.h"

/* For a thread's first, and for failures. */
static gm_noinline void *alloc_slow(size_t size, unsigned flags) {
    void *p = NULL;
    if ((flags & ~GOMALLOC_STACK_GUARD) != 0) {
        errno = EINVAL;
        return NULL;
    }
    bool passing = mcache_self == &mcache0 && mcache_ending;
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : start_thread();
    if (c != NULL)
        p = stack_alloc(c, size, (flags & GOMALLOC_STACK_GUARD) != 0);
    if (passing && c != NULL)
        mcache_detach();
    if (p == NULL)
        errno = ENOMEM;
    return p;
}

gm_export void *gomalloc_stack_alloc(size_t size, unsigned flags) {
    struct mcache *c = mcache_self;
    void *p = NULL;
    if (gm_likely((flags & ~GOMALLOC_STACK_GUARD) == 0 && c != &mcache0))
        p = stack_alloc(c, size, flags != 0);
    return gm_likely(p != NULL) ? p : alloc_slow(size, flags);
}

gm_export int gomalloc_stack_free(void *stack) {
    if (stack == NULL)
        return 0;
    enum stack_free_result r = stack_free(mcache_self, (uintptr_t)stack);
    if (gm_likely(r == STACK_FREE_OK))
        return 0;
    crime_committed(r == STACK_FREE_DOUBLE ? CRIME_stack_double_free : CRIME_stack_invalid_free,
                    stack, "gomalloc_stack_free");
    errno = EINVAL;
    return -1;
}

gm_export size_t gomalloc_stack_size(const void *stack) {
    return stack_size((uintptr_t)stack);
}
