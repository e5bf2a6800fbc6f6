/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose heap has an answer to each of the worked queries of gomalloc-schema(5).
 *
 * It does one step for each line that it reads, and says "step N" when it is done; functions are
 * called after what they do to the heap:
 *
 *      load_table      one object of 3 MiB, first step
 *      keep_setting    a few objects among many that scratch frees again: sparse spans, first step
 *      cache_page      30 kB more in each step
 *      leak_session    20 objects of 500 bytes in each step, which nothing leads to afterwards
 *      make_job        2,000 objects in each step, freed by the thread "worker"
 *      format_line     5,000 objects in each step, freed at once
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE  __attribute__((noinline, noclone))
#define NSCRATCH  20000
#define NJOBS     2000
#define NPAGES    30
#define NSESSIONS 20

static void *volatile table;
static void *volatile settings[NSCRATCH];
static void *volatile last_page;
static void *jobs[NJOBS];
static size_t njobs;
static bool ended;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn = PTHREAD_COND_INITIALIZER;

static void *must(void *p) {
    if (!p)
        abort();
    __asm__ volatile("" : "+r"(p));
    return p;
}

NOINLINE static void load_table(void) {
    table = must(malloc(3 << 20));
    memset(table, 1, 3 << 20);
}

NOINLINE static void *scratch(void) {
    return must(malloc(64));
}

NOINLINE static void *keep_setting(void) {
    return must(malloc(64));
}

/* One in a hundred stays, and with it the span that it is in. */
NOINLINE static void read_settings(void) {
    for (int i = 0; i < NSCRATCH; i++)
        settings[i] = i % 100 ? scratch() : keep_setting();
    for (int i = 0; i < NSCRATCH; i++)
        if (i % 100) {
            free(settings[i]);
            settings[i] = NULL;
        }
}

NOINLINE static void cache_page(size_t n) {
    void **page = must(malloc(1000 + n));
    *page = last_page;
    last_page = page;
}

NOINLINE static void leak_session(void) {
    memset(must(malloc(500)), 0, 500);
}

NOINLINE static void *make_job(void) {
    return must(malloc(120));
}

NOINLINE static void format_line(int n) {
    char *line = must(malloc((size_t)(40 + n % 90)));
    snprintf(line, 40, "line %d", n);
    free(line);
}

/* The stack that the leaks' addresses were on is used for something else. */
NOINLINE static void forget(void) {
    volatile char stack[8192];
    for (size_t i = 0; i < sizeof stack; i++)
        stack[i] = 0;
}

static void *work(void *unused) {
    (void)unused;
    pthread_setname_np(pthread_self(), "worker");
    pthread_mutex_lock(&lock);
    while (!ended) {
        for (; njobs; njobs--)
            free(jobs[njobs - 1]);
        pthread_cond_broadcast(&turn);
        pthread_cond_wait(&turn, &lock);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

NOINLINE static void hand_over(void) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < NJOBS; i++)
        jobs[i] = make_job();
    njobs = NJOBS;
    pthread_cond_broadcast(&turn);
    while (njobs)
        pthread_cond_wait(&turn, &lock);
    pthread_mutex_unlock(&lock);
}

static void step(int n) {
    if (n == 1) {
        load_table();
        read_settings();
    }
    for (size_t i = 0; i < NPAGES; i++)
        cache_page(i);
    for (int i = 0; i < NSESSIONS; i++)
        leak_session();
    for (int i = 0; i < 5000; i++)
        format_line(i);
    hand_over();
    forget();
    printf("step %d\n", n);
    fflush(stdout);
}

int main(void) {
    char line[16];
    pthread_t worker;
    if (pthread_create(&worker, NULL, work, NULL))
        return 2;
    for (int n = 1; fgets(line, sizeof line, stdin); n++)
        step(n);
    pthread_mutex_lock(&lock);
    ended = true;
    pthread_cond_broadcast(&turn);
    pthread_mutex_unlock(&lock);
    return pthread_join(worker, NULL) ? 2 : 0;
}
