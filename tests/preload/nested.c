/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Does a recorder allocate while it records?  This program has a malloc and a calloc of its own,
 * which everybody gets, pass on to the next, and count when they are called from within themselves.
 * Prints how often that was, once each of ten threads has allocated before.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

static _Thread_local unsigned depth;
static _Thread_local unsigned warm;
static atomic_uint nested;

static void begin(void) {
    if (depth++ != 0 && warm)
        atomic_fetch_add(&nested, 1);
}

__attribute__((visibility("default"))) void *malloc(size_t size) {
    void *(*next)(size_t);
    *(void **)&next = dlsym(RTLD_NEXT, "malloc");
    begin();
    void *p = next(size);
    depth--;
    return p;
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size) {
    void *(*next)(size_t, size_t);
    *(void **)&next = dlsym(RTLD_NEXT, "calloc");
    begin();
    void *p = next(n, size);
    depth--;
    return p;
}

__attribute__((noinline)) static void deeper(unsigned n) {
    static void *volatile object;
    if (n != 0)
        deeper(n - 1);
    else
        free(object = malloc(40));
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

static void *work(void *unused) {
    deeper(5);
    warm = 1;
    for (unsigned n = 0; n < 300; n += 3)
        deeper(n);
    return unused;
}

int main(void) {
    for (int i = 0; i < 10; i++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, work, NULL) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    printf("%u\n", atomic_load(&nested));
    return 0;
}
