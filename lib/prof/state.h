/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The recorder's state, for the files of this layer.
 */
#ifndef GM_PROF_STATE_H
#define GM_PROF_STATE_H

#include "prof/stack_table.h"

/* From an epoch on (heap/mepoch.h), at which rate. */
struct prof_rate_since {
    uint64_t rate;
    _Atomic uint16_t epoch;
};

#define PROF_MAX_RATES                                                                             \
    64 /* changes that are told apart; then the last one stands for all later                      \
        */

struct prof_state {
    struct mutex lock;        /* LOCK_RANK_PROF: changing the rate */
    _Atomic uint64_t rate;    /* bytes */
    _Atomic uint32_t gen;     /* grows with each change of the rate; never 0 */
    _Atomic bool initialised; /* prof_init has run: capture and stacks may be used */
    uint32_t fork_threads;    /* threads with an mcache when fork was prepared */
    _Atomic uint64_t exact_since_ns;
    _Atomic uint64_t nomemory; /* allocations seen that had no struct prof_thread */
    _Atomic uint64_t dropped;  /* samples without a slot record or figures */
    struct stack_table stacks;
    _Atomic uint32_t nrates;                      /* in `rates`; prof.lock */
    struct prof_rate_since rates[PROF_MAX_RATES]; /* in the order of time */
};

extern struct prof_state prof;

#endif
