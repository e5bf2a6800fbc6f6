/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The recorder's hooks for judged objects: between allocation, realloc and free (prof.h) and what
 * is known of them (escape.h, verdict.h).
 *
 * All of it is done within the recorder (mcache.in_recorder), because a signal handler that
 * interrupts it may allocate and free.  What the handler allocates is not judged, and of what it
 * frees nothing can be told: the record of the thread's stack, which the verdict is found by, is
 * being changed.
 */
#ifndef GM_PROF_JUDGE_H
#define GM_PROF_JUDGE_H

#include "prof/prof.h"
#include "prof/thread.h"

/* judge_note notes what is needed of an object that is to be judged. */
void judge_note(struct prof_thread *t, struct prof_sample *s);

/* judge_look decides whether the object whose stack has just been captured is.  Within the
 * recorder.
 */
gm_inline void judge_look(struct prof_thread *t, struct prof_sample *s) {
    s->judged = escape_looks(&t->escape, s->site, t->rate);
    if (gm_unlikely(s->judged))
        judge_note(t, s);
}

/* judge_begin returns the tag for an object at p that is to be judged or goes on with a chain; its
 * site if there is no record to be had, or the chain ends. */
uint32_t judge_begin(struct mcache *c, struct prof_thread *t, const void *p,
                     const struct prof_sample *s);

/* judge_stored: the tag has been stored, or could not be. */
void judge_stored(struct mcache *c, uint32_t tag, bool is_chain, bool stored);

/* prof_store puts a tag beside the slot of an object that the thread has just allocated for size
 * bytes.  False: the span is not its own, or no memory.  In prof.c. */
bool prof_store(struct mcache *c, struct prof_thread *t, void *p, size_t size, uint32_t tag);

#endif
