/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Objects whose fate is known, for escaping.bats: each NAME_make allocates N of them, in ways that
 * fool whoever compares the stack at free with the stack at malloc.  Compiled without tail calls
 * and inlining.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "check.h"

#define N     100
#define APART __attribute__((noinline, noclone))
#define END                                                                                        \
    __asm__ volatile("" ::                                                                         \
                         : "memory") /* so that the call before is none in tail position           \
                                      */

static void *use(void *p) {
    CHECK(p != NULL);
    *(volatile char *)p = 1;
    return p;
}

/* A capture in main's frame: what was called from there before has ended, and that is noticed. */
static APART void notice(void) {
    free(use(malloc(8)));
    END;
}

/* ---- freed by the caller's caller ... ------------------------------------------------------- */

static APART void local_make(void) {
    free(use(malloc(24)));
    END;
}

static APART void *one_up_make(void) {
    return use(malloc(32));
}
static APART void one_up(void) {
    free(one_up_make());
    END;
}

static APART void *two_up_make(void) {
    return use(malloc(40));
}
static APART void *two_up_inner(void) {
    return use(two_up_make());
}
static APART void two_up(void) {
    free(two_up_inner());
    END;
}

/* level 5 frees what was allocated five calls further in */
static APART void *recursion_make(int level) {
    void *p = level == 0 ? malloc(48) : recursion_make(level - 1);
    use(p);
    if (level == 5) {
        free(p);
        p = &p;
    }
    END;
    return p;
}

/* The object goes down to be freed. */
static APART void release_deeper(void *p, int levels) {
    if (levels == 0)
        free(p);
    else
        release_deeper(p, levels - 1);
    END;
}
static APART void downwards_make(void) {
    release_deeper(use(malloc(56)), 6);
    END;
}

/* ---- another activation at the same place --------------------------------------------------- */

/* xrealloc's way with a cursor: freed where allocated, by the next call from the same place. */
static APART void cursor_make(void **p) {
    free(*p);
    *p = use(malloc(64));
    END;
}

/* The same, but something is noticed in between. */
static APART void noticed_make(void **p) {
    free(*p);
    *p = use(malloc(72));
    END;
}

/* A static buffer: made anew when it is too small. */
static APART void *buffer_make(size_t n) {
    static char *buffer;
    static size_t room;
    if (n == 0 || n > room) {
        free(buffer);
        buffer = n != 0 ? use(malloc(n)) : NULL;
        room = n;
    }
    END;
    return buffer;
}

/* Allocated and freed by two functions that are called by the same instruction. */
static APART void sibling_make(void **p) {
    *p = use(malloc(80));
    END;
}
static APART void sibling_free(void **p) {
    free(*p);
    END;
}
static APART void siblings(void) {
    static void (*const calls[2])(void **) = {sibling_make, sibling_free};
    void *p = NULL;
    for (volatile int i = 0; i < 2; i++)
        calls[i](&p);
}

/* The function that frees takes the place of the one that has allocated. */
static APART void tail_free(void *p) {
    free(use(p));
    END;
}
#ifdef __clang__
static APART void tail_make(void *p) {
    p = use(malloc(88));
    __attribute__((musttail)) return tail_free(p);
}
#else
static APART __attribute__((optimize("optimize-sibling-calls"))) void tail_make(void *p) {
    p = use(malloc(96));
    tail_free(p);
}
#endif

static APART void jump_make(jmp_buf *env, void **p) {
    *p = use(malloc(104));
    longjmp(*env, 1);
}
static APART void jump(void) {
    jmp_buf env;
    void *volatile p = NULL;
    if (setjmp(env) == 0)
        jump_make(&env, (void **)&p);
    free(p);
}

/* ---- other threads and stacks --------------------------------------------------------------- */

static void *given;

static APART void thread_make(void) {
    given = use(malloc(112));
    END;
}
static void *frees_given(void *arg) {
    free(given);
    return arg;
}
static void *run(void *(*f)(void *)) {
    pthread_t t;
    void *ret;
    CHECK(pthread_create(&t, NULL, f, NULL) == 0 && pthread_join(t, &ret) == 0);
    return ret;
}

/* By a thread that has ended. */
static APART void *ended_make(void *arg) {
    (void)arg;
    return use(malloc(120));
}

/* Freed by the destructor of thread-specific data, which comes after the library's own. */
static pthread_key_t key;
static APART void *key_make(void *arg) {
    (void)arg;
    CHECK(pthread_setspecific(key, use(malloc(128))) == 0);
    return NULL;
}

static APART void signal_make(void) {
    given = use(malloc(136));
    raise(SIGUSR1);
    END;
}
static void frees_in_handler(int sig) {
    (void)sig;
    free(given);
}

static ucontext_t main_context, coroutine;
static APART void coroutine_make(void) {
    given = use(malloc(144));
    swapcontext(&coroutine, &main_context);
}
static void coroutine_runs(void) {
    for (;;)
        coroutine_make();
}

static APART void elsewhere_make(void) {
    void *p = use(malloc(152));
    swapcontext(&main_context, &coroutine); /* allocates there */
    free(p);
    free(given);
}

/* ---- kinds of objects ----------------------------------------------------------------------- */

static APART void *grow(void *p, size_t n) {
    p = realloc(p, n);
    return use(p);
}
static APART void *chain_make(size_t n) {
    return use(realloc(NULL, n));
}
/* 20 steps of 1.5, from 40 bytes to 133 KB; and of 64 KiB, up to 1.3 MB */
static APART void chain(size_t from, size_t step) {
    size_t n = from;
    char *p = chain_make(n);
    memset(p, 7, n);
    for (int i = 0; i < 20; i++) {
        size_t was = n;
        n = step != 0 ? n + step : n + n / 2;
        p = grow(p, n);
        CHECK(p[was - 1] == 7);
        memset(p, 7, n);
    }
    free(p);
}

static APART void large_make(void) {
    free(use(malloc(3 << 20)));
    END;
}
static APART void aligned_make(void) {
    free(use(aligned_alloc(256, 512)));
    END;
}
static APART void calloc_make(void) {
    free(use(calloc(3, 50)));
    END;
}
extern void *_Znwm(size_t);
extern void _ZdlPvm(void *, size_t);
static APART void cxx_make(void) {
    _ZdlPvm(use(_Znwm(24)), 24);
    END;
}
static APART void tiny_make(void) {
    free(use(malloc(3)));
    END;
}
static void *volatile all[N];
static APART void live_make(int i) {
    all[i] = use(malloc(160));
}

/* ---- */

static void *at_exit[N];
static APART void exit_make(int i) {
    at_exit[i] = use(malloc(168));
}
static void frees_at_exit(void) {
    for (int i = 0; i < N; i++)
        free(at_exit[i]);
}

static void on_one_stack(void) {
    void *p = NULL, *q = NULL;
    for (int i = 0; i < N; i++)
        local_make();
    for (int i = 0; i < N; i++) {
        one_up();
        two_up();
        recursion_make(7);
        downwards_make();
        siblings();
        tail_make(NULL);
        jump();
    }
    for (int i = 0; i < N + 1; i++)
        cursor_make(&p);
    for (int i = 0; i < N + 1; i++) {
        noticed_make(&q);
        notice();
    }
    for (size_t i = 1; i <= N; i++) {
        buffer_make(20 * i);
        notice();
    }
    buffer_make(0);
}

static void kinds(void) {
    for (int i = 0; i < N; i++) {
        large_make();
        aligned_make();
        calloc_make();
        cxx_make();
        tiny_make();
        live_make(i);
        chain(40, 0);
        if (i % 10 == 0)
            chain(65536, 65536);
    }
}

static void on_many(void) {
    static char stack[65536], handler_stack[65536];
    stack_t ss = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction sa = {.sa_handler = frees_in_handler, .sa_flags = SA_ONSTACK};
    CHECK(pthread_key_create(&key, free) == 0);
    CHECK(sigaltstack(&ss, NULL) == 0 && sigaction(SIGUSR1, &sa, NULL) == 0);
    getcontext(&coroutine);
    coroutine.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
    makecontext(&coroutine, coroutine_runs, 0);
    for (int i = 0; i < N; i++) {
        thread_make();
        run(frees_given);
        free(run(ended_make));
        run(key_make);
        signal_make();
        elsewhere_make();
    }
}

/* In the child that which the parent has made is freed by the thread that has made it. */
static APART void *fork_make(void) {
    return use(malloc(176));
}
static int forked(void) {
    void *p[N];
    for (int i = 0; i < N; i++)
        p[i] = fork_make();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        for (int i = 0; i < N; i++)
            free(p[i]);
        return 0;
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}

/* A coroutine on a piece of the first thread's stack.  The first thread allocates in it; another
 * one goes on with it, returns from the function that has, and calls it again; the first frees. */
static ucontext_t hopping, first_thread, second_thread;
static ucontext_t *volatile hop_away = &first_thread;
static atomic_int hops; /* odd: the second thread's turn; -1: enough */
static APART void hop_make(void **p) {
    void *was = *p;
    if (was == NULL)
        *p = use(malloc(192));
    swapcontext(&hopping, hop_away);
    free(was);
    END;
}
static void hop_runs(void) {
    for (;;) {
        void *p = NULL;
        for (volatile int i = 0; i < 2; i++) /* volatile: one call, one return address */
            hop_make(&p);
        swapcontext(&hopping, &first_thread);
    }
}
static void *hop_second(void *arg) {
    for (int turn = 1; atomic_load(&hops) >= 0;) {
        if (atomic_load(&hops) != turn) {
            sched_yield();
            continue;
        }
        hop_away = &second_thread;
        swapcontext(&second_thread, &hopping);
        hop_away = &first_thread;
        atomic_store(&hops, turn + 1);
        turn += 2;
    }
    return arg;
}
static APART void hop(void) {
    swapcontext(&first_thread, &hopping);
    int turn = atomic_fetch_add(&hops, 1) + 1;
    while (atomic_load(&hops) == turn)
        sched_yield();
    swapcontext(&first_thread, &hopping);
}

/* Each by itself for a second, so that it has what there is of watches then. */
static void rounds(void (*fool)(void)) {
    for (int i = 0; i < 200; i++) {
        fool();
        usleep(5000);
    }
}
static void tail(void) {
    tail_make(NULL);
}
static void cursor(void) {
    static void *p;
    cursor_make(&p);
}

static void hops_by_themselves(void) {
    char stack[32768];
    pthread_t second;
    getcontext(&hopping);
    hopping.uc_stack = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
    makecontext(&hopping, hop_runs, 0);
    CHECK(pthread_create(&second, NULL, hop_second, NULL) == 0);
    rounds(hop);
    atomic_store(&hops, -1);
    pthread_join(second, NULL);
}

static void by_themselves(void) {
    rounds(tail);
    rounds(cursor);
    hops_by_themselves();
}

/* Long enough for watches to be set up. */
static void long_enough(void) {
    struct timespec start, now;
    void *p = NULL;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        for (int i = 0; i < 20; i++) {
            local_make();
            cursor_make(&p);
            one_up();
            siblings();
            tail_make(NULL);
            jump();
        }
        usleep(300);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - start.tv_sec < 2); /* 1 to 2 s */
    free(p);
}

/* Threads that free each other's. */
#define EACH 20000
static _Atomic(void *) box[64];
static APART void *exchange_make(void) {
    return use(malloc(184));
}
static void *exchange(void *arg) {
    for (int i = 0; i < EACH; i++)
        free(atomic_exchange(&box[(unsigned)i * 2654435761u >> 26], exchange_make()));
    return arg;
}
static void exchanges(void) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], NULL, exchange, NULL) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 64; i++)
        free(box[i]);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "stack") == 0) {
        on_one_stack();
        atexit(frees_at_exit);
        for (int i = 0; i < N; i++)
            exit_make(i);
    } else if (strcmp(what, "kinds") == 0) {
        kinds();
    } else if (strcmp(what, "many") == 0) {
        on_many();
    } else if (strcmp(what, "fork") == 0) {
        return forked();
    } else if (strcmp(what, "long") == 0) {
        long_enough();
    } else if (strcmp(what, "chains") == 0) {
        for (int i = 0; i < 500; i++)
            chain(40, 0);
    } else if (strcmp(what, "each") == 0) {
        by_themselves();
    } else {
        exchanges();
    }
    return 0;
}
