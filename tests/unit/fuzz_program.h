/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The "program" of test_replay: functions of all kinds that call each other at random, and a
 * visitor now and then.
 *
 * fuzz_program.c is compiled several times, with different flags and into different objects, so
 * that frames with and without frame pointers stand upon each other.  Which function calls which is
 * decided by struct fuzz alone, so a seed repeats a run.
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
};

static inline uint64_t fuzz_random(struct fuzz *f, uint64_t n) {
    f->random ^= f->random << 13;
    f->random ^= f->random >> 7;
    f->random ^= f->random << 17;
    return (f->random >> 11) % n;
}

/* fuzz_next calls functions at random, and the visitor. */
static inline uint64_t fuzz_next(struct fuzz *f, unsigned depth, uint64_t x) {
    if (fuzz_random(f, 3) == 0 && f->left != 0) {
        f->left--;
        f->visit();
    }
    if (depth == 0 || f->left == 0)
        return x;
    return f->functions[fuzz_random(f, f->nfunctions)](f, depth - 1, x);
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
void fuzz_add_signals(struct fuzz *f);
void fuzz_add_coroutines(struct fuzz *f);
#ifdef __cplusplus
}
#endif

#endif
