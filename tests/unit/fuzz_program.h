/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The "program" of test_replay and test_ended: functions of all kinds that call each other at
 * random, and a visitor now and then.
 *
 * fuzz_program.c is compiled several times, with different flags and into different objects, so
 * that frames with and without frame pointers stand upon each other.  Which function calls which is
 * decided by struct fuzz alone, so a seed repeats a run.
 *
 * The program keeps a stack of calls of its own, from which the visitor learns which activations
 * are alive.  A call is known by a serial number and by the stack pointer before it: below that lie
 * the return slot of what is called, and all that is called from there.
 */
#ifndef FUZZ_PROGRAM_H
#define FUZZ_PROGRAM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct fuzz;
typedef uint64_t fuzz_function(struct fuzz *f, unsigned depth, uint64_t x);

#define FUZZ_MAX_FUNCTIONS 256

#define FUZZ_MAX_CALLS 4096

struct fuzz_call {
    uint64_t serial;
    uint64_t sp;
};

/* The calls under way on one stack of calls: the thread's, or a coroutine's. */
struct fuzz_calls {
    unsigned n;
    struct fuzz_call calls[FUZZ_MAX_CALLS];
};

struct fuzz {
    void (*visit)(void);
    uint64_t random;
    unsigned left; /* visits wanted */
    unsigned nfunctions;
    fuzz_function *functions[FUZZ_MAX_FUNCTIONS];
    sigjmp_buf *landing; /* where fuzz_jump may jump to, or NULL */
    unsigned tries;      /* handlers of exceptions around */
    bool alternate;      /* the stack for signals is in use */
    unsigned nested;     /* signal handlers and coroutines on the stack */
    struct fuzz_coroutine *coroutine;
    uint64_t serial;          /* of the last call */
    struct fuzz_calls *calls; /* NULL: nobody wants to know */
};

static inline uint64_t fuzz_random(struct fuzz *f, uint64_t n) {
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return (f->random >> 11) % n;
}

/* fuzz_enter is called before a call of a function, from the function that calls. */
static inline __attribute__((always_inline)) void fuzz_enter(struct fuzz *f) {
    uint64_t sp;
    __asm__ volatile("movq %%rsp, %0" : "=r"(sp));
    if (f->calls == NULL)
        return;
    if (f->calls->n == FUZZ_MAX_CALLS)
        abort();
    struct fuzz_call call = {++f->serial, sp};
    f->calls->calls[f->calls->n++] = call;
}

/* fuzz_leave is called after it. */
static inline __attribute__((always_inline)) void fuzz_leave(struct fuzz *f) {
    if (f->calls != NULL)
        f->calls->n--;
}

/* fuzz_ncalls and fuzz_land are for who catches a jump or an exception. */
static inline unsigned fuzz_ncalls(const struct fuzz *f) {
    return f->calls != NULL ? f->calls->n : 0;
}

static inline void fuzz_land(struct fuzz *f, unsigned ncalls) {
    if (f->calls != NULL)
        f->calls->n = ncalls;
}

/* fuzz_next calls functions at random, and the visitor. */
static inline __attribute__((always_inline)) uint64_t fuzz_next(struct fuzz *f, unsigned depth,
                                                                uint64_t x) {
    if (fuzz_random(f, 3) == 0 && f->left != 0) {
        f->left--;
        f->visit();
    }
    if (depth == 0 || f->left == 0)
        return x;
    fuzz_function *to = f->functions[fuzz_random(f, f->nfunctions)];
    fuzz_enter(f);
    x = to(f, depth - 1, x);
    fuzz_leave(f);
    return x;
}

static inline void fuzz_add(struct fuzz *f, fuzz_function *function) {
    if (f->nfunctions < FUZZ_MAX_FUNCTIONS)
        f->functions[f->nfunctions++] = function;
}

#ifdef __cplusplus
extern "C" {
#endif
/* Each adds its functions. */
void fuzz_add_O0(struct fuzz *f);
void fuzz_add_O2(struct fuzz *f);
void fuzz_add_O3(struct fuzz *f);
void fuzz_add_fp(struct fuzz *f);
void fuzz_add_exceptions(struct fuzz *f);
void fuzz_add_jumps(struct fuzz *f);
void fuzz_add_slow(struct fuzz *f); /* a stack with it can't be remembered */
void fuzz_add_signals(struct fuzz *f);
void fuzz_add_coroutines(struct fuzz *f);
void fuzz_add_reload(struct fuzz *f, const char *a, const char *b); /* plugins */
void fuzz_add_deep(struct fuzz *f);
#ifdef __cplusplus
}
#endif

#endif
