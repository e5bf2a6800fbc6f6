/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The crime stack_invalid_free: what is given back is not the address of a stack.  If the program
 * lives on (on_error=report), the call returns -1.
 */
#include "stacks.h"

static void free_announced(void *p) {
    announce(p);
    errno = 0;
    if (stack_free(p) != -1 || errno != EINVAL)
        abort();
}

static void inside(void) {
    free_announced((char *)make(8192, 0) + 2048);
}
static void upper_end(void) {
    free_announced((char *)make(16384, GOMALLOC_STACK_GUARD) + 16384);
}
static void guard(void) {
    free_announced((char *)make(16384, GOMALLOC_STACK_GUARD) - 8192);
}
static void object(void) {
    free_announced(do_malloc(2048));
}
static void large_object(void) {
    free_announced(do_malloc(100000));
}

static void own_stack(void) {
    char local[64];
    free_announced(local);
}

/* Its pages have gone back to the page heap. */
static void large_freed_twice(void) {
    void *p = make(1 << 20, 0);
    stack_free(p);
    free_announced(p);
}

int main(int argc, char **argv) {
    static const struct variant variants[] = {
        {"inside", inside},
        {"upper_end", upper_end},
        {"guard", guard},
        {"object", object},
        {"large_object", large_object},
        {"own_stack", own_stack},
        {"large_freed_twice", large_freed_twice},
        {NULL, NULL},
    };
    find_functions();
    return misuse_main(argc, argv, variants);
}
