/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program that locks its memory, as databases and clocks do: the kernel backs at once all that
 * may be read or written, and refuses to take any of it back.  So what the allocator only keeps
 * ready for a large heap must not be of that kind, and what it could not give back must not be
 * taken for zeroed.
 *
 * Ends with 77 where nothing may be locked.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "check.h"

enum { LARGE = 1 << 20, NLARGE = 48, NSMALL = 20000, NTHREADS = 4 };

/* What a small program and the allocator need, in KiB; libraries that the recorder loads too. */
#define LITTLE_KIB (20L << 10)

/* Can all be locked, however much? */
static int may_lock(void) {
    struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &unlimited); /* who is privileged needs no limit */
    return mlockall(MCL_CURRENT | MCL_FUTURE) == 0;
}

static int all_zero(const char *p, size_t n) {
    return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Memory that was used, is freed, and was perhaps to be given back, is zero for calloc. */
static void zeroed(void) {
    char *p[NLARGE];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < NLARGE; i++) {
            p[i] = calloc(1, LARGE + 4096u * (unsigned)round);
            CHECK(p[i] != NULL && all_zero(p[i], LARGE));
            fill(p[i], LARGE, (unsigned)i);
        }
        for (int i = 0; i < NLARGE; i++) {
            CHECK(filled(p[i], LARGE, (unsigned)i));
            free(p[i]);
        }
    }
}

/* A large object's pages can't be moved: it is copied. */
static void moved(void) {
    char *p = malloc(LARGE);
    fill(p, LARGE, 5);
    for (size_t n = LARGE; n <= 16u << 20; n *= 2) {
        char *block = malloc(n); /* in its way */
        p = realloc(p, 2 * n);
        CHECK(p != NULL && filled(p, LARGE, 5));
        free(block);
    }
    free(p);
}

static void *thread(void *unused) {
    (void)unused;
    static const size_t most = 5000;
    void **p = calloc(NSMALL, sizeof *p);
    uint32_t seed = 1;
    for (int i = 0; i < NSMALL; i++)
        CHECK((p[i] = malloc(random_next(&seed) % most)) != NULL);
    for (int i = 0; i < NSMALL; i++)
        free(p[i]);
    free(p);
    return malloc(100);
}

static void threads(void) {
    pthread_t t[NTHREADS];
    void *last;
    for (int i = 0; i < NTHREADS; i++)
        CHECK(pthread_create(&t[i], NULL, thread, NULL) == 0);
    for (int i = 0; i < NTHREADS; i++) {
        CHECK(pthread_join(t[i], &last) == 0 && last != NULL);
        free(last);
    }
}

int main(void) {
    free(malloc(100));
    if (!may_lock()) {
        puts("skipped: memory can't be locked here");
        return 77;
    }
    CHECK(status_kib("VmRSS:") <= LITTLE_KIB);
    for (int i = 0; i < 100; i++)
        free(malloc((size_t)i * 100));
    CHECK(status_kib("VmRSS:") <= LITTLE_KIB);
    zeroed();
    long grown = status_kib("VmRSS:");
    CHECK(grown <= LITTLE_KIB + 3L * NLARGE * (LARGE >> 10));
    moved();
    threads();
    CHECK(munlockall() == 0);
    zeroed();
    return 0;
}
