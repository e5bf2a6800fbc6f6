/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Unwinding by verified replay.
 */
#include "prof/capture.h"
#include "unwind/replay.h"
#include "sys/persistent.h"

static bool replay_init_thread(struct capture_self *t) {
    if (t->replay == NULL)
        t->replay = persistent_alloc(sizeof *t->replay, 64, MEM_RECORDER);
    return t->replay != NULL;
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
