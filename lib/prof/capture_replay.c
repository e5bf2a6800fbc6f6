/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Unwinding by verified replay.
 */
#include "prof/capture.h"
#include "unwind/replay.h"
#include "sys/persistent.h"

static bool replay_init_thread(struct capture_self *t) {
    if (t->replay != NULL)
        return true;
    t->replay = persistent_alloc(sizeof *t->replay, 4096, MEM_RECORDER);
    if (t->replay == NULL)
        return false;
    /* A page that is read before it is written faults twice. */
    __atomic_store_n(&t->replay->number, 0, __ATOMIC_RELAXED);
    return true;
}

static void replay_take(struct capture_self *t, uint64_t fp, struct capture_stack *ret) {
    const struct replay_stack *s = replay_capture(t->replay, fp, t->pcs, capture_depth());
    ret->site = s->site;
    ret->pcs = t->pcs;
    ret->n = s->n;
    ret->known = s->known;
    ret->flags = s->flags;
    ret->total = s->total;
}

const struct capture_backend capture_replay = {
    .name = "replay",
    .init = replay_init,
    .init_thread = replay_init_thread,
    .capture = replay_take,
    .fork_safe = true,
    .at_thread_end = true,
};
