/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The crime stack_double_free: a stack is given back twice.  If the program lives on
 * (on_error=report), the second call returns -1.
 */
#include "stacks.h"

static void free_twice(void *p) {
    announce(p);
    if (stack_free(p) != 0)
        abort();
    if (stack_free(p) != -1 || errno != EINVAL)
        abort();
}

static void at_once(void) {
    free_twice(make(4096, 0));
}
static void guarded(void) {
    free_twice(make(16384, GOMALLOC_STACK_GUARD));
}
static void large_and_guarded(void) {
    free_twice(make(65536, GOMALLOC_STACK_GUARD));
}

static void *free_stack(void *p) {
    stack_free(p);
    return NULL;
}

static void after_another_thread(void) {
    void *p = make(8192, 0), *other = make(8192, 0);
    announce(p);
    in_thread(free_stack, p);
    stack_free(p);
    stack_free(other);
}

static void later(void) {
    void *p = make(2048, 0), *q = make(2048, 0);
    announce(p);
    stack_free(p);
    stack_free(q);
    stack_free(p);
}

int main(int argc, char **argv) {
    static const struct variant variants[] = {
        {"at_once", at_once},
        {"guarded", guarded},
        {"large_and_guarded", large_and_guarded},
        {"after_another_thread", after_another_thread},
        {"later", later},
        {NULL, NULL},
    };
    find_functions();
    return misuse_main(argc, argv, variants);
}
