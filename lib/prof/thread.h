/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the recorder keeps of a thread: cumulative figures by site, counters, and the last stack.
 *
 * It hangs on the thread's mcache (mcache.prof) and lasts as long, which is for ever: a thread that
 * adopts the mcache goes on counting.  Only the thread writes; anybody reads.
 *
 * A site's figures are 32 bytes, in the order in which this thread met the sites; an index of four
 * bytes a site leads there.  Both are made in pieces, so that a thread that allocates at three of
 * a hundred thousand sites keeps a few pages.
 */
#ifndef GM_PROF_THREAD_H
#define GM_PROF_THREAD_H

#include <stdatomic.h>

#include "heap/mcache.h"
#include "prof/capture.h"
#include "prof/trail.h"

/* Figures of one site in one thread.  Doubles are kept as their bits: there is no atomic load of a
 * double without a call. */
struct site_figures {
    _Atomic uint64_t samples;
    _Atomic uint64_t sample_bytes;
    _Atomic uint64_t objects; /* double */
    _Atomic uint64_t bytes;   /* double */
};

/* A thread's counters: X(id, name, unit). */
#define THREAD_COUNTERS(X)                                                                         \
    X(CAPTURES, "captures", "stacks")          /* stacks captured */                               \
    X(FRAMES, "frames", "frames")              /* frames in them */                                \
    X(NEW_FRAMES, "new_frames", "frames")      /* of these, not shared with the stack before */    \
    X(TRUNCATED, "truncated", "stacks")        /* deeper than the bound */                         \
    X(NO_STACK, "no_stack", "samples")         /* recorded without a stack, for whatever reason */ \
    X(NESTED, "nested", "samples")             /* of these, within a capture: the unwinder's own,  \
                                                  or a signal handler's */                         \
    X(FOREIGN, "foreign", "samples")           /* not recorded: slot of a span not owned */        \
    X(RATE_CHANGES, "rate_changes", "changes") /* followed by this thread */                       \
    X(UNWINDER_THREADS, "unwinder_threads", "threads") /* that have captured; libunwind keeps      \
                                                          260 KiB of each while it lives */

enum thread_counter {
#define THREAD_COUNTER_ID(id, name, unit) THREAD_COUNTER_##id,
    THREAD_COUNTERS(THREAD_COUNTER_ID)
#undef THREAD_COUNTER_ID
        THREAD_NCOUNTERS
};

/* site -> record: three levels, so that a thread that has seen few sites has 6 KiB of them. */
#define INDEX_PAGE_SHIFT 10 /* 1024 sites, 4 KiB */
#define INDEX_DIR_SHIFT  7
#define INDEX_DIRS       128

struct site_index {
    _Atomic(_Atomic uint32_t *) pages[1 << INDEX_DIR_SHIFT];
};
#define FIGURES_FIRST  64 /* records in the first piece; each piece has twice as many */
#define FIGURES_PIECES 24

struct prof_thread {
    uint64_t rate; /* that next_sample was drawn under.  Thread */

    struct capture_self capture;
    struct trail trail;
    uint32_t nfigures; /* records in use; record 0 is not.  Thread */
    _Atomic uint64_t counters[THREAD_NCOUNTERS];
    _Atomic(struct site_figures *) figures[FIGURES_PIECES];
    _Atomic(struct site_index *) index[INDEX_DIRS]; /* site -> record, 0 = none */
};

/* prof_thread_of returns c's, made when first asked for; NULL: no memory.  For c's thread. */
struct prof_thread *prof_thread_of(struct mcache *c);

/* prof_thread_peek returns c's or NULL.  For anybody. */
struct prof_thread *prof_thread_peek(const struct mcache *c);

/* prof_thread_figures returns the site's record for writing, or NULL: no memory.  For the thread.
 */
struct site_figures *prof_thread_figures(struct prof_thread *t, uint32_t site);

/* prof_thread_read returns the site's record for reading, or NULL: nothing counted. */
const struct site_figures *prof_thread_read(const struct prof_thread *t, uint32_t site);

/* site_figures_add counts one sample that stands for `weight` objects of size bytes. */
void site_figures_add(struct site_figures *f, uint64_t size, double weight);

gm_inline void prof_thread_count(struct prof_thread *t, enum thread_counter id, uint64_t n) {
    /* One writer: no read-modify-write is needed, only that readers see whole values. */
    uint64_t v = atomic_load_explicit(&t->counters[id], memory_order_relaxed);
    atomic_store_explicit(&t->counters[id], v + n, memory_order_relaxed);
}

#endif
