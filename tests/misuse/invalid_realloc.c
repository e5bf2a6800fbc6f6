/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The crime invalid_realloc: what is resized is not a live object.  If the program lives on
 * (on_error=report), the call returns NULL.
 */
#include "stacks.h"

static void resize(void *p, size_t n) {
    announce(p);
    if (do_realloc(p, n) != NULL)
        abort();
}

static void freed(void) {
    void *p = do_malloc(48);
    do_free(p);
    resize(p, 64);
}

static void freed_to_the_same_size(void) {
    void *p = do_malloc(48);
    do_free(p);
    resize(p, 48);
}

static void freed_large(void) {
    void *p = do_malloc(100000);
    do_free(p);
    resize(p, 200000);
}

static void freed_by_another_thread(void) {
    void *p = do_malloc(48);
    in_thread(free_it, p);
    resize(p, 1000);
}

static void interior(void) {
    resize((char *)do_malloc(48) + 16, 100);
}

static void stack(void) {
    char object[64];
    resize(object, 100);
}

static void small_number(void) {
    resize((void *)16, 100);
}

static void coroutine_stack(void) {
    find_functions();
    resize(make(4096, 0), 100);
}

int main(int argc, char **argv) {
    static const struct variant variants[] = {
        {"freed", freed},
        {"freed_to_the_same_size", freed_to_the_same_size},
        {"freed_large", freed_large},
        {"freed_by_another_thread", freed_by_another_thread},
        {"interior", interior},
        {"stack", stack},
        {"small_number", small_number},
        {"coroutine_stack", coroutine_stack},
        {NULL, NULL},
    };
    return misuse_main(argc, argv, variants);
}
