/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Allocates a known pattern and tells what a recorder must have seen: pattern WHAT
 *
 * known      prints a line for each function that allocates: its name, live objects, live bytes,
 *            objects and bytes since the start (comma-separated, sorted by name), then "ready"
 * estimate   a million objects of 1000 bytes live from one function, none from others; "ready"
 * resized    a buffer of some 100000 bytes, resized two hundred thousand times by one function,
 *            every fourth time so that it must move; "ready"
 * stages     functions stage_1, stage_2, ...: each allocates 100 objects when a line is read from
 *            standard input, then prints "ready"; for rates that change meanwhile
 *
 * After "ready" it is at rest until its standard input ends.
 */
#include <pthread.h>

#include "check.h"

#define SITE static __attribute__((noinline)) void

/* Keeps the compiler from knowing, merging or dropping calls. */
static void *keep(void *p) {
    __asm__ volatile("" : "+r"(p) : : "memory");
    CHECK(p != NULL);
    return p;
}

SITE site_aligned(void) {
    for (int i = 0; i < 50; i++) {
        void *p = NULL;
        CHECK(posix_memalign(&p, 64, 200) == 0);
        keep(p);
    }
}

SITE site_all_freed(void) {
    for (int i = 0; i < 7000; i++)
        free(keep(malloc(40)));
}

SITE site_calloc(void) {
    for (int i = 0; i < 300; i++)
        keep(calloc(10, 20));
}

static void *handed_over[1000];

SITE site_freed_by_other(void) {
    for (int i = 0; i < 1000; i++)
        handed_over[i] = keep(malloc(56));
}

SITE site_half_freed(void) {
    for (int i = 0; i < 5000; i++) {
        void *p = keep(malloc(100));
        if (i % 2 == 0)
            free(p);
    }
}

SITE site_in_threads(void) {
    for (int i = 0; i < 500; i++)
        keep(malloc(72));
}

SITE site_large(void) {
    for (int i = 0; i < 17; i++)
        keep(malloc(100000));
}

SITE site_many_small(void) {
    for (int i = 0; i < 10000; i++)
        keep(malloc(24));
}

static void *to_grow[200];

SITE site_moved_from(void) {
    for (int i = 0; i < 200; i++)
        to_grow[i] = keep(malloc(10));
}

SITE site_moved_to(void) {
    for (int i = 0; i < 200; i++)
        to_grow[i] = keep(realloc(to_grow[i], 1000));
}

static void *to_resize[100];

SITE site_resized(void) {
    for (int i = 0; i < 100; i++) {
        void *p = to_resize[i];
        CHECK(keep(realloc(p, 110)) == p); /* there is room where it is */
    }
}

SITE site_resized_from(void) {
    for (int i = 0; i < 100; i++)
        to_resize[i] = keep(malloc(100));
}

/* More than there can be, and so much that the sign of a difference changes. */
SITE site_refused(void) {
    static volatile size_t too_much = (size_t)PTRDIFF_MAX + 100;
    for (int i = 0; i < 9; i++)
        CHECK(malloc(too_much) == NULL);
}

/* Thirty stacks of one function. */
SITE site_recursive(int depth) {
    keep(malloc(32));
    if (depth > 1)
        site_recursive(depth - 1);
    __asm__ volatile("" : : : "memory"); /* not a tail call */
}

SITE site_sizes(void) {
    for (size_t n = 1; n <= 2000; n++)
        keep(malloc(n));
}

SITE site_small_realloc(void) {
    for (int i = 0; i < 10; i++)
        free(keep(realloc(NULL, 300)));
}

static void *thread(void *make) {
    ((void (*)(void))make)();
    return NULL;
}

static void in_threads(void (*make)(void), int n) {
    pthread_t t[8];
    for (int i = 0; i < n; i++)
        CHECK(pthread_create(&t[i], NULL, thread, (void *)make) == 0);
    for (int i = 0; i < n; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

static void known(void) {
    site_aligned();
    site_all_freed();
    site_calloc();
    in_threads(site_freed_by_other, 1);
    for (int i = 0; i < 1000; i++)
        free(handed_over[i]);
    site_half_freed();
    in_threads(site_in_threads, 6);
    site_large();
    site_many_small();
    site_moved_from();
    site_moved_to();
    site_recursive(30);
    site_resized_from();
    site_resized();
    site_refused();
    site_sizes();
    site_small_realloc();
    puts("site_aligned,50,10000,50,10000\n"
         "site_all_freed,0,0,7000,280000\n"
         "site_calloc,300,60000,300,60000\n"
         "site_freed_by_other,0,0,1000,56000\n"
         "site_half_freed,2500,250000,5000,500000\n"
         "site_in_threads,3000,216000,3000,216000\n"
         "site_large,17,1700000,17,1700000\n"
         "site_many_small,10000,240000,10000,240000\n"
         "site_moved_from,0,0,200,2000\n"
         "site_moved_to,200,200000,200,200000\n"
         "site_recursive,30,960,30,960\n"
         "site_resized,100,11000,100,11000\n"
         "site_resized_from,0,0,100,10000\n"
         "site_sizes,2000,2001000,2000,2001000\n"
         "site_small_realloc,0,0,10,3000");
}

SITE site_million(void) {
    for (int i = 0; i < 1000000; i++)
        keep(malloc(1000)); /* not written to: it needs no memory */
}

SITE site_resizes(void) {
    char *p = NULL;
    for (int i = 0; i < 200000; i++)
        p = keep(realloc(p, i % 4 != 0 ? 90000 + (size_t)i % 4 * 8000 : 30000));
    free(p);
}

/* Every stage has a function, and so a site, of its own. */
#define STAGE(n)                                                                                   \
    SITE stage_##n(void) {                                                                         \
        for (int i = 0; i < 100; i++)                                                              \
            keep(malloc(40 + n));                                                                  \
    }
STAGE(1)
STAGE(2)
STAGE(3)
STAGE(4)
STAGE(5)

static void stages(void) {
    void (*const stage[])(void) = {stage_1, stage_2, stage_3, stage_4, stage_5};
    char line[64];
    for (int i = 0; i < 5 && fgets(line, sizeof line, stdin) != NULL; i++) {
        stage[i]();
        puts("ready");
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    if (strcmp(argv[1], "known") == 0)
        known();
    else if (strcmp(argv[1], "estimate") == 0)
        site_million();
    else if (strcmp(argv[1], "resized") == 0)
        site_resizes();
    else
        stages();
    puts("ready");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
