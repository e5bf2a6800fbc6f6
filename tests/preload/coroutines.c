/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Coroutines (ucontext) on ten thousand guarded stacks of gomalloc_stack_alloc: they keep what is
 * theirs, one that recurses too deeply dies at its guard and harms no neighbour, a child of a fork
 * goes on with them, and at the end memory and mappings are given back.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "check.h"
#include "gomalloc/gomalloc.h"

#define NCOROUTINES 10000
#define ROUNDS      3
#define STACK       ((size_t)16 << 10)

static void *(*stack_alloc)(size_t, unsigned);
static int (*stack_free)(void *);
static size_t (*stack_size)(const void *);
static size_t (*scavenge)(void);

static struct coroutine {
    ucontext_t context;
    char *stack;
    uint64_t sum; /* what it has computed in its last round */
} coroutines[NCOROUTINES];
static ucontext_t scheduler;
static unsigned current;

static void find_functions(void) {
    *(void **)&stack_alloc = dlsym(RTLD_DEFAULT, "gomalloc_stack_alloc");
    *(void **)&stack_free = dlsym(RTLD_DEFAULT, "gomalloc_stack_free");
    *(void **)&stack_size = dlsym(RTLD_DEFAULT, "gomalloc_stack_size");
    *(void **)&scavenge = dlsym(RTLD_DEFAULT, "gomalloc_scavenge");
    CHECK(stack_alloc != NULL && stack_free != NULL && stack_size != NULL && scavenge != NULL);
}

static unsigned mappings(void) {
    unsigned n = 0;
    int c;
    FILE *f = fopen("/proc/self/maps", "re");
    CHECK(f != NULL);
    while ((c = getc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

/* ---- what they do ------------------------------------------------------------------------- */

static void yield(void) {
    struct coroutine *me = &coroutines[current];
    CHECK(swapcontext(&me->context, &scheduler) == 0);
}

/* The frames hold what is added up; others run between the way down and the way up. */
__attribute__((noinline)) static uint64_t descend(unsigned id, unsigned depth) {
    volatile uint64_t mine[8];
    for (unsigned i = 0; i < 8; i++)
        mine[i] = (uint64_t)id * 1000 + depth * 8 + i;
    uint64_t sum = 0;
    if (depth == 0)
        yield();
    else
        sum = descend(id, depth - 1);
    for (unsigned i = 0; i < 8; i++)
        sum += mine[i];
    return sum;
}

static uint64_t expected(unsigned id, unsigned depth) {
    uint64_t n = (depth + 1) * 8;
    return n * id * 1000 + n * (n - 1) / 2;
}

static void run_coroutine(void) {
    unsigned id = current;
    for (unsigned round = 0; round < ROUNDS; round++) {
        char *object = malloc(100); /* the recorder walks this stack */
        CHECK(object != NULL);
        fill(object, 100, id);
        coroutines[id].sum = descend(id, id % 5);
        CHECK(filled(object, 100, id));
        free(object);
        yield();
    }
}

static void start(unsigned id) {
    struct coroutine *c = &coroutines[id];
    c->stack = stack_alloc(STACK, GOMALLOC_STACK_GUARD);
    CHECK(c->stack != NULL);
    CHECK(stack_size(c->stack) == STACK);
    CHECK(getcontext(&c->context) == 0);
    c->context.uc_stack.ss_sp = c->stack;
    c->context.uc_stack.ss_size = STACK;
    c->context.uc_link = &scheduler;
    makecontext(&c->context, run_coroutine, 0);
}

static void resume(unsigned id) {
    current = id;
    CHECK(swapcontext(&scheduler, &coroutines[id].context) == 0);
}

static void resume_all(void) {
    for (unsigned i = 0; i < NCOROUTINES; i++)
        resume(i * 7919 % NCOROUTINES);
}

/* ---- too deep ----------------------------------------------------------------------------- */

#define VICTIM 5000

/* On the signal's own stack: the neighbours' frames are what they were, and the fault is in the
 * guard. */
static void overflowed(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)context;
    char *low = coroutines[VICTIM].stack, *at = info->si_addr;
    if (at < low - 8192 || at >= low)
        _exit(3);
    for (unsigned i = 0; i < NCOROUTINES; i++)
        if (i != VICTIM)
            resume(i);
    for (unsigned i = 0; i < NCOROUTINES; i++)
        if (i != VICTIM && coroutines[i].sum != expected(i, i % 5))
            _exit(4);
    _exit(42);
}

__attribute__((noinline)) static unsigned recurse(unsigned n) {
    volatile char frame[200];
    frame[n % 200] = (char)n;
    if (n == 0)
        return 0;
    return recurse(n - 1) + (unsigned)frame[n % 200];
}

static void run_too_deep(void) {
    recurse(1000000);
    _exit(5);
}

static void overflow(int handled) {
    static char handler_stack[1 << 16];
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
    stack_t own = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    alarm(600);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (handled) {
        action.sa_sigaction = overflowed;
        CHECK(sigaltstack(&own, NULL) == 0 && sigaction(SIGSEGV, &action, NULL) == 0);
    }
    /* VICTIM's frames are given up: a new coroutine stands on its stack. */
    struct coroutine *c = &coroutines[VICTIM];
    makecontext(&c->context, run_too_deep, 0);
    resume(VICTIM);
    _exit(6);
}

static int status_of_child(int handled) {
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        overflow(handled);
    CHECK(waitpid(pid, &status, 0) == pid);
    return status;
}

/* ---- the end ------------------------------------------------------------------------------ */

static void *free_some(void *first) {
    for (unsigned i = (unsigned)(uintptr_t)first; i < NCOROUTINES; i += 2)
        CHECK(stack_free(coroutines[i].stack) == 0);
    return NULL;
}

static void free_all(void) {
    pthread_t t;
    CHECK(pthread_create(&t, NULL, free_some, (void *)1) == 0);
    free_some((void *)0);
    CHECK(pthread_join(t, NULL) == 0);
}

int main(void) {
    find_functions();
    unsigned before = mappings();
    long rss = status_kib("VmRSS:");
    for (unsigned i = 0; i < NCOROUTINES; i++)
        start(i);
    CHECK(mappings() <= before + 2 * NCOROUTINES + 100);
    resume_all(); /* all are at the bottom of their first round */
    int status = status_of_child(0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    status = status_of_child(1);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    for (unsigned round = 0; round < ROUNDS; round++) {
        resume_all();
        for (unsigned i = 0; i < NCOROUTINES; i++)
            CHECK(coroutines[i].sum == expected(i, i % 5));
        resume_all(); /* into the next round, or to the end */
    }
    free_all();
    scavenge();
    CHECK(mappings() < before + 200);
    CHECK(status_kib("VmRSS:") < rss + 30000);
    return 0;
}
