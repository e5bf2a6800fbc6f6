/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A server's threads, after P. Larson and M. Krishnan: larson THREADS MILLIONS
 *
 * Each of THREADS workers has 1,000 objects of 8 to 1,000 bytes, and replaces one at random over
 * and over.  After 50,000 replacements it hands its objects to a new thread and ends.  So all
 * objects soon belong to threads that are no more, threads come and go, and a quarter of the frees
 * or more are of another thread's objects.  All together do MILLIONS of replacements; how many a
 * second is printed.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { OBJECTS = 1000, LEAST = 8, MOST = 1000, GENERATION = 50000 };

/* One worker, which is many threads one after the other. */
struct worker {
    void *object[OBJECTS];
    long left; /* replacements to do */
    uint32_t seed;
    pthread_t thread; /* the one that works; joined by its successor's starter */
    pthread_mutex_t lock;
    pthread_cond_t done;
    int finished; /* guarded by lock */
};

static uint32_t random_next(uint32_t *state) {
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

static void *make(struct worker *w) {
    size_t n = LEAST + random_next(&w->seed) % (MOST - LEAST);
    char *p = malloc(n);
    if (p == NULL)
        abort();
    p[0] = p[n - 1] = (char)n;
    return p;
}

static void start(struct worker *w);

static void *generation(void *arg) {
    struct worker *w = arg;
    for (int i = 0; i < GENERATION && w->left > 0; i++, w->left--) {
        void **slot = &w->object[random_next(&w->seed) % OBJECTS];
        free(*slot);
        *slot = make(w);
    }
    if (w->left > 0) {
        start(w);
        return NULL;
    }
    pthread_mutex_lock(&w->lock);
    w->finished = 1;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void start(struct worker *w) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&w->thread, &attr, generation, w) != 0)
        abort();
    pthread_attr_destroy(&attr);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    int nthreads = argc > 1 ? atoi(argv[1]) : 4;
    double total = (argc > 2 ? atof(argv[2]) : 1) * 1e6;
    if (nthreads < 1)
        return 64;
    struct worker *workers = calloc((size_t)nthreads, sizeof *workers);
    if (workers == NULL)
        return 1;
    for (int i = 0; i < nthreads; i++) {
        struct worker *w = &workers[i];
        w->seed = (uint32_t)i * 7919 + 1;
        w->left = (long)(total / nthreads);
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->done, NULL);
        for (int k = 0; k < OBJECTS; k++)
            w->object[k] = make(w);
    }
    double begin = now();
    for (int i = 0; i < nthreads; i++)
        start(&workers[i]);
    for (int i = 0; i < nthreads; i++) {
        pthread_mutex_lock(&workers[i].lock);
        while (!workers[i].finished)
            pthread_cond_wait(&workers[i].done, &workers[i].lock);
        pthread_mutex_unlock(&workers[i].lock);
    }
    printf("%.0f\n", total / (now() - begin));
    for (int i = 0; i < nthreads; i++)
        for (int k = 0; k < OBJECTS; k++)
            free(workers[i].object[k]);
    free(workers);
    return 0;
}
