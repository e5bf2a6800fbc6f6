/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verifying captures.
 */
#include "prof/verify.h"

#include <stdatomic.h>
#include <string.h>

#include "gomalloc/image.h"
#include "unwind/own.h"
#include "prof/prof.h"
#include "unwind/replay.h"
#include "unwind/walk.h"
#include "sys/mem.h"

#define LIBUNWIND_FRAMES (PROF_MAX_DEPTH + CAPTURE_SLACK)

struct verify {
    unsigned depth;
    unsigned turn;                 /* captures since the last verified one */
    struct stackmem memory;        /* the walk's: not replay's */
    uint64_t last[PROF_MAX_DEPTH]; /* the last capture's frames, outermost at the end */
    uint64_t walked[REPLAY_MAX_WALK];
    uint64_t unwound[LIBUNWIND_FRAMES];
};

static uint32_t every;
static _Atomic bool with_libunwind;
static _Atomic uint64_t captures;
static _Atomic uint64_t differences;
static _Atomic uint64_t libunwind_captures;
static _Atomic uint64_t libunwind_differences;

bool verify_init(uint32_t n) {
    every = n;
    if (!cfi_init())
        return false;
    atomic_store_explicit(&with_libunwind, capture_libunwind.init(), memory_order_relaxed);
    return true;
}

void verify_fork_child(void) {
    atomic_store_explicit(&with_libunwind, false, memory_order_relaxed);
}

bool verify_init_thread(struct capture_self *t, unsigned depth) {
    if (t->verify == NULL)
        t->verify = mem_alloc((sizeof *t->verify + 4095) & ~(size_t)4095, MEM_RECORDER);
    if (t->verify != NULL)
        t->verify->depth = depth;
    return t->verify != NULL;
}

struct capture_verified capture_verified(void) {
    return (struct capture_verified){
        .captures = atomic_load_explicit(&captures, memory_order_relaxed),
        .differences = atomic_load_explicit(&differences, memory_order_relaxed),
        .libunwind_captures = atomic_load_explicit(&libunwind_captures, memory_order_relaxed),
        .libunwind_differences = atomic_load_explicit(&libunwind_differences, memory_order_relaxed),
    };
}

static void count(_Atomic uint64_t *n) {
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

/* note keeps what was handed out, as the caller does. */
static void note(struct verify *v, const struct capture_stack *s) {
    unsigned fresh = s->n - s->known;
    memcpy(v->last + PROF_MAX_DEPTH - s->n, s->pcs, fresh * sizeof *s->pcs);
}

/* walk_all fills v->walked; returns the number of frames. */
static gm_noinline unsigned walk_all(struct verify *v, bool *ret_lost) {
    struct walk w;
    enum walk_step to = WALK_ON;
    unsigned n = 0;
    stackmem_here(&v->memory, (uintptr_t)__builtin_frame_address(0));
    walk_here(&w, &v->memory);
    while (n < REPLAY_MAX_WALK && (to = walk_out(&w)) == WALK_ON) {
        if (n != 0 || !own_code(w.regs[CFI_RIP]))
            v->walked[n++] = w.regs[CFI_RIP];
    }
    *ret_lost = to != WALK_END;
    return n;
}

static bool same(const uint64_t *a, const uint64_t *b, unsigned n) {
    return memcmp(a, b, n * sizeof *a) == 0;
}

static bool says_so_many(uint64_t pc, uint64_t n) {
    uint64_t said = pc - GOMALLOC_FRAME_OMITTED;
    return said <= n && (said == n || (said >= 16 && said > n / 4 * 3 - 1));
}

/* as_walked tells whether the noted capture is what the walk of n frames found. */
static bool as_walked(const struct verify *v, const struct capture_stack *s, unsigned n,
                      bool has_parts, bool lost) {
    const uint64_t *got = v->last + PROF_MAX_DEPTH - s->n;
    bool endless = n == REPLAY_MAX_WALK;
    if (n <= v->depth || !has_parts)
        return s->n == (n < v->depth ? n : v->depth) && same(got, v->walked, s->n) &&
               (!has_parts || lost == ((s->flags & GOMALLOC_SITE_STOPPED) != 0));
    unsigned prefix = endless ? 0 : v->depth / 4;
    unsigned suffix = v->depth - prefix - 1;
    return s->n == v->depth && (s->flags & GOMALLOC_SITE_TRUNCATED) != 0 &&
           same(got, v->walked, suffix) && says_so_many(got[suffix], n - suffix - prefix) &&
           (endless || same(got + suffix + 1, v->walked + n - prefix, prefix));
}

/* as_unwound asks libunwind. */
static bool as_unwound(struct verify *v, unsigned n, bool lost) {
    struct capture_self t = {.pcs = v->unwound};
    struct capture_stack s = {.pcs = v->unwound};
    capture_libunwind.capture(&t, 0, &s);
    unsigned want = n < v->depth ? n : v->depth;
    bool enough = lost ? s.n >= want : s.n == want;
    return enough && same(s.pcs, v->walked, want);
}

void verify_capture(struct capture_self *t, const struct capture_stack *s) {
    struct verify *v = t->verify;
    bool lost;
    note(v, s);
    if (++v->turn < every)
        return;
    v->turn = 0;
    unsigned n = walk_all(v, &lost);
    bool good = as_walked(v, s, n, t->replay != NULL, lost);
    count(&captures);
    if (atomic_load_explicit(&with_libunwind, memory_order_relaxed)) {
        count(&libunwind_captures);
        if (!as_unwound(v, n, lost)) {
            count(&libunwind_differences);
            good = false;
        }
    }
    if (!good)
        count(&differences);
}
