/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program with one thing wrong: doctor_demo CAUSE.  What is wrong is there when it ends, or, with
 * a file's name behind, when it makes that file; then it waits for a signal.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gomalloc/gomalloc.h"

/* Without the library only coroutines() has no meaning. */
#pragma weak gomalloc_stack_alloc
#pragma weak gomalloc_stack_free

#if __has_attribute(noclone)
#define NOINLINE __attribute__((noinline, noclone))
#else
#define NOINLINE __attribute__((noinline))
#endif
#define MANY     400000
#define BATCH    10000
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static void *kept[MANY];
static sem_t ready, go;

/* Each caller is a site by its name. */
#define SITE(name)                                                                                 \
    NOINLINE static void *name(size_t n) {                                                         \
        void *p = malloc(n);                                                                       \
        if (!p)                                                                                    \
            abort();                                                                               \
        memset(p, 1, n);                                                                           \
        __asm__ volatile("" : "+r"(p));                                                            \
        return p;                                                                                  \
    }

SITE(keep_all)
SITE(keep_few)
SITE(fill)
SITE(ask_badly)
SITE(lose)
SITE(lose_more)

static void fill_kept(size_t from, size_t to, size_t size, void *(*make)(size_t)) {
    for (size_t i = from; i < to; i++)
        kept[i] = make(size);
}

static void free_kept(size_t i) {
    free(kept[i]);
    kept[i] = NULL;
}

/* 24 MiB in sizes that waste little. */
static void healthy(void) {
    fill_kept(0, 8192, 1024, keep_all);
    fill_kept(8192, 8192 + 4096, 4096, keep_all);
}

/* One of 64 objects of 256 bytes stays: one of two spans has one. */
static void pins(void) {
    for (size_t i = 0; i < 100000; i++)
        kept[i] = i % 64 == 0 ? keep_few(256) : fill(256);
    for (size_t i = 0; i < 100000; i++)
        if (i % 64 != 0)
            free_kept(i);
}

/* Every second stays. */
static void free_slots(void) {
    fill_kept(0, 100000, 256, keep_all);
    for (size_t i = 0; i < 100000; i += 2)
        free_kept(i);
}

/* 1,030 bytes get 1,152. */
static void slack(void) {
    fill_kept(0, 20000, 1030, ask_badly);
}

/* The slots of 8 KiB spans of 704 bytes leave 448. */
static void tails(void) {
    fill_kept(0, 40000, 704, keep_all);
}

static void free_pages(void) {
    fill_kept(0, 16, 3 << 20, fill);
    for (size_t i = 0; i < 16; i++)
        free_kept(i);
}

static void large_spans(void) {
    fill_kept(0, 48, 1 << 20, fill);
    for (size_t i = 0; i < 48; i++)
        free_kept(i);
}

static void mapped(void) {
    size_t n = 24 << 20;
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    memset(p, 1, n);
}

/* Rings of two: one of each is called direct. */
static void leaks(void) {
    for (int i = 0; i < 20000; i++) {
        void **a = lose_more(64), **b = lose_more(64);
        *a = b;
        *b = a;
    }
    for (int i = 0; i < 1000; i++)
        lose(200);
}

/* ---- threads ------------------------------------------------------------------------------ */

/* keep_pages leaves so many empty spans behind, or what becomes of them. */
static void keep_pages(size_t n) {
    void *mine[200];
    for (size_t i = 0; i < n; i++)
        mine[i] = fill(8192);
    for (size_t i = 0; i < n; i++)
        free(mine[i]);
}

static void *keep_empty(void *arg) {
    keep_pages(200);
    sem_post(&ready);
    for (;;)
        pause();
    return arg;
}

static void *touch_stack(void *arg) {
    char deep[1 << 20];
    memset(deep, 1, sizeof(deep));
    __asm__ volatile("" : : "r"(deep) : "memory");
    sem_post(&ready);
    for (;;)
        pause();
    return arg;
}

static void *make_all(void *arg) {
    fill_kept(0, 100000, 128, fill);
    sem_post(&ready);
    for (;;)
        pause();
    return arg;
}

static void start(int n, void *(*f)(void *)) {
    pthread_t t;
    for (int i = 0; i < n; i++)
        if (pthread_create(&t, NULL, f, NULL) != 0)
            abort();
    for (int i = 0; i < n; i++)
        sem_wait(&ready);
}

static void thread_reserves(void) {
    start(16, keep_empty);
}

static void stacks(void) {
    start(24, touch_stack);
}

static void *make_and_end(void *arg) {
    fill_kept(0, 100000, 128, fill);
    return arg;
}

static void ended_threads(void) {
    pthread_t t;
    if (pthread_create(&t, NULL, make_and_end, NULL) != 0)
        abort();
    pthread_join(t, NULL);
    for (size_t i = 0; i < 100000; i++)
        free_kept(i);
}

static void freed_elsewhere(void) {
    start(1, make_all);
    for (size_t i = 0; i < 100000; i++)
        free_kept(i);
}

static void coroutines(void) {
    for (size_t i = 0; i < 4096; i++)
        memset(kept[i] = gomalloc_stack_alloc(4 << 10, 0), 1, 4 << 10);
    for (size_t i = 0; i < 4096; i++)
        if (i % 4)
            gomalloc_stack_free(kept[i]);
}

/* ---- time --------------------------------------------------------------------------------- */

NOINLINE static void use_and_free(size_t n) {
    char *p = malloc(n);
    if (!p)
        abort();
    memset(p, 1, n);
    __asm__ volatile("" : "+r"(p));
    free(p);
}

static void local(void) {
    for (int i = 0; i < 300000; i++)
        use_and_free(64);
}

static void resized(void) {
    for (int i = 0; i < 200000; i++) {
        char *p = fill(16);
        for (size_t n = 32; n <= 64; n += 16) {
            char *q = realloc(p, n);
            if (!q)
                abort();
            p = q;
        }
        free(p);
    }
}

static void *free_all(void *arg) {
    for (;;) {
        sem_wait(&go);
        for (size_t i = 0; i < BATCH; i++)
            free_kept(i);
        sem_post(&ready);
    }
    return arg;
}

static void handed_over(void) {
    pthread_t t;
    if (pthread_create(&t, NULL, free_all, NULL) != 0)
        abort();
    for (int round = 0; round < 20; round++) {
        fill_kept(0, BATCH, 64, fill);
        sem_post(&go);
        sem_wait(&ready);
    }
}

static const struct {
    const char *name;
    void (*plant)(void);
} causes[] = {{"healthy", healthy},
              {"pins", pins},
              {"free_slots", free_slots},
              {"slack", slack},
              {"tails", tails},
              {"free_pages", free_pages},
              {"large_spans", large_spans},
              {"not_malloc", mapped},
              {"leaks", leaks},
              {"thread_reserves", thread_reserves},
              {"ended_threads", ended_threads},
              {"stacks", stacks},
              {"freed_elsewhere", freed_elsewhere},
              {"coroutines", coroutines},
              {"could_be_local", local},
              {"resized", resized},
              {"handed_over", handed_over}};

int main(int argc, char **argv) {
    size_t i = 0;
    if (argc < 2)
        return 64;
    while (i < COUNT(causes) && strcmp(causes[i].name, argv[1]) != 0)
        i++;
    if (i == COUNT(causes))
        return 64;
    sem_init(&ready, 0, 0);
    sem_init(&go, 0, 0);
    causes[i].plant();
    if (argc > 2) {
        FILE *f = fopen(argv[2], "w");
        if (!f || fclose(f) != 0)
            return 1;
        for (;;)
            pause();
    }
    return 0;
}
