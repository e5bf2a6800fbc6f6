/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Mutexes on a futex, with ranks.
 */
#include "sys/lock.h"

#include <linux/futex.h>

#include "sys/rawcall.h"
#include "sys/throw.h"

/* mutex.state, beside 0: the holder's number, and this bit if somebody may be waiting. */
#define WAITERS 1u

/* Bit r: this thread holds a lock of rank r.  Debug builds only. */
static gm_tls uint32_t held_ranks;

/* Bit r: this thread holds all locks of rank r while it forks. */
static gm_tls uint32_t forking_ranks;

/* How many forks this thread is in that were called while it held locks. */
static gm_tls uint32_t nested_forks;

/* This thread's number * 2, 0 = none yet.  Not the kernel's: a child of a fork keeps it, with the
 * locks that it holds, and no other thread of the child gets it. */
static gm_tls uint32_t self_number;
static _Atomic uint32_t last_number;

static gm_noinline uint32_t number_self(void) {
    while (self_number == 0)
        self_number = (atomic_fetch_add_explicit(&last_number, 1, memory_order_relaxed) + 1) * 2;
    return self_number;
}

static uint32_t self(void) {
    return gm_likely(self_number != 0) ? self_number : number_self();
}

bool mutex_is_mine(const struct mutex *m) {
    return (atomic_load_explicit(&m->state, memory_order_relaxed) & ~WAITERS) == self();
}

static bool held_for_fork(const struct mutex *m) {
    return gm_unlikely((forking_ranks >> m->rank & 1) != 0);
}

void mutex_fork_begin(uint32_t ranks) {
    forking_ranks = ranks;
}

void mutex_fork_end(void) {
    forking_ranks = 0;
}

void mutex_fork_nest(void) {
    nested_forks++;
}

bool mutex_fork_is_nested(void) {
    return nested_forks != 0;
}

void mutex_fork_unnest(void) {
    nested_forks--;
}

static void check_rank(const struct mutex *m) {
    if (gm_debug && (held_ranks >> m->rank) != 0)
        throw_values("lock rank violated: held ranks, wanted rank", held_ranks, m->rank);
}

static void note_held(const struct mutex *m) {
    if (gm_debug)
        held_ranks |= 1u << m->rank;
}

static bool try_acquire(struct mutex *m, uint32_t as) {
    uint32_t free = 0;
    return atomic_compare_exchange_strong_explicit(&m->state, &free, as, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* The program's crime, told as such. */
static _Noreturn gm_cold void interrupted(void) {
    char buf[256];
    struct fmt f = fmt_on(buf, sizeof buf);
    report_begin(&f);
    fmt_str(&f, "malloc called in a signal handler that has interrupted malloc\n");
    report_end(&f);
    die();
}

static void lock_slow(struct mutex *m) {
    /* A short spin pays: critical sections are some hundred nanoseconds. */
    for (int i = 0; i < 100; i++) {
        if (atomic_load_explicit(&m->state, memory_order_relaxed) == 0 && try_acquire(m, self()))
            return;
        __builtin_ia32_pause();
    }
    if (mutex_is_mine(m)) /* better than to wait for oneself in silence */
        interrupted();
    /* Taking it with the bit may cost one needless wake-up, never a lost one. */
    while (!try_acquire(m, self() | WAITERS)) {
        uint32_t old = atomic_load_explicit(&m->state, memory_order_relaxed);
        if (old == 0 || ((old & WAITERS) == 0 && !atomic_compare_exchange_strong_explicit(
                                                     &m->state, &old, old | WAITERS,
                                                     memory_order_relaxed, memory_order_relaxed)))
            continue;
        sys_call4(SYS_futex, (long)&m->state, FUTEX_WAIT_PRIVATE, (long)(old | WAITERS), 0);
    }
}

static void acquire(struct mutex *m) {
    if (!try_acquire(m, self()))
        lock_slow(m);
    note_held(m);
}

void mutex_lock(struct mutex *m) {
    if (held_for_fork(m))
        return;
    check_rank(m);
    acquire(m);
}

void mutex_lock_next(struct mutex *m) {
    if (gm_debug && held_ranks >> (m->rank + 1) != 0)
        throw_values("lock rank violated: held ranks, wanted rank", held_ranks, m->rank);
    acquire(m);
}

bool mutex_try_lock(struct mutex *m) {
    if (held_for_fork(m))
        return true;
    bool got = try_acquire(m, self());
    if (got)
        note_held(m);
    return got;
}

void mutex_unlock(struct mutex *m) {
    if (held_for_fork(m))
        return;
    if (gm_debug)
        held_ranks &= ~(1u << m->rank);
    uint32_t old = atomic_exchange_explicit(&m->state, 0, memory_order_release);
    if (old & WAITERS)
        sys_call4(SYS_futex, (long)&m->state, FUTEX_WAKE_PRIVATE, 1, 0);
    else if (old == 0)
        throw_("unlock of a free mutex");
}

void mutex_reset(struct mutex *m) {
    if (nested_forks == 0 || !mutex_is_mine(m))
        atomic_store_explicit(&m->state, 0, memory_order_relaxed);
}

void mutex_assert_held(const struct mutex *m) {
    if (held_for_fork(m))
        return;
    if (atomic_load_explicit(&m->state, memory_order_relaxed) == 0)
        throw_values("lock not held: rank", m->rank, 0);
    if (gm_debug && (held_ranks & 1u << m->rank) == 0)
        throw_values("lock held by another thread: rank", m->rank, 0);
}

void mutex_forget_held(void) {
    if (nested_forks == 0)
        held_ranks = 0;
}
