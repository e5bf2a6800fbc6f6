/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks for coroutines: against a slow twin that remembers what is in use, in threads, and over
 * forks.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "heap/mguard.h"
#include "heap/mstack.h"
#include "fork_heap.h"
#include "random.h"
#include "sanitized.h"
#include "sys/persistent.h"

#define PATIENCE_S 600

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static void *alloc(size_t size, bool guard) {
    return stack_alloc(self(), size, guard);
}

static enum stack_free_result release(void *p) {
    return stack_free(self(), (uintptr_t)p);
}

static const char *heap_fault(void) {
    const char *why = NULL;
    mheap_consistent(&mheap_, &why);
    return why;
}

static void assert_heap_consistent(void) {
    const char *why = heap_fault();
    if (why != NULL)
        fail_msg("%s", why);
}

/* Stacks in use, by the bitmaps, as an inspector sees them. */
static size_t live_stacks(void) {
    size_t n = 0;
    for (uint32_t i = 0; i < mheap_.nallspans; i++) {
        struct mspan s;
        if (mheap_read_span(mheap_.allspans[i], &s) && s.state == GOMALLOC_SPAN_MANUAL)
            n += mspan_count_live(&s);
    }
    return n;
}

/* Spans of stacks; all are given back when no stack is in use. */
static size_t manual_spans(void) {
    size_t n = 0;
    for (uint32_t i = 0; i < mheap_.nallspans; i++)
        n += mheap_.allspans[i]->state == GOMALLOC_SPAN_MANUAL;
    return n;
}

static void assert_nothing_is_left(void) {
    mcache_flush(self());
    mheap_reclaim(&mheap_);
    assert_heap_consistent();
    assert_int_equal(manual_spans(), 0);
    assert_int_equal(mguard_count(), 0);
}

static size_t rounded(size_t size, bool guard) {
    size_t n = guard ? 4096 : 2048;
    while (n < size)
        n *= 2;
    return n;
}

static void a_stack_has_the_size_rounded_up(void **state) {
    (void)state;
    for (size_t size = 0; size <= 300000; size += size < 40000 ? 511 : 8191)
        for (int guard = 0; guard < 2; guard++) {
            char *p = alloc(size, guard);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % (guard ? 4096 : 2048), 0);
            assert_int_equal(stack_size((uintptr_t)p), rounded(size, guard));
            memset(p, 0xa5, rounded(size, guard));
            assert_int_equal(release(p), STACK_FREE_OK);
            assert_int_equal(stack_size((uintptr_t)p), 0);
        }
    assert_null(alloc(SIZE_MAX, false));
    assert_null(alloc(SIZE_MAX / 2, true));
    assert_nothing_is_left();
}

static void the_stack_freed_last_is_used_first(void **state) {
    (void)state;
    for (int guard = 0; guard < 2; guard++) {
        void *a = alloc(4096, guard), *b = alloc(4096, guard);
        release(a);
        release(b);
        assert_ptr_equal(alloc(4096, guard), b);
        assert_ptr_equal(alloc(4096, guard), a);
        release(a);
        release(b);
    }
    assert_nothing_is_left();
}

static void crimes_are_told_and_change_nothing(void **state) {
    (void)state;
    static const size_t sizes[] = {2048, 16384, 65536};
    char local;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int guard = 0; guard < 2; guard++) {
            char *p = alloc(sizes[i], guard);
            char *other = alloc(sizes[i], guard); /* keeps the span there */
            assert_int_equal(release(p + 1), STACK_FREE_INVALID);
            assert_int_equal(release(p + 1024), STACK_FREE_INVALID);
            assert_int_equal(release(p - 1), STACK_FREE_INVALID);
            assert_int_equal(release(p), STACK_FREE_OK);
            /* a large one without a guard has gone back to the heap */
            assert_int_equal(release(p),
                             sizes[i] > 16384 && !guard ? STACK_FREE_INVALID : STACK_FREE_DOUBLE);
            assert_heap_consistent();
            assert_int_equal(release(other), STACK_FREE_OK);
        }
    }
    assert_int_equal(release(&local), STACK_FREE_INVALID);
    void *object = heap_alloc(self(), 2048, false);
    assert_int_equal(release(object), STACK_FREE_INVALID);
    assert_true(heap_free_fast(object));
    assert_nothing_is_left();
}

static void malloc_does_not_know_stacks(void **state) {
    (void)state;
    static const size_t sizes[] = {2048, 16384, 65536};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p = alloc(sizes[i], false);
        size_t slot;
        assert_false(heap_free_fast(p));
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_INVALID);
        assert_int_equal(heap_usable(p), 0);
        assert_int_equal(heap_own_size(self(), p), 0);
        assert_null(heap_find(p, &slot));
        assert_int_equal(release(p), STACK_FREE_OK);
    }
    assert_nothing_is_left();
}

static bool dies_of_writing(volatile char *p) {
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        *p = 1;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void a_guard_faults_and_only_the_guard(void **state) {
    (void)state;
    for (size_t size = 2048; size <= 262144; size *= 2) {
        char *p = alloc(size, true);
        assert_true(dies_of_writing(p - 1));
        assert_true(dies_of_writing(p - 4096));
        assert_false(dies_of_writing(p));
        assert_false(dies_of_writing(p + size - 1));
        release(p);
        assert_ptr_equal(alloc(size, true), p); /* kept with its guard */
        assert_true(dies_of_writing(p - 1));
        release(p);
    }
    assert_nothing_is_left();
}

static void what_was_a_guard_can_be_used(void **state) {
    (void)state;
    enum { N = 40 };
    void *p[N];
    for (size_t i = 0; i < N; i++)
        p[i] = alloc(16384, true);
    assert_int_equal(mguard_count(), N);
    for (size_t i = 0; i < N; i++)
        release(p[i]);
    mcache_flush(self());
    mheap_reclaim(&mheap_);
    assert_int_equal(mguard_count(), 0);
    char *all = heap_alloc(self(), (size_t)N * 24576, false);
    assert_non_null(all);
    memset(all, 0x5a, (size_t)N * 24576);
    assert_int_equal(heap_free_slow((uintptr_t)all), FREE_OK);
    assert_nothing_is_left();
}

/* How many mappings a process may have here. */
static size_t most_mappings(void) {
    unsigned long n = 65530;
    FILE *f = fopen("/proc/sys/vm/max_map_count", "re");
    if (f != NULL && fscanf(f, "%lu", &n) != 1)
        n = 65530;
    if (f != NULL)
        fclose(f);
    return n;
}

static void guards_leave_mappings_to_the_program(void **state) {
    (void)state;
    enum { MOST = 40000 };
    if (SANITIZED ||
        most_mappings() / 8 * 3 >= MOST) /* some allow a million: that takes too long */
        skip();
    static void *p[MOST];
    size_t n = 0;
    while (n < MOST && (p[n] = alloc(4096, true)) != NULL)
        n++;
    assert_true(n > most_mappings() / 16 * 5 && n < MOST);
    assert_int_equal(mguard_count(), n);
    assert_heap_consistent();
    void *large = heap_alloc(self(), (size_t)100 << 20, false);
    assert_non_null(large);
    assert_int_equal(heap_free_slow((uintptr_t)large), FREE_OK);
    for (int i = 0; i < 1000; i++) { /* mappings that can't be merged */
        void *m =
            mmap(NULL, 4096, i % 2 ? PROT_NONE : PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(m, MAP_FAILED);
    }
    assert_non_null(p[n] = alloc(4096, false));
    release(p[n]);
    while (n > 0)
        assert_int_equal(release(p[--n]), STACK_FREE_OK);
    assert_nothing_is_left();
}

/* ---- the slow twin ------------------------------------------------------------------------ */

struct held {
    unsigned char *p; /* NULL: none */
    size_t size;
    unsigned char seed;
};

static void paint(const struct held *h) {
    memset(h->p, h->seed, 64);
    memset(h->p + h->size - 64, h->seed, 64);
}

static bool painted(const struct held *h) {
    for (size_t i = 0; i < 64; i++)
        if (h->p[i] != h->seed || h->p[h->size - 1 - i] != h->seed)
            return false;
    return true;
}

static bool make(struct random *r, struct held *h) {
    bool guard = random_below(r, 3) == 0;
    size_t size = ((size_t)1024 << random_below(r, random_below(r, 8) == 0 ? 9 : 6)) + 1 +
                  random_below(r, 1000);
    *h = (struct held){.p = alloc(size, guard),
                       .size = rounded(size, guard),
                       .seed = (unsigned char)random_below(r, 256)};
    if (h->p != NULL)
        paint(h);
    return h->p != NULL;
}

static bool is_live(const void *p) {
    struct mspan *s = mheap_span_of((uintptr_t)p);
    return mspan_live_word(s, 0) >> mspan_object_index(s, (uintptr_t)p) & 1;
}

static void assert_as_the_twin_says(const struct held *held, size_t n) {
    size_t live = 0;
    for (size_t i = 0; i < n; i++) {
        if (held[i].p == NULL)
            continue;
        live++;
        assert_true(is_live(held[i].p));
        assert_true(painted(&held[i]));
        assert_int_equal(stack_size((uintptr_t)held[i].p), held[i].size);
    }
    assert_int_equal(live_stacks(), live);
    assert_heap_consistent();
}

static void random_use_is_as_a_slow_twin_says(void **state) {
    (void)state;
    enum { N = 120, STEPS = SANITIZED ? 3000 : 12000 };
    static struct held held[N];
    struct random r = {.state = 5};
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned bound = i / 1000 % 2 == 0 ? N : N / 4; /* the number in use goes up and down */
        struct held *h = &held[random_below(&r, i % 5 == 0 ? N : bound)];
        if (h->p != NULL) {
            assert_int_equal(release(h->p), STACK_FREE_OK);
            assert_false(is_live(h->p) && mheap_span_of((uintptr_t)h->p)->state != 0);
            h->p = NULL;
        } else if (h < held + bound) {
            assert_true(make(&r, h));
        }
        if (random_below(&r, 500) == 0)
            mcache_flush(self());
        if (random_below(&r, 500) == 0)
            mheap_reclaim(&mheap_);
        assert_as_the_twin_says(held, N);
    }
    for (size_t i = 0; i < N; i++)
        if (held[i].p != NULL)
            assert_int_equal(release(held[i].p), STACK_FREE_OK);
    assert_nothing_is_left();
}

static void without_memory_it_fails_and_recovers(void **state) {
    (void)state;
    enum { MOST = 20000 };
    static void *p[MOST];
    struct rlimit old;
    size_t n = 0;
    if (SANITIZED)
        skip();
    getrlimit(RLIMIT_AS, &old);
    setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = 1 << 20, .rlim_max = old.rlim_max});
    while (n < MOST && (p[n] = alloc((size_t)2048 << n % 6, n % 3 == 0)) != NULL)
        n++;
    setrlimit(RLIMIT_AS, &old);
    assert_true(n < MOST);
    assert_heap_consistent();
    assert_int_equal(live_stacks(), n);
    assert_non_null(p[n] = alloc(1 << 20, true));
    for (size_t i = 0; i <= n; i++)
        assert_int_equal(release(p[i]), STACK_FREE_OK);
    assert_nothing_is_left();
}

/* ---- threads ------------------------------------------------------------------------------ */

static void *pairs(void *unused) {
    (void)unused;
    for (int i = 0; i < 1000; i++)
        for (int guard = 0; guard < 2; guard++)
            for (size_t size = 2048; size <= 16384; size *= 2)
                if (release(alloc(size, guard)) != STACK_FREE_OK)
                    return (void *)1;
    return NULL;
}

static pthread_barrier_t warm;

static void *warm_up_and_use(void *unused) {
    pairs(unused);
    pthread_barrier_wait(&warm);
    pthread_barrier_wait(&warm);
    return pairs(unused);
}

static void what_is_cached_needs_no_lock(void **state) {
    (void)state;
    pthread_t t;
    void *result = (void *)1;
    pthread_barrier_init(&warm, NULL, 2);
    pthread_create(&t, NULL, warm_up_and_use, NULL);
    pthread_barrier_wait(&warm);
    stackpool_lock_all();
    mutex_lock(&mheap_.lock);
    alarm(PATIENCE_S); /* it would wait for ever */
    pthread_barrier_wait(&warm);
    /* The end of the thread needs the locks: give it the time that a thousand pairs take. */
    usleep(SANITIZED ? 500000 : 50000);
    mutex_unlock(&mheap_.lock);
    stackpool_unlock_all();
    pthread_join(t, &result);
    alarm(0);
    assert_null(result);
    assert_nothing_is_left();
}

enum { NSHARED = 200, THREADS = 4, GENERATIONS = 6, STEPS = SANITIZED ? 4000 : 20000 };
struct shared {
    struct held held;
};
static _Atomic(struct shared *) shared[NSHARED];
static _Atomic unsigned failures;

static void check(bool ok) {
    if (!ok)
        atomic_fetch_add(&failures, 1);
}

static void drop(struct shared *s) {
    check(painted(&s->held));
    check(release(s->held.p) == STACK_FREE_OK);
}

/* Takes what lies at a random place, and puts something else there.  The note of a stack lies in
 * the stack. */
static void *exchange(void *seed) {
    struct random r = {.state = (uintptr_t)seed};
    for (int i = 0; i < STEPS / GENERATIONS; i++) {
        struct shared *s = NULL;
        struct held h;
        if (random_below(&r, 2) == 0 && make(&r, &h)) {
            s = (struct shared *)(h.p + 512);
            s->held = h;
        }
        s = atomic_exchange(&shared[random_below(&r, NSHARED)], s);
        if (s != NULL)
            drop(s);
        if (random_below(&r, 2000) == 0)
            mcache_flush(self());
    }
    return NULL;
}

static size_t drop_all(void) {
    size_t n = 0;
    for (unsigned i = 0; i < NSHARED; i++) {
        struct shared *s = atomic_exchange(&shared[i], NULL);
        if (s != NULL) {
            n++;
            drop(s);
        }
    }
    return n;
}

static void start(pthread_t *t, unsigned seed) {
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, exchange, (void *)(uintptr_t)(seed + i)), 0);
}

static void join(const pthread_t *t) {
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

static void threads_free_each_others_stacks(void **state) {
    (void)state;
    pthread_t t[THREADS];
    for (unsigned g = 0; g < GENERATIONS; g++) {
        start(t, 1 + g * 100);
        mheap_reclaim(&mheap_);
        join(t);
        assert_heap_consistent();
    }
    size_t live = live_stacks();
    assert_int_equal(drop_all(), live);
    assert_int_equal(failures, 0);
    assert_nothing_is_left();
}

/* ---- fork --------------------------------------------------------------------------------- */

/* Each lost thread may have had a stack or two in its hands, and a span. */
static void child(unsigned seed) {
    enum { LOST = 3 * THREADS };
    pthread_t t[THREADS];
    alarm(PATIENCE_S);
    const char *why = heap_fault();
    check(why == NULL);
    exchange((void *)(uintptr_t)seed);
    if (!SANITIZED) {
        start(t, seed + 7);
        join(t);
    }
    check(heap_fault() == NULL);
    drop_all();
    check(live_stacks() <= LOST);
    mcache_flush(self());
    mheap_reclaim(&mheap_);
    check(manual_spans() <= LOST);
    check(heap_fault() == NULL);
    if (failures != 0)
        fprintf(stderr, "child: %u failures, %s\n", failures, why != NULL ? why : "later");
    _exit(failures == 0 ? 0 : 1);
}

static void a_child_has_the_lost_threads_stacks(void **state) {
    (void)state;
    enum { FORKS = SANITIZED ? 8 : 60 };
    pthread_t t[THREADS];
    for (unsigned i = 0; i < FORKS; i++) {
        start(t, 1000 + i * 10);
        usleep(500 + i * 37 % 1000);
        pid_t pid = fork_heap();
        assert_true(pid >= 0);
        if (pid == 0)
            child(i + 1);
        int status;
        join(t);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    drop_all();
    assert_int_equal(failures, 0);
    assert_nothing_is_left();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_has_the_size_rounded_up),
        cmocka_unit_test(the_stack_freed_last_is_used_first),
        cmocka_unit_test(crimes_are_told_and_change_nothing),
        cmocka_unit_test(malloc_does_not_know_stacks),
        cmocka_unit_test(a_guard_faults_and_only_the_guard),
        cmocka_unit_test(what_was_a_guard_can_be_used),
        cmocka_unit_test(guards_leave_mappings_to_the_program),
        cmocka_unit_test(random_use_is_as_a_slow_twin_says),
        cmocka_unit_test(without_memory_it_fails_and_recovers),
        cmocka_unit_test(what_is_cached_needs_no_lock),
        cmocka_unit_test(threads_free_each_others_stacks),
        cmocka_unit_test(a_child_has_the_lost_threads_stacks),
    };
    return cmocka_run_group_tests_name("mstack", tests, NULL, NULL);
}
