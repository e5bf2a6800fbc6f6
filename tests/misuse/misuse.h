/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the criminal programs share.  Each is named after a line of lib/api/crimes.def and takes the
 * name of a variant: double_free VARIANT.  It says on standard output which pointer it is going to
 * misuse, does so, and if it lives on, makes sure that the heap still works and says so.
 *
 * expect_abort runs them.
 */
#ifndef TESTS_MISUSE_MISUSE_H
#define TESTS_MISUSE_MISUSE_H

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct variant {
    const char *name;
    void (*commit)(void);
};

/* Through volatile pointers: the compiler would warn, or remove what is undefined. */
static void (*volatile do_free)(void *) = free;
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;

/* announce prints the pointer that is going to be misused. */
static inline void announce(const void *p) {
    printf("pointer 0x%lx\n", (unsigned long)(uintptr_t)p);
    fflush(stdout);
}

/* in_thread calls f(arg) in a thread that ends before this returns. */
static inline void in_thread(void *(*f)(void *), void *arg) {
    pthread_t t;
    if (pthread_create(&t, NULL, f, arg) != 0 || pthread_join(t, NULL) != 0)
        abort();
}

static inline void *free_it(void *p) {
    do_free(p);
    return NULL;
}

static inline void *make_100(void *p) {
    *(void **)p = do_malloc(100);
    return NULL;
}

/* Returns 1 if objects are distinct, keep what is written, and can be freed. */
static inline int heap_works(void) {
    enum { N = 5000 };
    static unsigned char *p[N];
    for (int i = 0; i < N; i++) {
        p[i] = do_malloc((size_t)i % 700 + 1);
        if (p[i] == NULL)
            return 0;
        memset(p[i], i, (size_t)i % 700 + 1);
    }
    for (int i = 0; i < N; i++) {
        if (p[i][0] != (unsigned char)i || p[i][i % 700] != (unsigned char)i)
            return 0;
        do_free(p[i]);
    }
    return 1;
}

/* misuse_main commits the variant that argv names. */
static inline int misuse_main(int argc, char **argv, const struct variant *variants) {
    for (const struct variant *v = variants; v->name != NULL; v++) {
        if (argc == 2 && strcmp(argv[1], v->name) == 0) {
            v->commit();
            puts(heap_works() ? "survived" : "survived with a broken heap");
            return 0;
        }
    }
    fprintf(stderr, "usage: %s VARIANT\n", argv[0]);
    return 64;
}

#endif
