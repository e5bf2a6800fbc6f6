/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose objects are pointed to from known places: why_demo NODES.  It prints lines "NAME
 * ADDRESS", and "ready".
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gomalloc/gomalloc.h"

#ifdef __clang__
#define NOINLINE __attribute__((noinline))
#else
#define NOINLINE __attribute__((noipa))
#endif

#pragma weak gomalloc_ignore
#pragma weak gomalloc_root_add
#pragma weak gomalloc_stack_alloc

struct node {
    struct node *next;
    uint64_t number;
};

struct book {
    uint64_t size;
    struct node *first;
};
struct book book;
char far[100000]; /* its end is in pages of their own, without a file */
static void *volatile shelf[8];
static __thread void *volatile own;
static pthread_key_t key;
static void **named; /* complement of its address */

static void say(const char *name, void *p) {
    printf("%s %p\n", name, p);
}

static NOINLINE void *make(size_t n) {
    void *p = calloc(1, n);
    if (!p)
        abort();
    return p;
}

static NOINLINE void make_list(long n) {
    struct node *last = NULL;
    for (long i = 0; i < n; i++) {
        struct node *new = make(sizeof *new);
        if (!last)
            book.first = new;
        else
            last->next = new;
        last = new;
    }
    say("last", last);
    say("interior", (char *)last + 9);
}

static NOINLINE void make_places(void) {
    shelf[3] = make(64);
    say("static", shelf[3]);
    void **arena = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    arena[77] = make(72);
    say("mapped", arena[77]);
    void **region = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    region[5] = make(73);
    named = (void **)~(uintptr_t)region;
    if (gomalloc_root_add)
        gomalloc_root_add(region, 4096);
    say("named", region[5]);
    own = make(74);
    say("thread-local", own);
    void *held = make(75);
    pthread_setspecific(key, held);
    say("key", held);
}

static NOINLINE void lose(void) {
    void **ring = make(80), **other = make(96), *ignored = make(112), *freed = malloc(3000);
    ring[2] = other;
    other[3] = ring;
    say("ring", ring);
    say("other", other);
    if (gomalloc_ignore)
        gomalloc_ignore(ignored);
    say("ignored", ignored);
    say("freed", freed);
    free(freed);
    if (gomalloc_stack_alloc)
        say("coroutine-stack", gomalloc_stack_alloc(65536, 0));
}

static NOINLINE void serve(void) {
    void *volatile request = make(128);
    say("stack", request);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}

static void *worker(void *arg) {
    pthread_setname_np(pthread_self(), "worker");
    (void)arg;
    serve();
    return NULL;
}

static NOINLINE void wipe(void) {
    volatile char room[16384];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0;
}

int main(int argc, char **argv) {
    static char buffer[4096];
    pthread_t thread;
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    pthread_key_create(&key, NULL);
    make_list(argc > 1 ? atol(argv[1]) : 10);
    make_places();
    lose();
    say("variable", &book);
    say("far", far + 90000);
    wipe();
    if (pthread_create(&thread, NULL, worker, NULL) != 0)
        return 1;
    for (;;)
        pause();
}
