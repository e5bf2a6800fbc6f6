/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The crime double_free: an object is freed that has been freed.  One so large that its pages have
 * gone back meanwhile is no object any more: see invalid_free.c.
 */
#include "misuse.h"

static void of_size(size_t n) {
    void *p = do_malloc(n);
    announce(p);
    do_free(p);
    do_free(p);
}

static void at_once(void) {
    of_size(48);
}
static void tiny(void) {
    of_size(1);
}
static void large(void) {
    of_size(100000);
}

/* Other objects have been freed and allocated meanwhile, not in its place: glibc's check of the top
 * of its list does not see this one. */
static void later(void) {
    void *p[100];
    for (int i = 0; i < 100; i++)
        p[i] = do_malloc(48);
    announce(p[50]);
    do_free(p[50]);
    for (int i = 0; i < 100; i += 3) {
        if (i != 50)
            do_free(p[i]);
    }
    do_free(p[50]);
}

static void by_another_thread(void) {
    void *p = do_malloc(48);
    announce(p);
    do_free(p);
    in_thread(free_it, p);
}

static void twice_by_another_thread(void) {
    void *p = do_malloc(48);
    announce(p);
    in_thread(free_it, p);
    in_thread(free_it, p);
}

static void after_another_thread(void) {
    void *p = do_malloc(48);
    announce(p);
    in_thread(free_it, p);
    do_free(p);
}

static void of_an_ended_thread(void) {
    void *p;
    in_thread(make_100, &p);
    announce(p);
    do_free(p);
    do_free(p);
}

static void aligned(void) {
    void *p = NULL;
    if (posix_memalign(&p, 4096, 100) != 0)
        abort();
    announce(p);
    do_free(p);
    do_free(p);
}

static void after_realloc(void) {
    void *p = do_malloc(48);
    void *q = do_realloc(p, 100000); /* moves */
    if (p == q)
        abort();
    announce(p);
    do_free(p);
}

int main(int argc, char **argv) {
    static const struct variant variants[] = {
        {"at_once", at_once},
        {"tiny", tiny},
        {"large", large},
        {"later", later},
        {"by_another_thread", by_another_thread},
        {"twice_by_another_thread", twice_by_another_thread},
        {"after_another_thread", after_another_thread},
        {"of_an_ended_thread", of_an_ended_thread},
        {"aligned", aligned},
        {"after_realloc", after_realloc},
        {NULL, NULL},
    };
    return misuse_main(argc, argv, variants);
}
