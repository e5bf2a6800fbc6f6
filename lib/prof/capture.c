/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capturing the calling thread's stack: what is common to all unwinders.
 */
#include "prof/capture.h"

#include <stdatomic.h>
#include <string.h>

#include "heap/mcache.h"
#include "unwind/own.h"
#include "prof/prof.h"
#include "unwind/replay.h"
#include "prof/verify.h"
#include "sys/persistent.h"

static const struct capture_backend *const backends[] = {&capture_replay, &capture_libunwind};

static struct {
    struct capture_options options; /* set before any other thread runs; backend also by load */
    _Atomic uint32_t state;         /* enum capture_state */
} capture;

const struct capture_backend *capture_find(const char *name) {
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    }
    return NULL;
}

void capture_configure(const struct capture_options *o) {
    capture.options = *o;
    atomic_store_explicit(&capture.state, o->backend != NULL ? CAPTURE_OFF : CAPTURE_NONE,
                          memory_order_release);
}

static bool load(void) {
    struct capture_options *o = &capture.options;
    own_init();
    bool ok = o->backend->init();
    if (!ok && o->instead != NULL) {
        o->backend = o->instead;
        ok = o->backend->init();
    }
    atomic_store_explicit(&mcaches.record_ending, ok && o->backend->at_thread_end,
                          memory_order_relaxed);
    if (ok && o->verify != 0 && !verify_init(o->verify))
        o->verify = 0;
    return ok;
}

void capture_load(void) {
    uint32_t off = CAPTURE_OFF;
    if (!atomic_compare_exchange_strong_explicit(&capture.state, &off, CAPTURE_LOADING,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return;
    bool ok = load();
    uint32_t loading = CAPTURE_LOADING; /* a fork handler may have stopped it meanwhile */
    atomic_compare_exchange_strong_explicit(&capture.state, &loading,
                                            ok ? CAPTURE_READY : CAPTURE_FAILED,
                                            memory_order_release, memory_order_relaxed);
}

void capture_fork_child(void) {
    verify_fork_child();
    codeobj_fork_child();
    enum capture_state state = capture_state();
    if (state == CAPTURE_NONE || (state == CAPTURE_READY && capture.options.backend->fork_safe))
        return;
    atomic_store_explicit(&capture.state, CAPTURE_STOPPED, memory_order_release);
}

enum capture_state capture_state(void) {
    return atomic_load_explicit(&capture.state, memory_order_acquire);
}

const char *capture_name(void) {
    return capture_state() == CAPTURE_READY ? capture.options.backend->name : "none";
}

unsigned capture_depth(void) {
    return capture.options.depth;
}

unsigned capture_room(void) {
    return capture.options.depth + CAPTURE_SLACK;
}

bool capture_self_init(struct capture_self *t) {
    if (!capture.options.backend->init_thread(t))
        return false;
    unsigned room = t->replay != NULL ? capture.options.depth : capture_room();
    if (t->pcs == NULL && t->replay != NULL && room <= REPLAY_ROOM)
        t->pcs = t->replay->room;
    if (t->pcs == NULL)
        t->pcs = persistent_alloc(room * sizeof *t->pcs, 64, MEM_RECORDER);
    if (t->pcs == NULL)
        return false;
    return capture.options.verify == 0 || verify_init_thread(t, capture.options.depth);
}

/* by_replay is a call less than by the backend. */
static inline void by_replay(struct capture_self *t, uint64_t fp, struct capture_stack *ret) {
    const struct replay_stack *s = replay_capture(t->replay, fp, t->pcs, capture.options.depth);
    if (gm_unlikely(t->verify != NULL))
        replay_frames(t->replay, t->pcs);
    ret->site = s->site;
    ret->pcs = t->pcs;
    ret->n = s->n;
    ret->known = s->known;
    ret->flags = s->flags;
    ret->total = s->total;
}

bool capture_take(struct capture_self *t, struct capture_stack *ret) {
    uint64_t fp = (uintptr_t)__builtin_frame_address(0);
    ret->n = 0;
    ret->site = 0;
    if (gm_unlikely(capture_state() != CAPTURE_READY))
        return false;
    if (gm_likely(t->replay != NULL))
        by_replay(t, fp, ret);
    else
        capture.options.backend->capture(t, fp, ret);
    if (gm_unlikely(t->verify != NULL))
        verify_capture(t, ret);
    return ret->n != 0;
}

void capture_tell(struct capture_self *t, uint32_t site) {
    if (t->replay != NULL)
        replay_tell(t->replay, site);
}

void capture_forget(struct capture_self *t) {
    if (t->replay != NULL)
        replay_forget(t->replay);
}

struct replay_moment capture_moment(const struct capture_self *t) {
    return t->replay != NULL ? replay_moment(t->replay) : (struct replay_moment){.when = 0};
}

bool capture_observe(struct capture_self *t) {
    return t->replay != NULL && capture_state() == CAPTURE_READY &&
           replay_observe(t->replay, (uintptr_t)__builtin_frame_address(0));
}

enum replay_verdict capture_ended(const struct capture_self *t, struct replay_moment m,
                                  uint32_t *ret_ended) {
    *ret_ended = 0;
    return t->replay != NULL ? replay_ended(t->replay, m, ret_ended) : REPLAY_STOPPED;
}

bool capture_is_at_home(const struct capture_self *t) {
    return t->replay != NULL && replay_is_at_home(t->replay);
}

uint64_t capture_return_slot(const struct capture_self *t, uint32_t k, uint64_t *ret_value) {
    return t->replay != NULL ? replay_return_slot(t->replay, k, ret_value) : 0;
}

uint64_t capture_pc(const struct capture_self *t, struct replay_moment m, uint32_t k) {
    return t->replay != NULL ? replay_pc(t->replay, m, k) : 0;
}
