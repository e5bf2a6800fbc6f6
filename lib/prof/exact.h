/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Recording every allocation: the path for rate 1, to be compiled into malloc itself.
 *
 * At rate 1 there is nothing to draw and nothing to weigh, so what prof_sample and prof_record do
 * for a small object comes down to: a capture, which most often finds the stack of the last one or
 * a known one (trail.h); two words of figures (site_map.h); five or six bytes beside the slot
 * (mslots.h). That is all that is here.  Whatever is not as usual, the other path does, from the
 * start or with the site that was found: first allocations, new stacks, spans without a table,
 * large objects.
 *
 * Two comparisons tell whether a thread may come here.  mcache.exact_gen is the generation of the
 * rate (prof.h) for which prof_sample has found everything ready: rate 1, a capture by replay that
 * worked, nothing to be verified.  And a signal handler that has interrupted the recorder takes the
 * other path, which knows what to do.
 *
 * Instructions beside those of the capture and of a malloc that is not recorded: about 60.
 */
#ifndef GM_PROF_EXACT_H
#define GM_PROF_EXACT_H

#include "heap/marena.h"
#include "heap/mslots.h"
#include "prof/prof.h"
#include "unwind/replay.h"
#include "prof/state.h"
#include "prof/thread.h"

/* exact_ready tells whether the thread of c may take this path. */
gm_inline bool exact_ready(const struct mcache *c) {
    return atomic_load_explicit(&c->exact_gen, memory_order_relaxed) ==
               atomic_load_explicit(&prof.gen, memory_order_relaxed) &&
           gm_likely(atomic_load_explicit(&c->in_recorder, memory_order_relaxed) == 0);
}

/* exact_intern is what exact_site leaves: a stack that is not the last one.  Returns its site. */
uint32_t exact_intern(struct prof_thread *t, const struct replay_stack *s);

/* exact_now_and_then keeps the time of the slot tables where no thread of ours does it: called when
 * a thread has used up some slots. */
void exact_now_and_then(const struct mcache *c);

/* exact_note notes of an object that is to be judged what is needed for that. */
void exact_note(struct prof_thread *t, uint32_t site, struct prof_sample *ret);

/* exact_site captures the stack of its caller's caller and returns its site.  next_sample is armed
 * again.  *ret_judged: the object is to be judged, and *ret is filled.  exact_ready(c) holds. */
gm_inline uint32_t exact_site(struct mcache *c, size_t size, bool *ret_judged,
                              struct prof_sample *ret) {
    struct prof_thread *t = c->prof;
    atomic_store_explicit(&c->in_recorder, 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    const struct replay_stack *s = replay_capture(
        t->capture.replay, (uintptr_t)__builtin_frame_address(0), t->capture.pcs, t->trail.depth);
    uint32_t site = s->site;
    if (gm_unlikely(site == 0))
        site = exact_intern(t, s);
    prof_thread_count(t, THREAD_COUNTER_CAPTURES, 1);
    prof_thread_count(t, THREAD_COUNTER_FRAMES, s->n);
    escape_allocated(&t->escape, size);
    *ret_judged = escape_looks(&t->escape, site, 1);
    if (gm_unlikely(*ret_judged))
        exact_note(t, site, ret);
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&c->in_recorder, 0, memory_order_relaxed);
    __atomic_store_n(&c->next_sample, -1, __ATOMIC_RELAXED);
    return site;
}

/* exact_record is prof_record for the small object at p.  False: it has done nothing. */
gm_inline bool exact_record(struct mcache *c, uintptr_t p, size_t size, uint32_t site) {
    struct prof_thread *t = c->prof;
    struct mspan *s = mheap_span_guess(p);
    size_t i;
    if (gm_unlikely(s == NULL || !word_is(&s->owner, (uintptr_t)c + SPAN_RECORDED)) ||
        gm_unlikely(!mspan_small_slot(s, p, &i)))
        return false;
    struct mslots_table *table = atomic_load_explicit(&s->sites, memory_order_relaxed);
    struct site_words *f = site_map_find(&t->figures, site);
    /* Less than the class's size, so it need not be capped; elem_size <= 256 fits a byte. */
    if (gm_unlikely(table == NULL || f == NULL) ||
        gm_unlikely(!mslots_put(s, table, i, site, s->elem_size - size)))
        return false;
    site_words_add(f, size);
    return true;
}

#endif
