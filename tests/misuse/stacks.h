/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the programs that misuse stacks share.
 */
#ifndef TESTS_MISUSE_STACKS_H
#define TESTS_MISUSE_STACKS_H

#include <dlfcn.h>

#include "gomalloc/gomalloc.h"
#include "misuse.h"

static void *(*stack_alloc)(size_t, unsigned);
static int (*stack_free)(void *);

/* The programs are not linked with the library. */
static inline void find_functions(void) {
    *(void **)&stack_alloc = dlsym(RTLD_DEFAULT, "gomalloc_stack_alloc");
    *(void **)&stack_free = dlsym(RTLD_DEFAULT, "gomalloc_stack_free");
    if (stack_alloc == NULL || stack_free == NULL)
        abort();
}

static inline void *make(size_t size, unsigned flags) {
    void *p = stack_alloc(size, flags);
    if (p == NULL)
        abort();
    return p;
}

#endif
