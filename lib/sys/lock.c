/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Mutexes on a futex, with ranks.
 */
#include "sys/lock.h"

#include <linux/futex.h>

#include "sys/rawcall.h"
#include "sys/throw.h"

/* Bit r: this thread holds a lock of rank r.  Debug builds only. */
static gm_tls uint32_t held_ranks;

/* Bit r: this thread holds all locks of rank r while it forks. */
static gm_tls uint32_t forking_ranks;

static bool held_for_fork(const struct mutex *m) {
    return gm_unlikely((forking_ranks >> m->rank & 1) != 0);
}

void mutex_fork_begin(uint32_t ranks) {
    forking_ranks = ranks;
}

void mutex_fork_end(void) {
    forking_ranks = 0;
}

static void check_rank(const struct mutex *m) {
    if (gm_debug && (held_ranks >> m->rank) != 0)
        throw_values("lock rank violated: held ranks, wanted rank", held_ranks, m->rank);
}

static void note_held(const struct mutex *m) {
    if (gm_debug)
        held_ranks |= 1u << m->rank;
}

static void lock_slow(struct mutex *m) {
    /* A short spin pays: critical sections are some hundred nanoseconds. */
    for (int i = 0; i < 100; i++) {
        uint32_t free = 0;
        if (atomic_load_explicit(&m->state, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&m->state, &free, 1, memory_order_acquire,
                                                    memory_order_relaxed))
            return;
        __builtin_ia32_pause();
    }
    /* Taking it as "2" may cost one needless wake-up, never a lost one. */
    while (atomic_exchange_explicit(&m->state, 2, memory_order_acquire) != 0)
        sys_call4(SYS_futex, (long)&m->state, FUTEX_WAIT_PRIVATE, 2, 0);
}

static void acquire(struct mutex *m) {
    uint32_t free = 0;
    if (!atomic_compare_exchange_strong_explicit(&m->state, &free, 1, memory_order_acquire,
                                                 memory_order_relaxed))
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
    uint32_t free = 0;
    bool got = atomic_compare_exchange_strong_explicit(&m->state, &free, 1, memory_order_acquire,
                                                       memory_order_relaxed);
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
    if (old == 2)
        sys_call4(SYS_futex, (long)&m->state, FUTEX_WAKE_PRIVATE, 1, 0);
    else if (old == 0)
        throw_("unlock of a free mutex");
}

void mutex_reset(struct mutex *m) {
    atomic_store_explicit(&m->state, 0, memory_order_relaxed);
}

void mutex_assert_held(const struct mutex *m) {
    if (atomic_load_explicit(&m->state, memory_order_relaxed) == 0)
        throw_values("lock not held: rank", m->rank, 0);
    if (gm_debug && (held_ranks & 1u << m->rank) == 0)
        throw_values("lock held by another thread: rank", m->rank, 0);
}

void mutex_forget_held(void) {
    held_ranks = 0;
}
