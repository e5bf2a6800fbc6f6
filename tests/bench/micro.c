/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The cost of one malloc and one free, in patterns that programs have: micro [PATTERN SIZE [PAIRS]]
 *
 *   immediate  freed at once
 *   fifo       1000 live, the oldest is freed
 *   random     50000 live, one at random is freed
 *   batch      1000 are allocated, then freed
 *   mixed      sizes from 8 to 1031, 1000 live, one at random is freed; SIZE is ignored
 *   cross      freed by another thread, through a ring
 *
 * Without arguments it runs all of them and prints "PATTERN SIZE NANOSECONDS" for each, the best of
 * some repetitions: what disturbs a measurement only ever makes it longer.  It is CPU time, and for
 * two threads (cross) the time that passes.  With PAIRS it runs one
 * pattern for so many pairs and prints nothing, for counting instructions.  Every object's first
 * byte is written, as a program would.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIFO = 1000, RANDOM = 50000, RING = 4096 };

static void *(*volatile alloc)(size_t) = malloc;
static void (*volatile release)(void *) = free;

static uint32_t random_next(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static void *make(size_t n) {
    char *p = alloc(n);
    if (p == NULL)
        abort();
    *p = 1;
    return p;
}

static void immediate(size_t size, long pairs) {
    for (long i = 0; i < pairs; i++)
        release(make(size));
}

/* Replaces one of n live objects at a time; the table is filled first and emptied last. */
static void replace(size_t n, size_t size, long pairs, int in_order, int mixed) {
    void **live = calloc(n, sizeof *live);
    uint32_t seed = 1;
    for (long i = 0; i < pairs; i++) {
        size_t k = in_order ? (size_t)i % n : random_next(&seed) % n;
        release(live[k]);
        live[k] = make(mixed ? 8 + random_next(&seed) % 1024 : size);
    }
    for (size_t i = 0; i < n; i++)
        release(live[i]);
    release(live);
}

static void fifo(size_t size, long pairs) {
    replace(FIFO, size, pairs, 1, 0);
}
static void random_order(size_t size, long pairs) {
    replace(RANDOM, size, pairs, 0, 0);
}
static void mixed(size_t size, long pairs) {
    replace(FIFO, size, pairs, 0, 1);
}

static void batch(size_t size, long pairs) {
    void *p[FIFO];
    for (long i = 0; i < pairs; i += FIFO) {
        for (int k = 0; k < FIFO; k++)
            p[k] = make(size);
        for (int k = 0; k < FIFO; k++)
            release(p[k]);
    }
}

static _Atomic(void *) ring[RING];

static void *consume(void *arg) {
    long pairs = *(long *)arg;
    for (long i = 0; i < pairs; i++) {
        void *p;
        while ((p = atomic_load_explicit(&ring[i % RING], memory_order_acquire)) == NULL)
            sched_yield();
        atomic_store_explicit(&ring[i % RING], NULL, memory_order_release);
        release(p);
    }
    return NULL;
}

static void cross(size_t size, long pairs) {
    pthread_t consumer;
    if (pthread_create(&consumer, NULL, consume, &pairs) != 0)
        abort();
    for (long i = 0; i < pairs; i++) {
        void *p = make(size);
        while (atomic_load_explicit(&ring[i % RING], memory_order_acquire) != NULL)
            sched_yield();
        atomic_store_explicit(&ring[i % RING], p, memory_order_release);
    }
    pthread_join(consumer, NULL);
}

static const struct pattern {
    const char *name;
    void (*run)(size_t size, long pairs);
    size_t sizes[8]; /* ends with 0 */
} patterns[] = {
    {"immediate", immediate, {16, 64, 256, 1024, 40000, 1000000, 0}},
    {"fifo", fifo, {16, 64, 256, 1024, 40000, 0}},
    {"random", random_order, {16, 64, 256, 1024, 0}},
    {"batch", batch, {16, 64, 256, 1024, 40000, 0}},
    {"mixed", mixed, {519, 0}},
    {"cross", cross, {16, 64, 256, 1024, 0}},
};
enum { NPATTERNS = sizeof patterns / sizeof patterns[0] };

static double seconds(const struct pattern *p) {
    struct timespec t;
    clock_gettime(p->run == cross ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Nanoseconds a pair: repeated until `budget` seconds are spent, at least three times. */
static double measure(const struct pattern *p, size_t size, double budget) {
    double best = 1e9, begin = seconds(p);
    long pairs = 2000;
    for (int n = 0; n < 3 || seconds(p) - begin < budget;) {
        double start = seconds(p);
        p->run(size, pairs);
        double took = seconds(p) - start;
        if (took < budget / 8 && pairs < 1L << 26) {
            pairs *= 2;
            continue;
        }
        if (took / (double)pairs < best)
            best = took / (double)pairs;
        n++;
    }
    return best * 1e9;
}

int main(int argc, char **argv) {
    const char *budget = getenv("MICRO_SECONDS");
    for (int i = 0; i < NPATTERNS; i++) {
        const struct pattern *p = &patterns[i];
        if (argc > 1 && strcmp(argv[1], p->name) != 0)
            continue;
        if (argc > 3) {
            p->run((size_t)atol(argv[2]), atol(argv[3]));
            return 0;
        }
        for (const size_t *size = p->sizes; *size != 0; size++) {
            if (argc == 3 && *size != (size_t)atol(argv[2]))
                continue;
            printf("%s %zu %.2f\n", p->name, *size,
                   measure(p, *size, budget != NULL ? atof(budget) : 0.1));
            fflush(stdout);
        }
    }
    return 0;
}
