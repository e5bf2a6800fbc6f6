/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The watches of the process, between the threads that use them (watch.c) and the one that sets
 * them up (watch_turn.c).
 *
 * The table is a page that the kernel clears in every child that has a copy of the memory, whoever
 * makes it and however (MADV_WIPEONFORK): there are no watches there, as the mappings that they
 * tell by are not there either.  Zero means closed.
 *
 * A watch is changed by the library's thread alone:
 *
 *      free ------ fields written, then gen -----------------> armed
 *      armed ----- it is spent: spent = 1, ring unmapped ----> free, but tells of the spent one
 *      armed ----- gen = 0, ring unmapped -------------------> free
 *
 * A reader announces itself first and looks at gen and spent then, the library's thread writes gen
 * or spent first and looks for readers then: so nobody reads a ring that is unmapped, and while a
 * reader is announced and gen was not 0, the fields stay as they are.  The library's thread does
 * not wait for readers: it comes back at its next turn.
 *
 * A generation is given to one watch only, in a process and its children.  When they run out, in
 * two weeks of nothing but new watches, there are no more.
 */
#ifndef GM_PROF_WATCH_TABLE_H
#define GM_PROF_WATCH_TABLE_H

#include <assert.h>
#include <stdatomic.h>

#include "prof/watch.h"

#define WATCH_REQUESTS 8

struct perf_event_mmap_page;

/* A watch on one slot for one thread. */
struct watch {
    _Atomic uint32_t gen;     /* 0: not armed */
    _Atomic uint32_t life;    /* of the thread: watch_life */
    _Atomic uint32_t tid;     /* of the thread */
    _Atomic uint32_t readers; /* within the ring, or about to be */
    _Atomic uint32_t spent;   /* 1: it has seen WATCH_HITS; do not look at the ring */
    _Atomic uint64_t slot;
    const volatile struct perf_event_mmap_page *ring; /* NULL: the watch is free */

    /* By the thread. */
    _Atomic uint32_t used_tick; /* tick of the last note or question */
    _Atomic uint32_t nnoted;
    _Atomic uint32_t nasked; /* an object may be freed elsewhere: fewer than noted */

    /* By the library's thread. */
    uint32_t seen;     /* hits that are counted */
    uint64_t armed_ns; /* CLOCK_MONOTONIC */
};

/* A slot that is to be watched.  Who makes it TAKEN writes it, and makes it READY, or reads it, and
 * makes it FREE. */
enum watch_request_state { WATCH_FREE, WATCH_TAKEN, WATCH_READY };
struct watch_request {
    _Atomic uint32_t state;
    _Atomic uint32_t life;
    _Atomic uint32_t tid;
    _Atomic uint64_t slot;
    _Atomic uint64_t tp; /* the thread's thread pointer */
};

struct watch_table {
    _Atomic uint32_t open; /* notes and questions are welcome */
    _Atomic uint32_t tick; /* the library's thread's turns */
    _Atomic uint32_t next_request;
    struct watch watches[WATCHES];
    struct watch_request requests[WATCH_REQUESTS];
};

static_assert(sizeof(struct watch_table) <= 4096, "one page is cleared in a child");

/* NULL: not made yet.  Written once. */
extern _Atomic(struct watch_table *) watch_table;

/* X(id, name, unit) */
#define WATCH_COUNTERS(X)                                                                          \
    X(REFUSED, "refused", "calls")    /* 1: there are no watches here, and all answers are none */ \
    X(ARMED, "armed", "watches")      /* set up */                                                 \
    X(HITS, "hits", "writes")         /* that they saw */                                          \
    X(SILENT, "silent", "answers")    /* activations proved to go on */                            \
    X(FIRED, "fired", "answers")      /* activations proved to have ended */                       \
    X(LOST, "lost", "answers")        /* the watch was taken away before the question */           \
    X(FOREIGN, "foreign", "slots")    /* not on the thread's own stack: not watched */             \
    X(FAILED, "failed", "calls")      /* no register is free, or a limit is met */                 \
    X(CROWDED, "crowded", "requests") /* others were before this one */

enum watch_counter_id {
#define WATCH_COUNTER_ID(id, name, unit) WATCH_COUNT_##id,
    WATCH_COUNTERS(WATCH_COUNTER_ID)
#undef WATCH_COUNTER_ID
        WATCH_NCOUNTERS
};

extern _Atomic uint64_t watch_counters[WATCH_NCOUNTERS];

static inline void watch_count(enum watch_counter_id id) {
    atomic_fetch_add_explicit(&watch_counters[id], 1, memory_order_relaxed);
}

#endif
