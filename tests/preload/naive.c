/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A naive recorder, for the tests of never.bats: each of them must fail under it, or it tests
 * nothing.  It is preloaded before libgomalloc.so, which then records nothing (rate=0).
 *
 * NAIVE=backtrace  each malloc calls libunwind's unw_backtrace, which this library is linked with
 * NAIVE=step       each malloc walks by unw_step, with libunwind's cache off
 * NAIVE=allocate   each malloc keeps a stack in memory that it allocates
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define UNW_LOCAL_ONLY
#include <libunwind.h>

static _Thread_local int inside __attribute__((tls_model("initial-exec")));

static void backtrace_(void) {
    void *pcs[128];
    unw_backtrace(pcs, 128);
}

static void step(void) {
    unw_context_t context;
    unw_cursor_t cursor;
    unw_set_caching_policy(unw_local_addr_space, UNW_CACHE_NONE);
    unw_getcontext(&context);
    unw_init_local(&cursor, &context);
    while (unw_step(&cursor) > 0)
        continue;
}

static void allocate(void) {
    void **pcs = malloc(128 * sizeof *pcs);
    unw_backtrace(pcs, 128);
    free(pcs);
}

static void record(const char *how) {
    if (strcmp(how, "backtrace") == 0)
        backtrace_();
    else if (strcmp(how, "step") == 0)
        step();
    else if (strcmp(how, "allocate") == 0)
        allocate();
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
    static _Atomic(uintptr_t) next_;
    uintptr_t at = atomic_load(&next_);
    if (at == 0)
        atomic_store(&next_, at = (uintptr_t)dlsym(RTLD_NEXT, "malloc"));
    void *p = ((void *(*)(size_t))at)(size);
    const char *how = getenv("NAIVE");
    if (how != NULL && inside == 0) {
        inside = 1; /* what it allocates in its turn is not recorded */
        record(how);
        inside = 0;
    }
    return p;
}
