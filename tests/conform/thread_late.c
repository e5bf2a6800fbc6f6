/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads that allocate to their very end: a destructor of thread-specific data that sets its value
 * again is called in each of libc's rounds, and in the last of them nobody is told any more that
 * the thread ends.  What such threads have used is used again all the same, or memory would grow
 * with every thread.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "../preload/check.h"

enum { THREADS = 4000, EARLY = 400, SIZES = 12 };

static pthread_key_t key;
static atomic_int called;

static void allocate(void) {
    for (int i = 0; i < SIZES; i++) {
        size_t n = (size_t)16 << i;
        char *p = malloc(n), *q = calloc(1, n), *r = aligned_alloc(64, n);
        CHECK(p != NULL && q != NULL && r != NULL);
        p[n - 1] = r[n - 1] = 1;
        CHECK(q[n - 1] == 0);
        p = realloc(p, 2 * n);
        CHECK(p != NULL && p[n - 1] == 1);
        free(p);
        free(q);
        free(r);
    }
}

static void destructor(void *value) {
    allocate();
    atomic_fetch_add(&called, 1);
    CHECK(pthread_setspecific(key, value) == 0);
}

static void *thread(void *unused) {
    (void)unused;
    allocate();
    CHECK(pthread_setspecific(key, &key) == 0);
    return NULL;
}

int main(void) {
    CHECK(pthread_key_create(&key, destructor) == 0);
    long early = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
        CHECK(pthread_join(t, NULL) == 0);
        if (i == EARLY)
            early = status_kib("VmRSS:");
    }
    long late = status_kib("VmRSS:");
    fprintf(stderr, "%d destructors; RSS after a tenth of the threads %ld KiB, after all %ld KiB\n",
            atomic_load(&called), early, late);
    CHECK(atomic_load(&called) >= 4 * THREADS);
    CHECK(late < early + 4 * 1024);
    return 0;
}
