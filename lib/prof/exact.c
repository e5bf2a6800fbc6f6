/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Recording every allocation: what is not the stack of the last one.
 */
#include "prof/exact.h"

#include "gomalloc/image.h"
#include "prof/verdict.h"

gm_noinline uint32_t exact_intern(struct prof_thread *t, const struct replay_stack *s) {
    uint32_t fresh = 0;
    uint32_t site = 0;
    if (gm_likely(s->n != 0)) {
        site =
            trail_intern(&t->trail, &prof.stacks, t->capture.pcs, s->n, s->known, s->flags, &fresh);
        replay_tell(t->capture.replay, site);
        if (gm_unlikely(site == 0))
            capture_forget(&t->capture);
    }
    prof_thread_count(t, THREAD_COUNTER_NEW_FRAMES, fresh);
    if (gm_unlikely((s->flags & GOMALLOC_SITE_TRUNCATED) != 0))
        prof_thread_count(t, THREAD_COUNTER_TRUNCATED, 1);
    if (gm_unlikely(site == 0))
        prof_thread_count(t, THREAD_COUNTER_NO_STACK, 1);
    return site != 0 ? site : PROF_SITE_NONE;
}

void exact_now_and_then(const struct mcache *c) {
    const struct prof_thread *t = c->prof;
    const uint64_t often = 16;
    uint64_t n = atomic_load_explicit(&t->counters[THREAD_COUNTER_CAPTURES], memory_order_relaxed);
    if (n % often == 0)
        mepoch_update();
}

gm_noinline void exact_note(struct prof_thread *t, uint32_t site, struct prof_sample *ret) {
    *ret = (struct prof_sample){.site = site, .rate = 1, .judged = true};
    verdict_note(&t->capture, site, &ret->birth);
}
