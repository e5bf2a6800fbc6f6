/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything at once, in the way of mimalloc's mstress and of alloc-test: stress THREADS ROUNDS
 *
 * In a round THREADS threads work, and end.  Each makes arrays of words, small ones mostly, one in
 * a thousand of up to 512 KiB; keeps some until its end (retained), frees most at random
 * (transient), and swaps some with a table that all threads share, so that objects move between
 * threads and outlive their makers.  An object's words are a function of its first: when it is
 * freed they are checked, so a slot that was given out twice is found.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 20000, SHARED = 1000, ODD_IN = 1000, MOST_WORDS = 64, ODD_WORDS = 65536 };

static _Atomic(uintptr_t *) shared[SHARED];

static uint64_t random_next(uint64_t *state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Small sizes are the likelier the smaller, as in programs. */
static size_t words(uint64_t *seed) {
    uint64_t r = random_next(seed);
    if (r % ODD_IN == 0)
        return 1 + (r >> 32) % ODD_WORDS;
    return 1 + ((r >> 32) % MOST_WORDS) * ((r >> 16) % MOST_WORDS) / MOST_WORDS;
}

/* A large array has few words written, at the distance of a page. */
static size_t stride(size_t n) {
    return n > 2 * (size_t)MOST_WORDS ? 512 : 1;
}

static uintptr_t *make(uint64_t *seed) {
    size_t n = words(seed) + 1;
    uintptr_t *p = malloc(n * sizeof *p);
    if (p == NULL)
        abort();
    p[0] = n;
    for (size_t i = 1; i < n; i += stride(n))
        p[i] = n ^ i;
    return p;
}

static void drop(uintptr_t *p) {
    if (p == NULL)
        return;
    size_t n = p[0];
    for (size_t i = 1; i < n; i += stride(n))
        if (p[i] != (n ^ i)) {
            fprintf(stderr, "stress: an object of %zu words has changed\n", n);
            abort();
        }
    free(p);
}

static void *work(void *arg) {
    uint64_t seed = (uint64_t)(uintptr_t)arg * UINT64_C(0x9e3779b97f4a7c15) + 1;
    enum { RETAINED = STEPS / 4, TRANSIENT = 512 };
    uintptr_t **retained = calloc(RETAINED, sizeof *retained);
    uintptr_t *transient[TRANSIENT] = {0};
    if (retained == NULL)
        abort();
    size_t nretained = 0;
    for (int i = 0; i < STEPS; i++) {
        uint64_t r = random_next(&seed);
        if (r % 8 == 0 && nretained < RETAINED)
            retained[nretained++] = make(&seed);
        uintptr_t **t = &transient[(r >> 8) % TRANSIENT];
        drop(*t);
        *t = make(&seed);
        if (r % 4 == 1)
            *t = atomic_exchange(&shared[(r >> 32) % SHARED], *t);
    }
    for (size_t i = 0; i < nretained; i++)
        drop(retained[i]);
    for (size_t i = 0; i < TRANSIENT; i++)
        drop(transient[i]);
    free(retained);
    return NULL;
}

int main(int argc, char **argv) {
    int nthreads = argc > 1 ? atoi(argv[1]) : 4, rounds = argc > 2 ? atoi(argv[2]) : 10;
    pthread_t thread[64];
    if (nthreads < 1 || nthreads > 64)
        return 64;
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < nthreads; i++)
            if (pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)(r * nthreads + i)) != 0)
                abort();
        for (int i = 0; i < nthreads; i++)
            pthread_join(thread[i], NULL);
        /* What is left in the table is half replaced from round to round. */
        for (size_t i = (size_t)(r % 2); i < SHARED; i += 2)
            drop(atomic_exchange(&shared[i], NULL));
    }
    for (size_t i = 0; i < SHARED; i++)
        drop(atomic_exchange(&shared[i], NULL));
    return 0;
}
