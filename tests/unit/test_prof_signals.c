/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A signal handler that allocates and frees may interrupt the recorder at any point: in a capture,
 * while it interns, while it looks at an object to be judged, while it judges one that is freed.
 * It gets its memory, and nobody waits for anybody.
 *
 * The heap itself may not be interrupted, no malloc may; so the handler does nothing while its
 * thread is in there.  A recorder with a lock, which the last test makes of this one, is one that
 * the handler would wait for for ever.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>
#include <cmocka.h>

#include "capture_thread.h"
#include "gomalloc/image.h"
#include "heap/malloc.h"
#include "prof/prof.h"
#include "replay_cases.h"
#include "sanitized.h"

#define SHARED 32
#define WANTED (SANITIZED ? 30 : 2000) /* handlers that have interrupted the recorder */

/* Volatile, as a handler of the thread reads them. */
static volatile sig_atomic_t in_heap;
static volatile sig_atomic_t within; /* handlers that came while the recorder was at work */
static volatile sig_atomic_t others;

/* The lock of a naive recorder. */
static pthread_mutex_t naive = PTHREAD_MUTEX_INITIALIZER;
static bool is_naive;
static volatile sig_atomic_t deadlocks;

static void *shared[SHARED];
static unsigned turn;

static struct mcache *self(void) {
    return mcache_self != &mcache0 ? mcache_self : mcache_attach();
}

static bool naive_begin(void) {
    if (!is_naive)
        return false;
    if (pthread_mutex_trylock(&naive) == 0)
        return true;
    deadlocks++; /* here pthread_mutex_lock would wait for the code that was interrupted */
    return false;
}

static void naive_end(bool locked) {
    if (locked)
        pthread_mutex_unlock(&naive);
}

/* malloc's and free's side of the contract. */
static void *allocate(size_t size) {
    struct mcache *c = self();
    struct prof_sample s;
    sig_atomic_t was = in_heap;
    c->next_sample = -1;
    bool locked = naive_begin();
    bool take = prof_sample(c, size, &s);
    naive_end(locked);
    in_heap = 1;
    void *p = heap_alloc(c, size, false);
    if (p == NULL)
        abort();
    /* It takes a table of slots from the heap if the span has none. */
    if (take)
        prof_record(c, p, size, &s);
    in_heap = was;
    return p;
}

static enum free_result free_in_heap(void *p) {
    sig_atomic_t was = in_heap;
    in_heap = 1;
    enum free_result r = heap_free_fast(p) ? FREE_OK : heap_free_slow((uintptr_t)p);
    in_heap = was;
    return r;
}

static void release(void *p) {
    if (p == NULL)
        return;
    enum free_result r = free_in_heap(p);
    if (r == FREE_ASK) {
        prof_freed(p);
        r = free_in_heap(p);
    }
    if (r != FREE_OK)
        abort();
}

/* Puts an object down and frees the one that was there, which another may have allocated. */
static void exchange(void) {
    unsigned i = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) * 7 % SHARED;
    char *p = allocate(40 + i * 13);
    memset(p, (int)i, 40);
    release(__atomic_exchange_n(&shared[i], p, __ATOMIC_RELAXED));
}

static void on_signal(int sig) {
    (void)sig;
    if (in_heap)
        return;
    if (self()->in_recorder != 0)
        within++;
    else
        others++;
    for (int i = 0; i < 3; i++)
        exchange();
}

static void interrupt_in(unsigned us) {
    const struct itimerval once = {.it_value = {.tv_usec = us}};
    setitimer(ITIMER_REAL, &once, NULL);
}

static int load(void **state) {
    (void)state;
    const size_t size = (size_t)256 << 10;
    stack_t stack = {.ss_size = size};
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    prof_init(&(struct prof_options){.rate = 1, .depth = 64, .escape = ESCAPE_ALL});
    stack.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* What a thread needs is taken before: that, too, is not to be interrupted. */
    in_heap = 1;
    for (int i = 0; i < 1000; i++)
        exchange();
    self()->in_recorder = 1;
    release(allocate(100));
    self()->in_recorder = 0;
    in_heap = 0;
    return sigaltstack(&stack, NULL) != 0 || sigaction(SIGALRM, &a, NULL) != 0;
}

/* Until so many handlers have interrupted the recorder; each finds another point of it. */
static void interrupt_the_recorder(int wanted) {
    within = others = 0;
    for (unsigned i = 0; within < wanted && i < 3000000; i++) {
        interrupt_in(1 + i % 60);
        for (int k = 0; k < 5; k++)
            case_recursion(exchange, i * 7 % 90);
    }
    interrupt_in(0);
    assert_true(within >= wanted);
}

static uint64_t counter(const char *name) {
    struct prof_counter c;
    for (unsigned i = 0; prof_counter(i, &c); i++) {
        if (strcmp(c.name, name) == 0)
            return c.value;
    }
    fail_msg("no counter %s", name);
    return 0;
}

static void a_handler_may_interrupt_the_recorder_anywhere(void **state) {
    (void)state;
    if (CAPTURE_THREAD_SLEEPS)
        skip(); /* the thread sanitizer delays signals until nothing is interrupted */
    uint64_t nested = counter("recorder.nested");
    interrupt_the_recorder(WANTED);
    assert_true(counter("recorder.nested") >= nested + (uint64_t)WANTED * 3);
    assert_int_equal(counter("recorder.dropped"), 0);
    assert_true(prof_exact_since_ns() != 0);
}

/* All that was allocated is counted once, at some site. */
static void the_sums_hold(void **state) {
    (void)state;
    uint64_t samples = 0;
    uint64_t live = 0;
    uint32_t n = prof_nsites();
    for (uint32_t i = 1; i <= n; i++) {
        struct prof_site_figures f;
        prof_site(i, &f);
        samples += f.samples;
    }
    for (int i = 0; i < SHARED; i++) {
        live += shared[i] != NULL;
        release(shared[i]);
        shared[i] = NULL;
    }
    assert_int_equal(live, SHARED);
    assert_int_equal(samples, turn + 1); /* and the one of load() */
}

static void a_recorder_with_a_lock_would_deadlock(void **state) {
    (void)state;
    if (CAPTURE_THREAD_SLEEPS)
        skip();
    is_naive = true;
    interrupt_the_recorder(WANTED / 10);
    is_naive = false;
    assert_true(deadlocks > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_may_interrupt_the_recorder_anywhere),
        cmocka_unit_test(the_sums_hold),
        cmocka_unit_test(a_recorder_with_a_lock_would_deadlock),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
