/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: which activations have ended since a moment, by the stamps of the frames.
 */
#include "unwind/replay.h"

struct replay_moment replay_moment(const struct replay *r) {
    return (struct replay_moment){
        .when = r->complete ? r->number : 0, .depth = r->total, .thread = r->thread};
}

/* one_beyond returns 1 if the outermost remembered frame is none, but what ends the stack. */
static uint32_t one_beyond(const struct replay *r) {
    return r->nremembered - r->total;
}

/* still_there returns how many outer frames have been there in each capture since that one. */
static uint32_t still_there(const struct replay *r, uint64_t when) {
    uint32_t from = REPLAY_REMEMBERED - r->nremembered;
    uint32_t to = REPLAY_REMEMBERED;
    while (from < to) { /* the first stamp not above `when` is in [from, to] */
        uint32_t mid = (from + to) / 2;
        if (r->frames[mid].stamp > when)
            from = mid + 1;
        else
            to = mid;
    }
    return REPLAY_REMEMBERED - to - one_beyond(r);
}

enum replay_verdict replay_ended(const struct replay *r, struct replay_moment m,
                                 uint32_t *ret_ended) {
    *ret_ended = 0;
    if (m.when == 0)
        return m.depth > REPLAY_REMEMBERED ? REPLAY_DEEP : REPLAY_STOPPED;
    if (m.thread != r->thread)
        return REPLAY_SWITCHED;
    if (!r->complete || m.when < r->continuous || m.when > r->number)
        return r->why;
    uint32_t there = still_there(r, m.when);
    /* The frame after those says only where its function was, which may be there still. */
    if (m.depth > there + 1)
        *ret_ended = m.depth - there - 1;
    return REPLAY_TOLD;
}

uint64_t replay_return_slot(const struct replay *r, uint32_t k, uint64_t *ret_value) {
    if (!r->complete || k + 1 >= r->total)
        return 0;
    const struct replay_frame *f = &r->frames[REPLAY_REMEMBERED - r->nremembered + k];
    if (row_kind(f->row) == ROW_SIGNAL)
        return 0;
    *ret_value = f[1].ra;
    return f[1].sp - 8;
}

/* The loader, which calls constructors, and the program's start leave the stack a little lower or
 * higher. */
bool replay_is_at_home(const struct replay *r) {
    const uint64_t near = 64;
    uint64_t sp = r->nremembered != 0 ? r->frames[REPLAY_REMEMBERED - 1].sp : 0;
    return r->home != 0 && sp - r->home + near <= 2 * near;
}

uint64_t replay_pc(const struct replay *r, struct replay_moment m, uint32_t k) {
    if (!r->complete || k >= m.depth || m.depth - k > r->total)
        return 0;
    return r->frames[REPLAY_REMEMBERED - one_beyond(r) - (m.depth - k)].ra;
}
