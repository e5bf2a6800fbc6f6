// SPDX-License-Identifier: BSD-3-Clause
//
// Exceptions: functions that throw, that catch, and that have something to do on the way.  See
// fuzz_program.h.
#include "fuzz_program.h"

namespace {

struct Thrown {
    uint64_t x;
};

// Visits when it is destroyed, be it in the normal way or while an exception passes.
struct Visitor {
    struct fuzz *f;
    unsigned ncalls;
    ~Visitor() {
        fuzz_land(f, ncalls);
        if (f->left != 0) {
            f->left--;
            f->visit();
        }
    }
};

// A jump over destructors is not allowed.
struct NoLanding {
    struct fuzz *f;
    sigjmp_buf *outer;
    explicit NoLanding(struct fuzz *fuzz) : f(fuzz), outer(fuzz->landing) { f->landing = nullptr; }
    ~NoLanding() { f->landing = outer; }
};

__attribute__((noinline)) uint64_t catches(struct fuzz *f, unsigned depth, uint64_t x) {
    NoLanding guard(f);
    unsigned tries = f->tries, nested = f->nested, ncalls = fuzz_ncalls(f);
    bool alternate = f->alternate;
    try {
        f->tries = tries + 1;
        x = fuzz_next(f, depth, x);
        f->tries = tries;
    } catch (const Thrown &thrown) {
        f->tries = tries;
        f->nested = nested;
        f->alternate = alternate;
        f->landing = nullptr;
        fuzz_land(f, ncalls);
        x = fuzz_next(f, depth / 2, thrown.x);
    }
    return x + 1;
}

__attribute__((noinline)) uint64_t throws(struct fuzz *f, unsigned depth, uint64_t x) {
    if (f->tries != 0 && fuzz_random(f, 2) == 0)
        throw Thrown{x};
    return fuzz_next(f, depth, x) + 1;
}

__attribute__((noinline)) uint64_t passes(struct fuzz *f, unsigned depth, uint64_t x) {
    NoLanding guard(f);
    Visitor visitor{f, fuzz_ncalls(f)};
    x = fuzz_next(f, depth, x);
    return x + 1;
}

} // namespace

void fuzz_add_exceptions(struct fuzz *f) {
    fuzz_add(f, catches);
    fuzz_add(f, catches);
    fuzz_add(f, throws);
    fuzz_add(f, throws);
    fuzz_add(f, passes);
}
