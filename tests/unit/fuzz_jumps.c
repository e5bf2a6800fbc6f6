/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ways from frame to frame that are neither call nor return: longjmp, signals, coroutines; and
 * frames that only an assembler makes.  See fuzz_program.h.
 */
#include "fuzz_program.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define NOINLINE static __attribute__((noinline)) uint64_t
#define HERE(x)  __asm__ volatile("" : "+r"(x))

/* What longjmp is to find as it was. */
struct before {
    sigjmp_buf *landing;
    unsigned nested;
    unsigned tries;
    unsigned ncalls;
    bool alternate;
};

static void land(struct fuzz *f, const volatile struct before *before) {
    f->landing = before->landing;
    f->nested = before->nested;
    f->tries = before->tries;
    f->alternate = before->alternate;
    fuzz_land(f, before->ncalls);
}

NOINLINE landing(struct fuzz *fuzz, unsigned depth, uint64_t start) {
    sigjmp_buf here;
    struct fuzz *volatile f = fuzz;
    volatile unsigned deep = depth;
    volatile uint64_t x = start;
    volatile struct before before = {f->landing, f->nested, f->tries, fuzz_ncalls(f), f->alternate};
    if (sigsetjmp(here, 1) == 0) {
        f->landing = &here;
        x = fuzz_next(f, deep, x);
    }
    land(f, &before);
    return fuzz_next(f, deep / 2, x) + 1;
}

NOINLINE jump(struct fuzz *f, unsigned depth, uint64_t x) {
    if (f->landing != NULL && fuzz_random(f, 2) == 0)
        siglongjmp(*f->landing, 1);
    x = fuzz_next(f, depth, x);
    HERE(x);
    return x;
}

/* Saves rbp and uses it as a register like any other. */
uint64_t fuzz_strange_rbp(struct fuzz *f, unsigned depth, uint64_t x, fuzz_function *to);
__asm__(".text\n"
        ".type fuzz_strange_rbp, @function\n"
        "fuzz_strange_rbp:\n"
        "    .cfi_startproc\n"
        "    sub $24, %rsp\n"
        "    .cfi_def_cfa_offset 32\n"
        "    mov %rbp, 8(%rsp)\n"
        "    .cfi_offset %rbp, -24\n"
        "    mov %rdx, %rbp\n"
        "    call *%rcx\n"
        "    mov 8(%rsp), %rbp\n"
        "    .cfi_restore %rbp\n"
        "    add $24, %rsp\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size fuzz_strange_rbp, . - fuzz_strange_rbp\n");

/* Its CFA is found by rbx, as in the loader's resolver. */
uint64_t fuzz_by_rbx(struct fuzz *f, unsigned depth, uint64_t x, fuzz_function *to);
__asm__(".text\n"
        ".type fuzz_by_rbx, @function\n"
        "fuzz_by_rbx:\n"
        "    .cfi_startproc\n"
        "    push %rbx\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset %rbx, -16\n"
        "    mov %rsp, %rbx\n"
        "    .cfi_def_cfa_register %rbx\n"
        "    sub $64, %rsp\n"
        "    and $-64, %rsp\n"
        "    call *%rcx\n"
        "    mov %rbx, %rsp\n"
        "    .cfi_def_cfa_register %rsp\n"
        "    pop %rbx\n"
        "    .cfi_def_cfa_offset 8\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size fuzz_by_rbx, . - fuzz_by_rbx\n");

static fuzz_function *any(struct fuzz *f) {
    return f->functions[fuzz_random(f, f->nfunctions)];
}

NOINLINE strange_rbp(struct fuzz *f, unsigned depth, uint64_t x) {
    x = fuzz_strange_rbp(f, depth, x, any(f)) + 1;
    HERE(x);
    return x;
}

NOINLINE by_rbx(struct fuzz *f, unsigned depth, uint64_t x) {
    x = fuzz_by_rbx(f, depth, x, any(f)) + 1;
    HERE(x);
    return x;
}

void fuzz_add_jumps(struct fuzz *f) {
    fuzz_add(f, landing);
    fuzz_add(f, landing);
    fuzz_add(f, jump);
    fuzz_add(f, jump);
    fuzz_add(f, strange_rbp);
    fuzz_add(f, strange_rbp);
}

void fuzz_add_slow(struct fuzz *f) {
    fuzz_add(f, by_rbx);
}

/* Signals: one on the stack that it interrupts, one on a stack of its own. */
static struct fuzz *signalled;
static unsigned signalled_depth;

static void on_signal(int sig) {
    (void)sig;
    struct fuzz *f = signalled;
    fuzz_next(f, signalled_depth, 1);
}

NOINLINE by_signal(struct fuzz *f, unsigned depth, uint64_t x) {
    if (f->nested >= 3)
        return x;
    unsigned tries = f->tries;
    f->nested++;
    f->tries = 0; /* no exception passes through a signal */
    signalled = f;
    signalled_depth = depth / 2;
    bool alternate = f->alternate;
    f->alternate = alternate || fuzz_random(f, 2) == 0;
    raise(f->alternate && !alternate ? SIGUSR2 : SIGUSR1);
    f->alternate = alternate;
    f->nested--;
    f->tries = tries;
    return x;
}

void fuzz_add_signals(struct fuzz *f) {
    const size_t size = (size_t)1 << 20;
    stack_t stack = {.ss_size = size};
    stack.ss_sp = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &a, NULL);
    a.sa_flags |= SA_ONSTACK;
    sigaction(SIGUSR2, &a, NULL);
    fuzz_add(f, by_signal);
    fuzz_add(f, by_signal);
}

/* Coroutines: their stacks are few, and used again and again. */
#define COROUTINES      3
#define COROUTINE_STACK ((size_t)512 << 10)

struct fuzz_coroutine {
    ucontext_t context;
    ucontext_t back;
    struct fuzz_coroutine *outer;
    char *stack;
    unsigned depth;
    bool busy;
    bool done;
    struct fuzz_calls calls;
};

static struct fuzz_coroutine coroutines[COROUTINES];
static struct fuzz *starting;

static void coroutine_main(void) {
    struct fuzz *f = starting;
    struct fuzz_coroutine *c = f->coroutine;
    fuzz_next(f, c->depth, 1);
    fuzz_next(f, c->depth, 2);
    c->done = true;
    swapcontext(&c->context, &c->back);
}

NOINLINE resume(struct fuzz *f, struct fuzz_coroutine *c) {
    sigjmp_buf *outer = f->landing;
    unsigned tries = f->tries;
    struct fuzz_calls *calls = f->calls;
    f->coroutine = c;
    f->calls = calls != NULL ? &c->calls : NULL;
    f->landing = NULL;
    f->tries = 0;
    f->nested++;
    starting = f;
    swapcontext(&c->back, &c->context);
    f->nested--;
    f->landing = outer;
    f->tries = tries;
    f->coroutine = c->outer;
    f->calls = calls;
    return 0;
}

static __attribute__((noinline)) void prepare(struct fuzz_coroutine *c) {
    getcontext(&c->context);
    c->context.uc_stack.ss_sp = c->stack;
    c->context.uc_stack.ss_size = COROUTINE_STACK;
    makecontext(&c->context, coroutine_main, 0);
}

NOINLINE in_coroutine(struct fuzz *f, unsigned depth, uint64_t x) {
    struct fuzz_coroutine *c = coroutines;
    while (c < coroutines + COROUTINES && c->busy)
        c++;
    if (c == coroutines + COROUTINES || f->nested >= 3)
        return x;
    sigjmp_buf *outer = f->landing;
    unsigned tries = f->tries;
    c->busy = true;
    c->done = false;
    c->outer = f->coroutine;
    c->depth = depth / 2;
    c->calls.n = 0;
    prepare(c);
    while (!c->done) {
        x += resume(f, c);
        f->landing = NULL; /* or it would never be resumed */
        f->tries = 0;
        x += fuzz_next(f, depth / 2, x);
    }
    f->landing = outer;
    f->tries = tries;
    c->busy = false;
    HERE(x);
    return x;
}

/* Back to who resumed, for a time.  Not out of a signal handler that runs here. */
NOINLINE yield(struct fuzz *f, unsigned depth, uint64_t x) {
    struct fuzz_coroutine *c = f->coroutine;
    if (c != NULL && f->nested == 1) {
        sigjmp_buf *landing_here = f->landing;
        unsigned tries = f->tries;
        swapcontext(&c->context, &c->back);
        f->landing = landing_here;
        f->tries = tries;
    }
    x = fuzz_next(f, depth, x);
    HERE(x);
    return x;
}

void fuzz_add_coroutines(struct fuzz *f) {
    for (int i = 0; i < COROUTINES; i++) {
        char *p = mmap(NULL, COROUTINE_STACK + 8192, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(p, 4096, PROT_NONE); /* nothing may be read beyond either end */
        mprotect(p + COROUTINE_STACK + 4096, 4096, PROT_NONE);
        coroutines[i] = (struct fuzz_coroutine){.stack = p + 4096};
    }
    fuzz_add(f, in_coroutine);
    fuzz_add(f, in_coroutine);
    fuzz_add(f, yield);
    fuzz_add(f, yield);
}
