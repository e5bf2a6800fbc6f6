/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Mutexes on a futex, with ranks.
 *
 * A thread may take a lock only if its rank is greater than that of every lock it holds: so no two
 * threads can wait for each other.  Go: runtime/lockrank.go.  With GOMALLOC_DEBUG the rule is
 * checked at each lock; in a release build the rank costs nothing.
 *
 * pthread mutexes are not used: they are part of the program's world (interposed by race
 * detectors, not reinitialised in a forked child).
 */
#ifndef GM_SYS_LOCK_H
#define GM_SYS_LOCK_H

#include <stdatomic.h>

#include "sys/compiler.h"

/* In the order in which they may be nested, outermost first. */
enum lock_rank {
    LOCK_RANK_NONE,
    LOCK_RANK_AGENT,      /* one request at a time */
    LOCK_RANK_PROF,       /* recorder's configuration */
    LOCK_RANK_IDLE,       /* the list of mcaches */
    LOCK_RANK_MCENTRAL,   /* one size class's span sets */
    LOCK_RANK_STACKPOOL,  /* one order's free stacks.  Go: stackpool */
    LOCK_RANK_STACKLARGE, /* free guarded stacks.  Go: stackLarge */
    LOCK_RANK_SCAVENGE,   /* pages on their way back to the kernel */
    LOCK_RANK_MHEAP,      /* pages, arenas, span headers */
    LOCK_RANK_SLOT,       /* slot tables' free lists */
    LOCK_RANK_STACK,      /* growth of the stack table */
    LOCK_RANK_ESCAPE,     /* figures of judged objects */
    LOCK_RANK_PERSISTENT,
    LOCK_NRANKS
};

struct mutex {
    _Atomic uint32_t state; /* 0: free; else the holder's number * 2, + 1 if somebody may wait */
    uint32_t rank;          /* enum lock_rank */
};

#define MUTEX_INIT(r)                                                                              \
    { .state = 0, .rank = (r) }

void mutex_lock(struct mutex *m);
/* mutex_lock_next takes one more lock of a rank already held; the caller takes all of that rank in
 * one order everywhere. */
void mutex_lock_next(struct mutex *m);
bool mutex_try_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);

/* mutex_fork_begin says that the calling thread now holds every lock of the ranks in the mask (bit
 * r = rank r) for the time of a fork: until mutex_fork_end, in parent and child, locking and
 * unlocking them does nothing in this thread.  Fork handlers of others, which run meanwhile, may
 * allocate. */
void mutex_fork_begin(uint32_t ranks);
void mutex_fork_end(void);

/* mutex_is_mine tells whether the calling thread holds the mutex. */
bool mutex_is_mine(const struct mutex *m);

/* A fork in a signal handler that has interrupted the allocator: fork is async-signal-safe in a
 * program of one thread.  It takes no lock, since this thread holds some; the child holds the same
 * and goes on where the handler returns.  Such forks are nested between mutex_fork_nest, before it,
 * and mutex_fork_unnest, in parent and child. */
void mutex_fork_nest(void);
bool mutex_fork_is_nested(void);
void mutex_fork_unnest(void);

/* mutex_reset makes the mutex free, whoever held it: for the only thread of a forked child.  In a
 * nested fork it leaves those that this thread holds. */
void mutex_reset(struct mutex *m);

/* mutex_assert_held throws unless somebody holds the mutex; a debug build also asks that it be
 * this thread. */
void mutex_assert_held(const struct mutex *m);

/* mutex_forget_held clears the calling thread's record of the ranks it holds: for a forked child,
 * unless the fork is nested. */
void mutex_forget_held(void);

#endif
