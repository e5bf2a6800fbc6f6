/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program of which each function's objects have another fate, for escape.bats: one verdict of
 * goinspect escape each.  All are of other sizes, and none is inlined.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define APART __attribute__((noinline))
#define N     200

static volatile uint64_t sink;

/* A wrapper by its name, and one that only a list of our own knows. */
static APART void *xmalloc(size_t n) {
    void *p = malloc(n);
    sink += (uintptr_t)p;
    return p;
}

static APART void *own_alloc(size_t n) {
    void *p = xmalloc(n);
    sink += (uintptr_t)p;
    return p;
}

/* Freed by whoever called. */
static APART void *read_line(void) {
    void *p = xmalloc(80);
    sink++;
    return p;
}

static APART void *next_line(void) {
    void *p = read_line();
    sink++;
    return p;
}

static APART void load_file(void) {
    void *p = next_line();
    sink++;
    free(p);
}

/* Freed within. */
static APART void scratch(void) {
    void *p = own_alloc(48);
    sink++;
    free(p);
}

/* Freed by the next call. */
static APART void keep_last(void) {
    static void *last;
    free(last);
    last = malloc(56);
    sink++;
}

/* Never. */
static APART void remember(void) {
    static void *all[N];
    static size_t n;
    all[n++] = malloc(112);
    sink += (uintptr_t)all[n / 2];
}

/* Resized, and freed by the caller. */
static APART char *grow(void) {
    char *p = malloc(16);
    for (size_t n = 32; n <= 3072 && p; n += 32)
        p = realloc(p, n);
    sink += (uintptr_t)p;
    return p;
}

/* Freed by another thread. */
static void *jobs[N];

static APART void make_jobs(void) {
    for (size_t i = 0; i < N; i++)
        jobs[i] = malloc(144);
    sink++;
}

static void *do_jobs(void *arg) {
    pthread_setname_np(pthread_self(), "io-2");
    for (size_t i = 0; i < N; i++)
        free(jobs[i]);
    return arg;
}

/* Half of the time it does escape. */
static APART void *mixed(unsigned i) {
    void *p = malloc(176);
    if (i % 2)
        return p;
    free(p);
    return NULL;
}

int main(void) {
    pthread_t thread;
    for (unsigned i = 0; i < N; i++) {
        load_file();
        scratch();
        keep_last();
        remember();
        free(mixed(i));
    }
    for (unsigned i = 0; i < 9; i++)
        free(grow());
    make_jobs();
    pthread_create(&thread, NULL, do_jobs, NULL);
    pthread_join(thread, NULL);
    printf("%d\n", sink != 0);
    return 0;
}
