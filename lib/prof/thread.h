/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the recorder keeps of a thread: cumulative figures by site, counters, and the last stack.
 *
 * It hangs on the thread's mcache (mcache.prof) and lasts as long, which is for ever: a thread that
 * adopts the mcache goes on counting.  Only the thread writes; anybody reads.
 *
 * Of a site are kept its samples and their bytes; and, only where a sample stands for more than
 * itself, how many objects and bytes more.  So at rate 1 everything is counted in whole numbers,
 * and takes 16 bytes a site.
 *
 * Whatever is counted is added by one instruction, so that a signal handler that allocates between
 * any two of them loses nothing.
 */
#ifndef GM_PROF_THREAD_H
#define GM_PROF_THREAD_H

#include <stdatomic.h>

#include "heap/mcache.h"
#include "prof/capture.h"
#include "prof/escape.h"
#include "prof/site_map.h"
#include "prof/trail.h"

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

/* The words of a site in prof_thread.figures, and in excess. */
enum { FIGURE_SAMPLES, FIGURE_BYTES };
enum {
    EXCESS_OBJECTS,
    EXCESS_BYTES
}; /* doubles, as their bits: there is no atomic load of a
      double without a call */

struct prof_thread {
    uint64_t rate; /* that next_sample was drawn under.  Thread */

    struct capture_self capture;
    struct trail trail;
    struct escape_self escape;
    _Atomic uint64_t counters[THREAD_NCOUNTERS];
    struct site_map figures; /* samples, and bytes asked for */
    struct site_map excess;  /* what they stand for beyond themselves */
};

/* prof_thread_of returns c's, made when first asked for; NULL: no memory.  For c's thread. */
struct prof_thread *prof_thread_of(struct mcache *c);

/* prof_thread_peek returns c's or NULL.  For anybody. */
struct prof_thread *prof_thread_peek(const struct mcache *c);

/* What a thread has counted of a site. */
struct site_figures {
    uint64_t samples;
    uint64_t sample_bytes;
    double objects; /* that they stand for */
    double bytes;
};

/* prof_thread_add_sample counts a sample of size bytes that stands for `weight` such objects.
 * False: no memory, it is not counted.  For the thread. */
bool prof_thread_add_sample(struct prof_thread *t, uint32_t site, uint64_t size, double weight);

/* prof_thread_read adds the thread's figures of the site to those of others. */
void prof_thread_read(const struct prof_thread *t, uint32_t site, struct site_figures *sum);

/* add_to adds to a word of one writer that others read: neither torn nor lost to a handler. */
gm_inline void add_to(_Atomic uint64_t *word, uint64_t n) {
    __asm__("addq %1, %0" : "+m"(*word) : "er"(n) : "cc");
}

/* prof_enter begins what a signal handler in this thread must not do as well; false: this is such a
 * handler, or the thread is ending.  c is the caller's, and not mcache0. */
gm_inline bool prof_enter(struct mcache *c) {
    if (gm_unlikely(atomic_load_explicit(&c->in_recorder, memory_order_relaxed) != 0))
        return false;
    atomic_store_explicit(&c->in_recorder, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    return true;
}

gm_inline void prof_leave(struct mcache *c) {
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&c->in_recorder, 0, memory_order_relaxed);
}

gm_inline void prof_thread_count(struct prof_thread *t, enum thread_counter id, uint64_t n) {
    add_to(&t->counters[id], n);
}

/* site_words_add counts a sample of size bytes. */
gm_inline void site_words_add(struct site_words *f, uint64_t size) {
    add_to(&f->word[FIGURE_SAMPLES], 1);
    add_to(&f->word[FIGURE_BYTES], size);
}

#endif
