/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything at once, on the heap alone: threads that come and go beside others that stay, objects
 * of all kinds that change hands, resizes, alignments, records in slot tables, and forks in the
 * middle of it, whose children go on with several new threads.
 *
 * An object knows its size and is full of a pattern, checked whenever somebody has it in hands.  At
 * rest (between the rounds, and in each child after its threads have ended) the heap is recounted
 * from scratch, and what the bitmaps say lives is what is held.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "heap/mslots.h"
#include "fork_heap.h"
#include "random.h"
#include "rounds.h"
#include "sanitized.h"
#include "sys/persistent.h"

enum { ROUNDS = 4, STEPS = 20000, FORKS = SANITIZED ? 0 : 12 };

enum { NSHARED = 3000, STAYING = 2, COMING = 4, GENERATIONS = 3, PATIENCE_S = 600 };

struct object {
    size_t size; /* bytes, with this header */
    unsigned char fill[];
};

static _Atomic(struct object *) shared[NSHARED];
static _Atomic uint64_t nmade, nfreed;
static _Atomic int failures;

/* cmocka's assertions jump, which only the first thread of the first process may. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: pid %d: not so: %s\n", __FILE__, __LINE__, (int)getpid(),      \
                    #condition);                                                                   \
            atomic_fetch_add(&failures, 1);                                                        \
        }                                                                                          \
    } while (0)

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    __atomic_store_n(&c->next_sample, INT64_MAX, __ATOMIC_RELAXED); /* no recorder here */
    return c;
}

static bool heap_is_consistent(void) {
    const char *why = NULL;
    bool ok = mheap_consistent(&mheap_, &why);
    if (!ok)
        fprintf(stderr, "pid %d: %s\n", (int)getpid(), why);
    return ok;
}

static uint64_t live_objects(void) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < mheap_.nallspans; i++) {
        struct mspan s;
        if (mheap_read_span(mheap_.allspans[i], &s))
            n += mspan_count_live(&s);
    }
    return n;
}

/* ---- objects ------------------------------------------------------------------------------ */

static unsigned char fill_of(const struct object *o) {
    return (unsigned char)(o->size * 31 + 7);
}

static void fill(struct object *o, size_t size) {
    o->size = size;
    memset(o->fill, fill_of(o), size - sizeof *o);
}

static void check(const struct object *o) {
    size_t n = o->size - sizeof *o;
    for (size_t i = 0; i < n; i += i < 16 || i + 16 > n ? 1 : 61)
        if (o->fill[i] != fill_of(o)) {
            CHECK(o->fill[i] == fill_of(o));
            return;
        }
}

static size_t some_size(struct random *r) {
    unsigned kind = random_below(r, 64);
    size_t size = kind == 0  ? random_below(r, 400000)
                  : kind < 6 ? random_below(r, 8000)
                             : random_below(r, 300);
    return size + sizeof(struct object);
}

/* As the recorder does, for every fourth object. */
static void record(struct random *r, void *p, size_t size) {
    struct mspan *s = mheap_span_of((uintptr_t)p);
    size_t elem = mspan_elem_bytes(s);
    if (random_below(r, 4) == 0)
        mslots_record(s, mspan_object_index(s, (uintptr_t)p), 1 + random_below(r, 100),
                      elem - size);
}

static struct object *make(struct random *r) {
    size_t size = some_size(r);
    bool noscan = random_below(r, 16) == 0;
    struct object *o;
    switch (random_below(r, 16)) {
    case 0:
        o = heap_alloc_aligned(self(), size, (size_t)16 << random_below(r, 12));
        break;
    case 1:
        o = heap_alloc_zeroed(self(), size, noscan);
        CHECK(o->size == 0 && (size == sizeof *o || o->fill[size - sizeof *o - 1] == 0));
        break;
    default:
        o = heap_alloc(self(), size, noscan);
        break;
    }
    CHECK(o != NULL && heap_usable(o) >= size);
    record(r, o, size);
    fill(o, size);
    atomic_fetch_add_explicit(&nmade, 1, memory_order_relaxed);
    return o;
}

/* Half of what is recorded is left to the slow path. */
static bool free_inline(void *p) {
    struct mspan *s = mheap_span_guess((uintptr_t)p);
    return heap_free_fast(p) || (((uintptr_t)p & 32) != 0 && heap_free_recorded(p, s, mcache_self));
}

static void destroy(struct object *o) {
    check(o);
    if (!free_inline(o))
        CHECK(heap_free_slow((uintptr_t)o) == FREE_OK);
    atomic_fetch_add_explicit(&nfreed, 1, memory_order_relaxed);
}

/* As realloc does. */
static struct object *resize(struct random *r, struct object *o) {
    size_t slot, size = some_size(r), old = o->size;
    struct mspan *s = heap_find(o, &slot);
    CHECK(s != NULL);
    check(o);
    if (!heap_realloc_in_place(s, size)) {
        struct object *to = make(r);
        destroy(o);
        return to;
    }
    /* The pattern depends on the size: what was there must be there still. */
    o->size = size < old ? size : old;
    unsigned char was = (unsigned char)(old * 31 + 7);
    CHECK(o->size == sizeof *o || o->fill[o->size - sizeof *o - 1] == was);
    fill(o, size);
    return o;
}

static void work(struct random *r, unsigned steps) {
    for (unsigned i = 0; i < steps; i++) {
        _Atomic(struct object *) *at = &shared[random_below(r, NSHARED)];
        struct object *o = random_below(r, 2) == 0 ? make(r) : NULL;
        o = atomic_exchange(at, o);
        if (o != NULL && random_below(r, 6) == 0)
            o = atomic_exchange(at, resize(r, o));
        if (o != NULL)
            destroy(o);
    }
}

/* ---- threads ------------------------------------------------------------------------------ */

static void *come_and_go(void *seed) {
    struct random r = {.state = (uintptr_t)seed};
    work(&r, STEPS / GENERATIONS);
    return NULL;
}

static void *stay(void *seed) {
    struct random r = {.state = (uintptr_t)seed};
    work(&r, STEPS);
    return NULL;
}

/* The library's own thread sweeps and scavenges meanwhile. */
static _Atomic bool stop_background;

static void *background(void *unused) {
    (void)unused;
    for (uint64_t now = 1; !atomic_load(&stop_background); now += UINT64_C(2000000000)) {
        mheap_background(&mheap_, now);
        usleep(1000);
    }
    return NULL;
}

static void start(pthread_t *t, unsigned n, void *(*f)(void *), unsigned seed) {
    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_create(&t[i], NULL, f, (void *)(uintptr_t)(seed * 100 + i + 1)) == 0);
}

static void join(const pthread_t *t, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

/* At rest: nothing lives but what is in the table. */
static void destroy_all(void) {
    for (unsigned i = 0; i < NSHARED; i++) {
        struct object *o = atomic_exchange(&shared[i], NULL);
        if (o != NULL)
            destroy(o);
    }
}

/* ---- fork --------------------------------------------------------------------------------- */

/* Some objects were in the hands of threads that are no more: one each, or two while a resize moves
 * it; and as many may be freed without having been counted. */
static void child(unsigned seed) {
    enum { LOST = 2 * (STAYING + COMING) };
    struct random r = {.state = seed};
    pthread_t t[COMING];
    atomic_store(&failures, 0);
    alarm(PATIENCE_S);
    work(&r, 500);
    start(t, COMING, come_and_go, seed);
    work(&r, 500);
    join(t, COMING);
    mheap_background(&mheap_, UINT64_C(1) << 62);
    CHECK(heap_is_consistent());
    destroy_all();
    mcache_release(self());
    mheap_reclaim(&mheap_);
    CHECK(heap_is_consistent());
    CHECK(live_objects() <= LOST);
    CHECK(mheap_.pages_in_use < (uint64_t)LOST * (420000 / GM_PAGE_SIZE) + 100);
    _exit(atomic_load(&failures) == 0 ? 0 : 1);
}

static void forks(unsigned seed) {
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork_heap();
        CHECK(pid >= 0);
        if (pid == 0)
            child(seed * 50 + (unsigned)i);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        if (WIFSIGNALED(status))
            fprintf(stderr, "child %d: %s\n", (int)pid, strsignal(WTERMSIG(status)));
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* ---- the test ----------------------------------------------------------------------------- */

static void a_round(unsigned seed) {
    pthread_t staying[STAYING], coming[COMING];
    start(staying, STAYING, stay, seed);
    for (unsigned g = 0; g < GENERATIONS; g++) {
        start(coming, COMING, come_and_go, seed + 10 * g);
        if (g == 1)
            forks(seed);
        join(coming, COMING);
    }
    join(staying, STAYING);
}

static void threads_and_forks_leave_the_heap_whole(void **state) {
    (void)state;
    pthread_t b;
    for (unsigned i = 0; i < ROUNDS * test_rounds(); i++) {
        atomic_store(&stop_background, false);
        CHECK(pthread_create(&b, NULL, background, NULL) == 0);
        a_round(test_seed() + i + 1);
        atomic_store(&stop_background, true);
        pthread_join(b, NULL);
        assert_true(heap_is_consistent());
        assert_int_equal(live_objects(), nmade - nfreed);
    }
    destroy_all();
    assert_int_equal(live_objects(), 0);
    mcache_release(self());
    mheap_reclaim(&mheap_);
    assert_true(heap_is_consistent());
    assert_int_equal(mheap_.pages_in_use, 0);
    assert_int_equal(failures, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_forks_leave_the_heap_whole),
    };
    return cmocka_run_group_tests_name("stress", tests, NULL, NULL);
}
