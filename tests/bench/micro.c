/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The cost of one malloc and one free, in patterns that programs have:
 *
 *      micro [--seconds S] [PATTERN [SIZE]]   prints "PATTERN SIZE LIVE NANOSECONDS" for each cell
 *      micro --pairs N [--stub] PATTERN SIZE  runs N pairs, prints nothing: to count instructions
 *
 *   immediate  freed at once
 *   fifo       1,000 live, the oldest is freed
 *   random     100,000 live, one at random is freed; fewer where they would be more than 1 GiB
 *   batch      1,000 are allocated, then freed in the same order
 *   mixed      sizes from 8 to 1,031, 1,000 live, one at random is freed; SIZE means nothing
 *   replace    sizes from 64 to 1,024, 100,000 live, one at random is freed; SIZE means nothing
 *   cross      freed by another thread, through a ring
 *
 * Every object's first byte is written, as a program would; of a large one that is all, so that
 * the kernel's page faults are not what is measured.  What is live is allocated, and turned over
 * once, before the clock starts.  A cell then lasts S seconds at least; what counts is CPU time,
 * and the time that passes where two threads work (cross).  One run is one measurement: that
 * several are needed, and in which order, is for who runs this.
 *
 * --stub: malloc and free are replaced by functions of two instructions and one, so that the
 * loop's own cost can be taken away.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW = 1000, MANY = 100000, RING = 4096 };
#define MAX_LIVE_BYTES ((size_t)1 << 30)

/* Volatile, or the compiler would see that most of this is for nothing. */
static void *(*volatile alloc)(size_t) = malloc;
static void (*volatile release)(void *) = free;

static char stub_object[1 << 20];

static void *stub_alloc(size_t n) {
    (void)n;
    return stub_object;
}

static void stub_release(void *p) {
    (void)p;
}

/* One cell while it runs. */
struct cell {
    size_t size;  /* bytes of an object, 0 = they differ */
    size_t nlive; /* objects in the table */
    void **live;
    size_t next; /* fifo: the oldest */
    uint32_t seed;
};

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

static void immediate(struct cell *c, long pairs) {
    for (long i = 0; i < pairs; i++)
        release(make(c->size));
}

static void fifo(struct cell *c, long pairs) {
    size_t k = c->next;
    for (long i = 0; i < pairs; i++) {
        release(c->live[k]);
        c->live[k] = make(c->size);
        if (++k == c->nlive)
            k = 0;
    }
    c->next = k;
}

static void random_order(struct cell *c, long pairs) {
    for (long i = 0; i < pairs; i++) {
        size_t k = random_next(&c->seed) % c->nlive;
        release(c->live[k]);
        c->live[k] = make(c->size);
    }
}

static void batch(struct cell *c, long pairs) {
    for (; pairs > 0; pairs -= WINDOW) {
        for (size_t k = 0; k < WINDOW; k++)
            c->live[k] = make(c->size);
        for (size_t k = 0; k < WINDOW; k++)
            release(c->live[k]);
    }
    memset(c->live, 0, WINDOW * sizeof *c->live);
}

static void random_sizes(struct cell *c, long pairs, size_t least, size_t span) {
    for (long i = 0; i < pairs; i++) {
        size_t k = random_next(&c->seed) % c->nlive;
        release(c->live[k]);
        c->live[k] = make(least + random_next(&c->seed) % span);
    }
}

static void mixed(struct cell *c, long pairs) {
    random_sizes(c, pairs, 8, 1024);
}

static void replace(struct cell *c, long pairs) {
    random_sizes(c, pairs, 64, 961);
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

static void cross(struct cell *c, long pairs) {
    pthread_t consumer;
    if (pthread_create(&consumer, NULL, consume, &pairs) != 0)
        abort();
    for (long i = 0; i < pairs; i++) {
        void *p = make(c->size);
        while (atomic_load_explicit(&ring[i % RING], memory_order_acquire) != NULL)
            sched_yield();
        atomic_store_explicit(&ring[i % RING], p, memory_order_release);
    }
    pthread_join(consumer, NULL);
}

static const size_t all_sizes[] = {8, 16, 64, 256, 1024, 4096, 16384, 40960, 262144, 1048576, 0};
static const size_t any_size[] = {0, 0};

static const struct pattern {
    const char *name;
    void (*run)(struct cell *c, long pairs);
    size_t nlive;
    const size_t *sizes; /* ends with 0, which is the first of any_size */
} patterns[] = {
    {"immediate", immediate, 0, all_sizes},
    {"fifo", fifo, WINDOW, all_sizes},
    {"random", random_order, MANY, all_sizes},
    {"batch", batch, WINDOW, all_sizes},
    {"mixed", mixed, WINDOW, any_size},
    {"replace", replace, MANY, any_size},
    {"cross", cross, 0, all_sizes},
};
enum { NPATTERNS = sizeof patterns / sizeof patterns[0] };

static struct cell cell_of(const struct pattern *p, size_t size) {
    struct cell c = {.size = size, .nlive = p->nlive, .seed = 1};
    if (p->nlive == MANY && size * MANY > MAX_LIVE_BYTES)
        c.nlive = MAX_LIVE_BYTES / size;
    c.live = calloc(c.nlive + 1, sizeof *c.live);
    if (c.live == NULL)
        abort();
    return c;
}

static void cell_end(struct cell *c) {
    for (size_t i = 0; i < c->nlive; i++)
        release(c->live[i]);
    free(c->live);
}

/* Fills the table and turns its objects over once, so that what is measured is a heap in use. */
static void warm_up(const struct pattern *p, struct cell *c) {
    if (p->run == batch || c->nlive == 0) {
        p->run(c, WINDOW);
        return;
    }
    struct cell fill = *c;
    if (c->size != 0)
        fifo(&fill, (long)c->nlive);
    else
        for (size_t i = 0; i < c->nlive; i++)
            c->live[i] = make(64 + random_next(&c->seed) % 961);
    p->run(c, (long)c->nlive);
}

static double seconds(const struct pattern *p) {
    struct timespec t;
    clock_gettime(p->run == cross ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(const struct pattern *p, size_t size, double least) {
    struct cell c = cell_of(p, size);
    warm_up(p, &c);
    long pairs = WINDOW, total = 0;
    double begin = seconds(p), took = 0;
    while (took < least) {
        p->run(&c, pairs);
        total += pairs;
        double now = seconds(p) - begin;
        if (now - took < least / 8)
            pairs *= 2;
        took = now;
    }
    printf("%s %zu %zu %.2f\n", p->name, size, c.nlive, took / (double)total * 1e9);
    fflush(stdout);
    cell_end(&c);
}

static void count(const struct pattern *p, size_t size, long pairs) {
    struct cell c = cell_of(p, size);
    p->run(&c, pairs);
}

int main(int argc, char **argv) {
    double least = 0.05;
    long pairs = 0;
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--stub") == 0) {
            alloc = stub_alloc;
            release = stub_release;
        } else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0) {
            least = atof(argv[++i]);
        } else if (i + 1 < argc && strcmp(argv[i], "--pairs") == 0) {
            pairs = atol(argv[++i]);
        } else {
            fprintf(stderr, "micro: unknown option %s\n", argv[i]);
            return 64;
        }
    }
    const char *name = i < argc ? argv[i] : NULL;
    const char *chosen = i + 1 < argc ? argv[i + 1] : NULL;
    for (const struct pattern *p = patterns; p < patterns + NPATTERNS; p++) {
        if (name != NULL && strcmp(name, p->name) != 0)
            continue;
        const size_t *size = p->sizes;
        do {
            if (chosen != NULL && *size != (size_t)atol(chosen))
                continue;
            if (pairs != 0)
                count(p, *size, pairs);
            else
                measure(p, *size, least);
        } while (*size != 0 && *++size != 0);
    }
    return 0;
}
