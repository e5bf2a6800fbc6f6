/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Libraries that take each other's place, and recursion that is deeper than what is kept of a
 * stack. See fuzz_program.h.
 */
#include "fuzz_program.h"

#include <dlfcn.h>

#define NOINLINE static __attribute__((noinline)) uint64_t
#define HERE(x)  __asm__ volatile("" : "+r"(x))

/* Two plugins of the same code but for the size of a frame. */
static const char *paths[2];
static unsigned plugin_turn;

static struct fuzz *calling;
static unsigned calling_depth;

static void from_plugin(void) {
    fuzz_next(calling, calling_depth, 1);
    fuzz_next(calling, calling_depth / 2, 2);
}

/* Not out of it by a jump or an exception: the library would stay. */
NOINLINE by_plugin(struct fuzz *f, unsigned depth, uint64_t x) {
    if (fuzz_random(f, 30) != 0 || f->nested != 0)
        return fuzz_next(f, depth, x) + 1;
    void *handle = dlopen(paths[plugin_turn++ % 2], RTLD_NOW | RTLD_LOCAL);
    union {
        void *symbol;
        void (*call)(void (*)(void));
    } at = {handle != NULL ? dlsym(handle, "reload_call") : NULL};
    if (at.symbol == NULL)
        abort();
    sigjmp_buf *landing = f->landing;
    unsigned tries = f->tries;
    f->landing = NULL;
    f->tries = 0;
    f->nested++;
    calling = f;
    calling_depth = depth / 2;
    at.call(from_plugin);
    f->nested--;
    f->tries = tries;
    f->landing = landing;
    dlclose(handle);
    return x;
}

void fuzz_add_reload(struct fuzz *f, const char *a, const char *b) {
    paths[0] = a;
    paths[1] = b;
    fuzz_add(f, by_plugin);
    fuzz_add(f, by_plugin);
}

NOINLINE descend(struct fuzz *f, unsigned levels, unsigned depth, uint64_t x) {
    if (levels == 0)
        return fuzz_next(f, depth, x) + fuzz_next(f, depth / 2, x);
    x = descend(f, levels - 1, depth, x + 1);
    HERE(x);
    return x;
}

/* Rarely, and not within itself, or all would be deep. */
NOINLINE deeply(struct fuzz *f, unsigned depth, uint64_t x) {
    static bool within;
    if (fuzz_random(f, 100) != 0 || within || f->nested != 0)
        return fuzz_next(f, depth, x) + 1;
    sigjmp_buf *landing = f->landing;
    unsigned tries = f->tries;
    f->landing = NULL;
    f->tries = 0;
    within = true;
    x = descend(f, (unsigned)fuzz_random(f, 3000), depth / 2, x);
    within = false;
    f->tries = tries;
    f->landing = landing;
    HERE(x);
    return x;
}

void fuzz_add_deep(struct fuzz *f) {
    fuzz_add(f, deeply);
}
