/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The crime invalid_free: what is freed is not the address of an object.
 */
#include <sys/mman.h>

#include "stacks.h"

static void free_announced(void *p) {
    announce(p);
    do_free(p);
}

static void inside(size_t n, size_t at) {
    char *p = do_malloc(n);
    free_announced(p + at);
}

static void interior(void) {
    inside(48, 16);
}
static void unaligned(void) {
    inside(48, 1);
}
static void interior_of_large(void) {
    inside(100000, 16);
}
static void interior_by_pages(void) {
    inside(1 << 20, 5 * 8192);
}
static void one_before(void) {
    free_announced((char *)do_malloc(48) - 1);
}

static void by_another_thread(void) {
    char *p = do_malloc(48);
    announce(p + 8);
    in_thread(free_it, p + 8);
}

/* Its pages have gone back to the page heap: it can't be known any more that it was an object. */
static void twice_freed_very_large(void) {
    void *p = do_malloc(80u << 20);
    announce(p);
    do_free(p);
    do_free(p);
}

static void stack(void) {
    char object[64];
    free_announced(object);
}

static void data(void) {
    static char object[64];
    free_announced(object);
}

static void mapping(void) {
    void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    free_announced(p);
}

static void small_number(void) {
    free_announced((void *)16);
}
static void kernel_address(void) {
    free_announced((void *)0xffff800000000000u);
}
static void not_canonical(void) {
    free_announced((void *)0x00ffdeadbeef0000u);
}

static void coroutine_stack(void) {
    find_functions();
    free_announced(make(2048, 0));
}

static void guarded_coroutine_stack(void) {
    find_functions();
    free_announced(make(65536, GOMALLOC_STACK_GUARD));
}

int main(int argc, char **argv) {
    static const struct variant variants[] = {
        {"interior", interior},
        {"unaligned", unaligned},
        {"interior_of_large", interior_of_large},
        {"interior_by_pages", interior_by_pages},
        {"one_before", one_before},
        {"by_another_thread", by_another_thread},
        {"twice_freed_very_large", twice_freed_very_large},
        {"stack", stack},
        {"data", data},
        {"mapping", mapping},
        {"small_number", small_number},
        {"kernel_address", kernel_address},
        {"not_canonical", not_canonical},
        {"coroutine_stack", coroutine_stack},
        {"guarded_coroutine_stack", guarded_coroutine_stack},
        {NULL, NULL},
    };
    return misuse_main(argc, argv, variants);
}
