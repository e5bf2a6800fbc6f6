/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Producers allocate, consumers free, after C. Lever and D. Boreham's test for a malloc that keeps
 * what threads free to themselves: exchange PAIRS MILLIONS
 *
 * PAIRS producers fill batches of 256 objects of 16 to 512 bytes and put them on one list; PAIRS
 * consumers take batches off and free them.  The list holds 64 batches at most, so memory in use is
 * bounded by 64 * 256 objects and what is in the threads' hands; an allocator whose memory grows
 * beyond some multiple of that has lost something.  MILLIONS of objects in all; how many a second
 * is printed.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 256, LIST = 64, LEAST = 16, MOST = 512 };

struct batch {
    struct batch *next;
    void *object[BATCH];
};

/* The list, and how many batches are still to come. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t room, filled;
    struct batch *first;
    int n;
    long to_make, to_take;
} list = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .room = PTHREAD_COND_INITIALIZER,
    .filled = PTHREAD_COND_INITIALIZER,
};

static uint32_t random_next(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static struct batch *make(uint32_t *seed) {
    struct batch *b = malloc(sizeof *b);
    if (b == NULL)
        abort();
    for (int i = 0; i < BATCH; i++) {
        char *p = malloc(LEAST + random_next(seed) % (MOST - LEAST));
        if (p == NULL)
            abort();
        *p = 1;
        b->object[i] = p;
    }
    return b;
}

static void *produce(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg + 1;
    for (;;) {
        pthread_mutex_lock(&list.lock);
        long number = list.to_make--;
        pthread_mutex_unlock(&list.lock);
        if (number <= 0)
            return NULL;
        struct batch *b = make(&seed);
        pthread_mutex_lock(&list.lock);
        while (list.n == LIST)
            pthread_cond_wait(&list.room, &list.lock);
        b->next = list.first;
        list.first = b;
        list.n++;
        pthread_cond_signal(&list.filled);
        pthread_mutex_unlock(&list.lock);
    }
}

static struct batch *take(void) {
    pthread_mutex_lock(&list.lock);
    struct batch *b = NULL;
    if (list.to_take > 0) {
        list.to_take--;
        while (list.n == 0)
            pthread_cond_wait(&list.filled, &list.lock);
        b = list.first;
        list.first = b->next;
        list.n--;
        pthread_cond_signal(&list.room);
    }
    pthread_mutex_unlock(&list.lock);
    return b;
}

static void *consume(void *arg) {
    (void)arg;
    for (struct batch *b; (b = take()) != NULL;) {
        for (int i = 0; i < BATCH; i++)
            free(b->object[i]);
        free(b);
    }
    return NULL;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    int pairs = argc > 1 ? atoi(argv[1]) : 2;
    double total = (argc > 2 ? atof(argv[2]) : 1) * 1e6;
    if (pairs < 1 || pairs > 64)
        return 64;
    list.to_make = list.to_take = (long)(total / BATCH);
    pthread_t thread[128];
    double begin = now();
    for (int i = 0; i < 2 * pairs; i++)
        if (pthread_create(&thread[i], NULL, i % 2 == 0 ? produce : consume,
                           (void *)(uintptr_t)i) != 0)
            abort();
    for (int i = 0; i < 2 * pairs; i++)
        pthread_join(thread[i], NULL);
    printf("%.0f\n", total / (now() - begin));
    return 0;
}
