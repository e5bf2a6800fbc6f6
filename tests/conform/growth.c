/* SPDX-License-Identifier: BSD-3-Clause
 *
 * growth threads|larson|pipe: ten times the work takes no more memory.
 *
 *   threads   rounds of 1,000 threads, 100 at a time, which allocate in all classes, free all, and
 *             end
 *   larson    a thread replaces objects at random, hands all of them to a successor, and ends
 *   pipe      one thread allocates, another frees
 *
 * The resident set after the tenth round is at most 1.2 times that after the first, and a slack:
 * what is at rest in how many caches is chance.  On a busy machine many threads may one time be
 * about to end together, each with its cache, which takes more memory than before, once: so it is
 * tried again from there.  What grows with the work grows each time.  A round of larson allocates
 * 160 MiB.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "../preload/check.h"

enum { ROUNDS = 10, SLACK_KIB = 16384, ATTEMPTS = 4 };

static size_t size_of(uint32_t r) {
    return r % 64 == 0 ? r % 60000 : r % 1200;
}

static void *make(uint32_t *seed) {
    size_t n = size_of(random_next(seed)) + 1;
    char *p = malloc(n);
    CHECK(p != NULL);
    memset(p, 1, n);
    return p;
}

/* ---- threads ------------------------------------------------------------------------------ */

enum { THREADS = 1000, AT_ONCE = 100, OBJECTS = 100 };

static pthread_barrier_t all_there;

static void *come_and_go(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg;
    void *p[OBJECTS];
    for (int i = 0; i < OBJECTS; i++)
        p[i] = make(&seed);
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < OBJECTS; i++)
        free(p[i]);
    return NULL;
}

static void threads_round(void) {
    pthread_t t[AT_ONCE];
    CHECK(pthread_barrier_init(&all_there, NULL, AT_ONCE) == 0);
    for (int k = 0; k < THREADS / AT_ONCE; k++) {
        for (int i = 0; i < AT_ONCE; i++)
            CHECK(pthread_create(&t[i], NULL, come_and_go, (void *)(uintptr_t)(i + 1)) == 0);
        for (int i = 0; i < AT_ONCE; i++)
            CHECK(pthread_join(t[i], NULL) == 0);
    }
    CHECK(pthread_barrier_destroy(&all_there) == 0);
}

/* ---- larson ------------------------------------------------------------------------------- */

enum { LINES = 4, HELD = 1000, REPLACED = 2000, SUCCESSORS = 20 };

struct line {
    uint32_t seed;
    int successors; /* still to come in this round */
    void *held[HELD];
    sem_t done;
};

static void *larson(void *arg) {
    struct line *l = arg;
    for (int i = 0; i < REPLACED; i++) {
        void **p = &l->held[random_next(&l->seed) % HELD];
        free(*p);
        *p = make(&l->seed);
    }
    pthread_t t;
    if (--l->successors == 0) {
        CHECK(sem_post(&l->done) == 0);
        return NULL;
    }
    CHECK(pthread_create(&t, NULL, larson, l) == 0);
    CHECK(pthread_detach(t) == 0);
    return NULL;
}

static void larson_round(void) {
    static struct line lines[LINES];
    for (int i = 0; i < LINES; i++) {
        struct line *l = &lines[i];
        pthread_t t;
        if (l->seed == 0)
            l->seed = (uint32_t)i + 1;
        l->successors = SUCCESSORS;
        CHECK(sem_init(&l->done, 0, 0) == 0);
        CHECK(pthread_create(&t, NULL, larson, l) == 0);
        CHECK(pthread_detach(t) == 0);
    }
    for (int i = 0; i < LINES; i++)
        while (sem_wait(&lines[i].done) != 0)
            CHECK(errno == EINTR);
}

/* ---- pipe --------------------------------------------------------------------------------- */

enum { SLOTS = 2000, PASSED = 100000 };

static void *slots[SLOTS];
static sem_t full, empty;

static void *consume(void *unused) {
    (void)unused;
    for (int i = 0; i < PASSED; i++) {
        while (sem_wait(&full) != 0)
            CHECK(errno == EINTR);
        free(slots[i % SLOTS]);
        CHECK(sem_post(&empty) == 0);
    }
    return NULL;
}

static void pipe_round(void) {
    static uint32_t seed = 1;
    pthread_t t;
    CHECK(sem_init(&full, 0, 0) == 0 && sem_init(&empty, 0, SLOTS) == 0);
    CHECK(pthread_create(&t, NULL, consume, NULL) == 0);
    for (int i = 0; i < PASSED; i++) {
        while (sem_wait(&empty) != 0)
            CHECK(errno == EINTR);
        slots[i % SLOTS] = make(&seed);
        CHECK(sem_post(&full) == 0);
    }
    CHECK(pthread_join(t, NULL) == 0);
}

static bool has_grown(const char *name, void (*round)(void)) {
    static long allowed;
    long first = 0, last = 0;
    for (int i = 0; i < ROUNDS; i++) {
        round();
        last = status_kib("VmRSS:");
        if (i == 0)
            first = last;
    }
    if (allowed == 0)
        allowed = first / 5 + SLACK_KIB;
    fprintf(stderr, "%s: %ld KiB after one round, %ld KiB after %d\n", name, first, last, ROUNDS);
    return last > first + allowed;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    void (*round)(void) = strcmp(argv[1], "threads") == 0  ? threads_round
                          : strcmp(argv[1], "larson") == 0 ? larson_round
                                                           : pipe_round;
    int times = 0;
    while (times < ATTEMPTS && has_grown(argv[1], round))
        times++;
    CHECK(times < ATTEMPTS);
    return 0;
}
