/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Functions whose frames differ: see fuzz_program.h.  FUZZ_ADD is the name of the function that
 * adds them.
 */
#include "fuzz_program.h"

#include <alloca.h>
#include <string.h>

#define FRAME     static __attribute__((noinline)) uint64_t
#define HERE(x)   __asm__ volatile("" : "+r"(x)) /* the compiler does not see through */
#define USED(mem) __asm__ volatile("" ::"r"(mem) : "memory")

FRAME plain(struct fuzz *f, unsigned depth, uint64_t x) {
    x = fuzz_next(f, depth, x + 1);
    HERE(x);
    return x;
}

FRAME twice(struct fuzz *f, unsigned depth, uint64_t x) {
    x = fuzz_next(f, depth / 2, x + 1);
    x += fuzz_next(f, depth, x + 2);
    HERE(x);
    return x;
}

FRAME in_a_loop(struct fuzz *f, unsigned depth, uint64_t x) {
    for (uint64_t n = fuzz_random(f, 4); n-- > 0;)
        x += fuzz_next(f, depth, x ^ n);
    HERE(x);
    return x;
}

/* No work is left after the call: the frame is gone by then. */
FRAME by_tail_call(struct fuzz *f, unsigned depth, uint64_t x) {
    return f->functions[fuzz_random(f, f->nfunctions)](f, depth == 0 ? 0 : depth - 1, x + 3);
}

FRAME with_alloca(struct fuzz *f, unsigned depth, uint64_t x) {
    size_t n = fuzz_random(f, 300) + 1;
    char *p = alloca(n);
    memset(p, (int)x, n);
    USED(p);
    x += fuzz_next(f, depth, x) + (unsigned char)p[n / 2];
    HERE(x);
    return x;
}

FRAME with_vla(struct fuzz *f, unsigned depth, uint64_t x) {
    size_t n = fuzz_random(f, 40) + 1;
    for (int i = 0; i < 2; i++) {
        uint64_t a[n];
        a[n - 1] = x;
        USED(a);
        x += fuzz_next(f, depth / 2, x) + a[n - 1];
        n = n * 2;
    }
    HERE(x);
    return x;
}

/* Many values are alive across the call: all preserved registers are saved, rbp among them. */
FRAME with_registers(struct fuzz *f, unsigned depth, uint64_t x) {
    uint64_t a = x * 3, b = x * 5, c = x * 7, d = x * 11, e = x * 13, g = x * 17, h = x * 19;
    HERE(a);
    HERE(b);
    HERE(c);
    HERE(d);
    HERE(e);
    HERE(g);
    HERE(h);
    x = fuzz_next(f, depth, x);
    return (a ^ b) + (c ^ d) + (e ^ g) + h + x;
}

FRAME with_much(struct fuzz *f, unsigned depth, uint64_t x) {
    char a[5000];
    a[x % sizeof a] = 1;
    USED(a);
    x += fuzz_next(f, depth, x) + (unsigned char)a[x % sizeof a];
    HERE(x);
    return x;
}

/* The stack is realigned: the frame is found by what it saved. */
FRAME realigned(struct fuzz *f, unsigned depth, uint64_t x) {
    uint64_t a[8] __attribute__((aligned(64)));
    memset(a, (int)x, sizeof a);
    USED(a);
    x += fuzz_next(f, depth, x) + a[x % 8];
    HERE(x);
    return x;
}

FRAME realigned_alloca(struct fuzz *f, unsigned depth, uint64_t x) {
    uint64_t a[8] __attribute__((aligned(64)));
    char *p = alloca(fuzz_random(f, 200) + 1);
    a[1] = x;
    USED(a);
    USED(p);
    x += fuzz_next(f, depth, x) + a[1];
    HERE(x);
    return x;
}

FRAME many_arguments(struct fuzz *f, unsigned depth, uint64_t x, uint64_t a, uint64_t b, uint64_t c,
                     uint64_t d, uint64_t e, uint64_t g) {
    x = fuzz_next(f, depth, x + a);
    return x + b * c + d * e + g;
}

FRAME on_the_stack(struct fuzz *f, unsigned depth, uint64_t x) {
    x += many_arguments(f, depth, x, x + 1, x + 2, x + 3, x + 4, x + 5, x + 6);
    HERE(x);
    return x;
}

/* Saves rbp only on the way that calls: the compiler wraps the shorter part. */
FRAME at_times(struct fuzz *f, unsigned depth, uint64_t x) {
    if ((x & 3) == 0)
        return x + 1;
    uint64_t a = x * 3, b = x * 5, c = x * 7;
    HERE(a);
    HERE(b);
    HERE(c);
    x = fuzz_next(f, depth, x);
    return x + a + b + c;
}

FRAME recursive(struct fuzz *f, unsigned depth, uint64_t x) {
    if (fuzz_random(f, 4) == 0 || depth == 0)
        return fuzz_next(f, depth, x) + 1;
    fuzz_enter(f);
    x = recursive(f, depth - 1, x + 1) * 3;
    fuzz_leave(f);
    return x;
}

void FUZZ_ADD(struct fuzz *f);
void FUZZ_ADD(struct fuzz *f) {
    fuzz_function *const all[] = {
        plain,     twice,     in_a_loop,    by_tail_call,     with_alloca, with_vla, with_registers,
        with_much, realigned, on_the_stack, realigned_alloca, at_times,    recursive};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        fuzz_add(f, all[i]);
}
