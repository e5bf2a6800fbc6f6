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

static struct mcache *self(void) {
    struct mcache *c = mcache_self;
    return gm_likely(c != &mcache0) ? c : start_thread();
}

gm_export void *gomalloc_stack_alloc(size_t size, unsigned flags) {
    int saved = errno;
    if (gm_unlikely((flags & ~GOMALLOC_STACK_GUARD) != 0)) {
        errno = EINVAL;
        return NULL;
    }
    struct mcache *c = self();
    void *p = c != NULL ? stack_alloc(c, size, (flags & GOMALLOC_STACK_GUARD) != 0) : NULL;
    errno = p != NULL ? saved : ENOMEM;
    return p;
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
