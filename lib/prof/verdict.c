/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is proved of an object's end.
 */
#include "prof/verdict.h"

#include "prof/capture.h"
#include "unwind/cfi.h"
#include "gomalloc/image.h"
#include "prof/prof.h"
#include "prof/state.h"
#include "prof/watch.h"

/* look_at returns a hash of f_k's return slot in the last capture, 0: there is none.  It is only
 * for telling "re-entered" from "outlived", and both are proved without it. */
static uint32_t look_at(struct capture_self *c, uint32_t k) {
    uint64_t value = 0;
    uint64_t slot = capture_return_slot(c, k, &value);
    uint64_t h = (slot ^ value * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
    return slot != 0 ? (uint32_t)(h >> 32) | 1 : 0;
}

void verdict_note(struct capture_self *c, uint32_t site, struct escape_birth *ret) {
    uint64_t value;
    *ret = (struct escape_birth){.at = capture_moment(c)};
    if (ret->at.when == 0)
        return;
    ret->look = look_at(c, 0);
    ret->watched = escape_site_usual(&escape.sites, site);
    if (ret->watched <= ESCAPE_WATCHED_MAX && capture_is_at_home(c))
        ret->ticket = watch_note(capture_return_slot(c, ret->watched, &value));
    else
        ret->watched = 0;
}

static uint64_t function_of(uint64_t pc) {
    struct cfi_object o;
    return pc != 0 && cfi_object_of(pc - 1, &o) ? cfi_function_of(&o, pc - 1) : 0;
}

/* frame_of returns the address of frame k of the site's stack, 0: it is not known. */
static uint64_t frame_of(uint32_t site, uint32_t k) {
    uint32_t node = prof.stacks.sites[site].node, parent, depth;
    uint64_t pc = 0;
    for (; node != 0; node = parent) {
        prof_frame(node, &pc, &parent, &depth);
        if (pc >= GOMALLOC_FRAME_OMITTED)
            return 0;
        if (k-- == 0)
            return pc;
    }
    return 0;
}

static bool same_function(struct capture_self *c, const struct escape_record *r,
                          struct replay_moment at, uint32_t k) {
    uint64_t then = function_of(frame_of(r->site, k));
    return then != 0 && then == function_of(capture_pc(c, at, k));
}

/* looks_same tells whether the return slot at f0's depth is as f0's was. */
static bool looks_same(struct capture_self *c, const struct escape_record *r, uint32_t depth) {
    return r->look != 0 && depth >= r->depth && look_at(c, depth - r->depth) == r->look;
}

static enum escape_verdict why_not(enum replay_verdict v) {
    return v == REPLAY_SWITCHED ? ESCAPE_SWITCHED : v == REPLAY_DEEP ? ESCAPE_DEEP : ESCAPE_STOPPED;
}

/* weigh is the table of the header. */
static void weigh(struct capture_self *c, const struct escape_record *r, struct replay_moment at,
                  uint32_t n, struct escape_end *ret) {
    uint32_t k = r->watched;
    enum watch_answer watch = watch_ask(r->ticket);
    bool same = looks_same(c, r, capture_moment(c).depth);
    ret->verdict = ESCAPE_OUTLIVED;
    ret->frames = n;
    if ((n == 0 && watch == WATCH_FIRED) || (n > 0 && same))
        ret->verdict = ESCAPE_REENTERED;
    else if (watch == WATCH_FIRED && k >= n)
        ret->frames = k + 1;
    else if (watch == WATCH_SILENT && k == n)
        ret->proved = same_function(c, r, at, k);
}

void verdict_find(struct capture_self *c, const struct escape_record *r, struct escape_end *ret) {
    struct replay_moment at = {.when = r->when, .depth = r->depth};
    uint32_t n;
    ret->verdict = ESCAPE_STOPPED;
    if (at.when != 0 && !capture_observe(c))
        return;
    /* The record does not keep it: what is asked here is of this thread. */
    at.thread = capture_moment(c).thread;
    enum replay_verdict v = capture_ended(c, at, &n);
    if (v == REPLAY_TOLD)
        weigh(c, r, at, n, ret);
    else
        ret->verdict = why_not(v);
}
