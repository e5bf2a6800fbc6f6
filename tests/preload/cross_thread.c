/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Objects freed by other threads than those that made them: a ring from producers to consumers,
 * and larson's server simulation, where an array of objects is handed from one thread to the
 * thread that follows it.
 *
 * Every object carries a pattern that is verified before it is freed.  Memory must not grow: what
 * other threads free has to find its way back.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "check.h"

enum { RING = 1024, ITEMS = 300000, PAIRS = 2 };

struct ring {
    _Atomic(void *) slot[RING]; /* NULL = free */
    uint32_t seed;
};

static size_t size_of(uint32_t r) {
    return 4 + (r % 64 == 0 ? r % 50000 : r % 700);
}

static void *producer(void *arg) {
    struct ring *ring = arg;
    uint32_t seed = ring->seed;
    for (int i = 0; i < ITEMS; i++) {
        size_t n = size_of(random_next(&seed));
        uint32_t *p = malloc(n);
        *p = (uint32_t)n;
        fill(p + 1, n - 4, (unsigned)i);
        while (atomic_load_explicit(&ring->slot[i % RING], memory_order_acquire) != NULL)
            sched_yield();
        atomic_store_explicit(&ring->slot[i % RING], p, memory_order_release);
    }
    return NULL;
}

static void *consumer(void *arg) {
    struct ring *ring = arg;
    for (int i = 0; i < ITEMS; i++) {
        uint32_t *p;
        while ((p = atomic_load_explicit(&ring->slot[i % RING], memory_order_acquire)) == NULL)
            sched_yield();
        atomic_store_explicit(&ring->slot[i % RING], NULL, memory_order_release);
        CHECK(filled(p + 1, *p - 4, (unsigned)i));
        free(p);
    }
    return NULL;
}

static void producers_and_consumers(void) {
    static struct ring ring[PAIRS];
    pthread_t t[2 * PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        ring[i].seed = (uint32_t)i + 1;
        CHECK(pthread_create(&t[2 * i], NULL, producer, &ring[i]) == 0);
        CHECK(pthread_create(&t[2 * i + 1], NULL, consumer, &ring[i]) == 0);
    }
    for (int i = 0; i < 2 * PAIRS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

enum { CHAINS = 4, GENERATIONS = 40, OBJECTS = 1000, REPLACED = 5000 };

struct chain {
    uint32_t *object[OBJECTS]; /* first word: its size */
    uint32_t seed;
    int generation;
};

static uint32_t *make(uint32_t *seed) {
    size_t n = size_of(random_next(seed));
    uint32_t *p = malloc(n);
    *p = (uint32_t)n;
    fill(p + 1, n - 4, (unsigned)n);
    return p;
}

/* A thread of the chain replaces objects at random, starts its successor and ends. */
static void *link_of_chain(void *arg) {
    struct chain *chain = arg;
    for (int i = 0; i < REPLACED; i++) {
        uint32_t **p = &chain->object[random_next(&chain->seed) % OBJECTS];
        if (*p != NULL) {
            CHECK(filled(*p + 1, **p - 4, **p));
            free(*p);
        }
        *p = make(&chain->seed);
    }
    if (++chain->generation < GENERATIONS) {
        pthread_t next;
        CHECK(pthread_create(&next, NULL, link_of_chain, chain) == 0);
        return (void *)next;
    }
    return NULL;
}

static void larson(void) {
    static struct chain chain[CHAINS];
    pthread_t t[CHAINS];
    for (int i = 0; i < CHAINS; i++) {
        chain[i].seed = (uint32_t)i + 100;
        CHECK(pthread_create(&t[i], NULL, link_of_chain, &chain[i]) == 0);
    }
    for (int i = 0; i < CHAINS; i++) {
        void *next = (void *)t[i];
        while (next != NULL)
            CHECK(pthread_join((pthread_t)next, &next) == 0);
        for (int k = 0; k < OBJECTS; k++)
            free(chain[i].object[k]);
    }
}

int main(void) {
    producers_and_consumers();
    long early = status_kib("VmHWM:");
    larson();
    producers_and_consumers();
    long late = status_kib("VmHWM:");
    fprintf(stderr, "peak RSS after the first round %ld KiB, after all %ld KiB\n", early, late);
    CHECK(late < early + 48 * 1024);
    return 0;
}
