/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The signal that stops a thread, and what its handler and the stopper share.
 */
#ifndef GM_LEAK_STOP_SIGNAL_H
#define GM_LEAK_STOP_SIGNAL_H

#include <stdatomic.h>

#include "leak/stop.h"

#define STOP_SIGNAL 33

/* A thread, as its handler knows it.  The word says to which stop the record belongs, so that a
 * handler that comes too late changes nothing. */
struct stop_record {
    _Atomic uint64_t word; /* number of the stop * 8 + enum stop_state */
    uint32_t tid;
    uint32_t late; /* if it may be late: where it says where it was.  Stopper, before the word */
    uint64_t sp, pc, tp, regs_lo, regs_hi; /* by the handler, before the word */
    uint64_t stack_lo, stack_hi;           /* by stop_find_stacks */
    uint64_t entered_ns;                   /* CLOCK_MONOTONIC, by the handler */
    _Atomic uint64_t left_ns;              /* likewise; 0: not yet */
};

/* Between the handlers and the stopper. */
struct stop_shared {
    _Atomic uint32_t number; /* of the stop that is going on; 0: none */
    uint32_t last_number;    /* of the stop before.  Stopper */
    uint32_t pid;            /* of the process that the rest is about.  Stopper */
    _Atomic uint32_t hold;   /* of the stop whose threads wait here; 0: none */
    _Atomic uint32_t nanswered;
    _Atomic uint32_t wanted;  /* answers that the stopper waits for */
    _Atomic uint32_t ninside; /* threads in the handler */
    _Atomic uint32_t nforbid; /* threads for which no stop may begin */
    uint32_t here;            /* the process that may say so */
    struct stop_record *records;

    /* Of the last stop, while its late threads may still say where they were. */
    _Atomic uint32_t late_number; /* 0: none */
    struct stop_late *late;       /* before the number of the stop */
};
extern struct stop_shared stop_shared;

/* stop_signal_install puts the handler in place; false: the kernel refuses.  stop_signal_restore
 * puts back what was there before; not if signals may be on their way, as not all have answered. */
bool stop_signal_install(void);
void stop_signal_restore(bool all_answered);

/* stop_signal_send asks the thread of record i.  0 or a negative errno: -ESRCH: it is no more. */
int stop_signal_send(uint32_t i);

/* stop_futex_wait waits until the word is no longer `value`, or the time is over, or for no reason.
 * stop_futex_wake wakes all who wait. */
void stop_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
void stop_futex_wake(_Atomic uint32_t *word);

uint64_t stop_now_ns(void);

static inline uint64_t stop_word(uint32_t number, enum stop_state state) {
    return (uint64_t)number * 8 + state;
}

static inline enum stop_state stop_state_of(uint64_t word) {
    return (enum stop_state)(word & 7);
}

/* stop_number returns the number of the stop that goes on.  Of the stopper, and in the copy. */
static inline uint32_t stop_number(void) {
    return atomic_load_explicit(&stop_shared.number, memory_order_relaxed);
}

static inline struct stop_record *stop_record(uint32_t i) {
    return &stop_shared.records[i];
}

static inline enum stop_state stop_state_at(uint32_t i) {
    return stop_state_of(atomic_load_explicit(&stop_record(i)->word, memory_order_acquire));
}

/* stop_resolve gives a thread that has not answered its state; false: it has answered just now. */
static inline bool stop_resolve(uint32_t i, enum stop_state state) {
    uint64_t asked = stop_word(stop_number(), STOP_ASKED);
    return atomic_compare_exchange_strong_explicit(&stop_record(i)->word, &asked,
                                                   stop_word(stop_number(), state),
                                                   memory_order_acq_rel, memory_order_acquire);
}

/* What any handler of ours returns to. */
void stop_restorer(void);

#endif
