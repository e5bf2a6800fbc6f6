/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Signal handlers that allocate and free, on a stack of their own, as long as they do not interrupt
 * malloc or free itself (which no malloc allows): signals alone | coroutines | threads N
 *
 * They take objects that main code has put down, and the other way round, so that these live on one
 * stack and die on another.  With coroutines, main code runs on stacks that are switched and used
 * again; with threads, these are born and end meanwhile, with objects that others free.  What an
 * object holds is checked when it is freed.  (Handlers that interrupt the recorder at any point are
 * those of unit/prof_signals.)
 *
 * It runs until N handlers have run, however long that takes.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

#include "check.h"

#define NOINLINE __attribute__((noinline))

enum { SHARED = 64, STACK = 64 << 10 };

static _Atomic(unsigned char *) shared[SHARED];
static _Atomic unsigned signals;
static unsigned enough;

/* The thread is in malloc or free. */
static _Thread_local volatile sig_atomic_t busy __attribute__((tls_model("initial-exec")));

static void *busy_malloc(size_t n) {
    busy = 1;
    void *p = malloc(n);
    busy = 0;
    return p;
}

static void busy_free(void *p) {
    busy = 1;
    free(p);
    busy = 0;
}

/* Its length first. */
static unsigned char *make(uint32_t r) {
    size_t n = r % 64 == 0 ? 5000 + r % 90000 : 8 + r % 600;
    unsigned char *p = busy_malloc(n);
    CHECK(p != NULL);
    memcpy(p, &n, sizeof n);
    p[n - 1] = n > 8 ? 77 : p[n - 1];
    return p;
}

static void finish(unsigned char *p) {
    size_t n;
    if (p == NULL)
        return;
    memcpy(&n, p, sizeof n);
    CHECK(n >= 8 && n <= 100000 && (n == 8 || p[n - 1] == 77));
    busy_free(p);
}

static NOINLINE void exchange(uint32_t *seed) {
    uint32_t r = random_next(seed);
    unsigned char *p = r % 3 != 0 ? make(r) : NULL;
    finish(atomic_exchange(&shared[r % SHARED], p));
    finish(make(r / 3));
    for (volatile unsigned i = 0; i < 3000; i++) /* not in malloc: time for a signal */
        continue;
}

static NOINLINE void at_depth(uint32_t *seed, unsigned depth) {
    if (depth == 0)
        exchange(seed);
    else
        at_depth(seed, depth - 1);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

static void handler(int sig) {
    static _Thread_local uint32_t seed __attribute__((tls_model("initial-exec")));
    int saved = errno;
    if (busy)
        return;
    if (seed == 0)
        seed = (uint32_t)(uintptr_t)&seed | 1;
    for (unsigned i = 0; i < 3; i++)
        at_depth(&seed, (unsigned)sig % 7 + i);
    atomic_fetch_add(&signals, 1);
    errno = saved;
}

static void on_stack_of_its_own(void) {
    stack_t stack = {.ss_size = STACK};
    stack.ss_sp = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack.ss_sp != MAP_FAILED && sigaltstack(&stack, NULL) == 0);
}

/* Of real time, and of the processor's: the second one comes while something is being done. */
static void begin_signals(void) {
    struct sigaction a = {.sa_handler = handler, .sa_flags = SA_ONSTACK | SA_RESTART};
    const struct itimerval often = {.it_interval = {.tv_usec = 311}, .it_value = {.tv_usec = 311}};
    const struct itimerval work = {.it_interval = {.tv_usec = 997}, .it_value = {.tv_usec = 997}};
    on_stack_of_its_own();
    CHECK(sigaction(SIGALRM, &a, NULL) == 0 && sigaction(SIGPROF, &a, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0 && setitimer(ITIMER_PROF, &work, NULL) == 0);
}

static void end_signals(void) {
    const struct itimerval off = {.it_value = {.tv_usec = 0}};
    setitimer(ITIMER_REAL, &off, NULL);
    setitimer(ITIMER_PROF, &off, NULL);
}

static bool goes_on(void) {
    return atomic_load_explicit(&signals, memory_order_relaxed) < enough;
}

static void alone(void) {
    uint32_t seed = 1;
    while (goes_on())
        at_depth(&seed, random_next(&seed) % 40);
}

/* Coroutines on few stacks: a new one begins where another has ended. */
enum { COROUTINES = 4 };
static ucontext_t scheduler, contexts[COROUTINES];
static char *stacks[COROUTINES];
static bool begun[COROUTINES];
static int current;
static uint32_t coroutine_seed = 7;

static void coroutine(void) {
    int me = current;
    for (unsigned i = random_next(&coroutine_seed) % 20; i > 0; i--) {
        at_depth(&coroutine_seed, random_next(&coroutine_seed) % 20);
        unsigned char *p = make(i);
        CHECK(swapcontext(&contexts[me], &scheduler) == 0);
        finish(p);
    }
    begun[me] = false;
    setcontext(&scheduler);
}

static void coroutines(void) {
    for (int i = 0; i < COROUTINES; i++)
        stacks[i] = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned turn = 0; goes_on(); turn++) {
        current = (int)(random_next(&coroutine_seed) % COROUTINES);
        ucontext_t *c = &contexts[current];
        if (!begun[current]) {
            begun[current] = true;
            CHECK(getcontext(c) == 0);
            c->uc_stack.ss_sp = stacks[current];
            c->uc_stack.ss_size = STACK;
            makecontext(c, coroutine, 0);
        }
        CHECK(swapcontext(&scheduler, c) == 0);
    }
}

static void *short_life(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg * 2654435761u | 1;
    on_stack_of_its_own();
    for (int i = 0; i < 50; i++)
        at_depth(&seed, random_next(&seed) % 20);
    stack_t none = {.ss_flags = SS_DISABLE}, was;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL); /* what ends a thread frees */
    CHECK(sigaltstack(&none, &was) == 0 && munmap(was.ss_sp, STACK) == 0);
    for (int i = 0; i < 5; i++)
        exchange(&seed);
    return NULL;
}

/* These call malloc and free as well. */
static int create(pthread_t *t, uintptr_t seed) {
    busy = 1;
    int error = pthread_create(t, NULL, short_life, (void *)seed);
    busy = 0;
    return error;
}

static int join(pthread_t t) {
    busy = 1;
    int error = pthread_join(t, NULL);
    busy = 0;
    return error;
}

static void threads(void) {
    uint32_t seed = 3;
    for (uintptr_t n = 1; goes_on(); n += 3) {
        pthread_t t[3];
        for (uintptr_t i = 0; i < 3; i++)
            CHECK(create(&t[i], n + i) == 0);
        for (int i = 0; i < 20; i++)
            at_depth(&seed, random_next(&seed) % 30);
        for (int i = 0; i < 3; i++)
            CHECK(join(t[i]) == 0);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    enough = (unsigned)strtoul(argv[2], NULL, 10);
    begin_signals();
    if (strcmp(argv[1], "coroutines") == 0)
        coroutines();
    else if (strcmp(argv[1], "threads") == 0)
        threads();
    else
        alone();
    end_signals();
    for (int i = 0; i < SHARED; i++)
        finish(atomic_exchange(&shared[i], NULL));
    printf("%u signals\n", atomic_load(&signals));
    return 0;
}
