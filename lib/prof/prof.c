/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The recorder: who allocated.  Go: runtime/mprof.go, malloc.go (profilealloc).
 *
 * Rates.  A thread follows a new rate when its next allocation comes by here.  One that counts down
 * from far away (rate 0: for ever) would not for long, so prof_set_rate writes NEXT_SAMPLE_UNKNOWN
 * into its next_sample.  That is a plain word which the thread reads and writes without atomic
 * operations: the poke may be lost between the two.  So it is repeated, by the background thread,
 * for every mcache that has not answered by taking over the generation.
 */
#include "prof/prof.h"

#include <time.h>

#include "gomalloc/image.h"
#include "heap/mheap.h"
#include "heap/mslots.h"
#include "prof/capture.h"
#include "prof/judge.h"
#include "prof/history.h"
#include "prof/sampling.h"
#include "prof/stack_table.h"
#include "prof/state.h"
#include "prof/thread.h"
#include "sys/rawcall.h"

#define RETRY_BYTES ((int64_t)1 << 20) /* after running out of memory */
#define MAX_RATE    ((uint64_t)1 << 56)

static_assert(PROF_SITE_NONE == STACK_SITE_NONE, "the site of no stack is the table's first");

struct prof_state prof = {
    .lock = MUTEX_INIT(LOCK_RANK_PROF), .gen = 1, .stacks = {.lock = MUTEX_INIT(LOCK_RANK_STACK)}};

uint64_t prof_rate(void) {
    return atomic_load_explicit(&prof.rate, memory_order_relaxed);
}

/* A slot has not been recorded, or may not have been. */
static void not_exact(void) {
    if (atomic_load_explicit(&prof.exact_since_ns, memory_order_relaxed) != 0)
        atomic_store_explicit(&prof.exact_since_ns, 0, memory_order_relaxed);
}

static void arm(struct mcache *c, int64_t bytes) {
    __atomic_store_n(&c->next_sample, bytes, __ATOMIC_RELAXED);
}

static int64_t next_distance(struct mcache *c, const struct prof_thread *t) {
    if (t->rate <= 1)
        return t->rate == 1 ? -1 : INT64_MAX;
    if (c->rng == 0)
        c->rng = sampling_seed();
    return sampling_distance(&c->rng, t->rate);
}

/* follow takes over the rate now in force and begins to count from before this allocation; returns
 * whether it is sampled. */
static gm_noinline bool follow(struct mcache *c, struct prof_thread *t, size_t size) {
    uint32_t gen = atomic_load_explicit(&prof.gen, memory_order_acquire);
    t->rate = prof_rate();
    /* The generation was read before the rate: if it is old, the poke comes again. */
    atomic_store_explicit(&c->rate_gen, gen, memory_order_relaxed);
    prof_thread_count(t, THREAD_COUNTER_RATE_CHANGES, 1);
    int64_t next = next_distance(c, t);
    if (t->rate > 1 && size <= (uint64_t)INT64_MAX)
        next -= (int64_t)size;
    arm(c, next);
    t->escape.armed = next;
    return next < 0;
}

static gm_cold bool capture_begin(struct prof_thread *t) {
    if (!capture_self_init(&t->capture))
        return false;
    trail_init(&t->trail, capture_depth());
    prof_thread_count(t, THREAD_COUNTER_UNWINDER_THREADS, 1);
    return true;
}

/* capture_site captures this thread's stack and returns its site. */
static uint32_t capture_site(struct prof_thread *t) {
    struct capture_stack s;
    uint32_t fresh = 0;
    if (capture_state() != CAPTURE_READY)
        return PROF_SITE_NONE;
    if (gm_unlikely(t->trail.pcs == NULL) && !capture_begin(t))
        return PROF_SITE_NONE;
    if (!capture_take(&t->capture, &s))
        return PROF_SITE_NONE;
    uint32_t site = s.site;
    if (site == 0) {
        site = trail_intern(&t->trail, &prof.stacks, s.pcs, s.n, s.known, s.flags, &fresh);
        capture_tell(&t->capture, site);
        if (gm_unlikely(site == 0))
            capture_forget(&t->capture);
    }
    prof_thread_count(t, THREAD_COUNTER_CAPTURES, 1);
    prof_thread_count(t, THREAD_COUNTER_FRAMES, s.n);
    prof_thread_count(t, THREAD_COUNTER_NEW_FRAMES, fresh);
    if ((s.flags & GOMALLOC_SITE_TRUNCATED) != 0)
        prof_thread_count(t, THREAD_COUNTER_TRUNCATED, 1);
    return site != 0 ? site : PROF_SITE_NONE;
}

/* find_site is capture_site, but not within itself: the unwinder may allocate, and so may a signal
 * handler that interrupts it. */
static void find_site(struct mcache *c, struct prof_thread *t, struct prof_sample *ret) {
    ret->site = PROF_SITE_NONE;
    ret->judged = false;
    if (gm_unlikely(!prof_enter(c))) {
        prof_thread_count(t, THREAD_COUNTER_NESTED, 1);
    } else {
        ret->site = capture_site(t);
        judge_look(t, ret);
        prof_leave(c);
    }
    if (gm_unlikely(ret->site == PROF_SITE_NONE))
        prof_thread_count(t, THREAD_COUNTER_NO_STACK, 1);
}

/* count_bytes counts what has been asked for since next_sample was armed, this one included. */
static void count_bytes(const struct mcache *c, struct prof_thread *t, size_t size) {
    int64_t left = __atomic_load_n(&c->next_sample, __ATOMIC_RELAXED);
    bool known = left > NEXT_SAMPLE_UNKNOWN / 2 && left < t->escape.armed;
    escape_allocated(&t->escape, known ? (uint64_t)(t->escape.armed - left) : size);
}

/* note_exact lets the next allocations take the path of exact.h, if all is ready for it. */
static void note_exact(struct mcache *c, const struct prof_thread *t, uint32_t site) {
    if (t->rate != 1 || site == PROF_SITE_NONE || t->capture.replay == NULL ||
        t->capture.verify != NULL)
        return;
    uint32_t gen = atomic_load_explicit(&c->rate_gen, memory_order_relaxed);
    atomic_store_explicit(&c->exact_gen, gen, memory_order_relaxed);
}

bool prof_sample(struct mcache *c, size_t size, struct prof_sample *ret) {
    if (gm_unlikely(c == &mcache0))
        return false;
    struct prof_thread *t = prof_thread_of(c);
    if (gm_unlikely(t == NULL)) {
        atomic_fetch_add_explicit(&prof.nomemory, 1, memory_order_relaxed);
        not_exact();
        arm(c, RETRY_BYTES);
        return false;
    }
    count_bytes(c, t, size);
    if (gm_unlikely(__atomic_load_n(&c->next_sample, __ATOMIC_RELAXED) < NEXT_SAMPLE_UNKNOWN / 2 ||
                    atomic_load_explicit(&c->rate_gen, memory_order_relaxed) !=
                        atomic_load_explicit(&prof.gen, memory_order_relaxed)) &&
        !follow(c, t, size))
        return false;
    t->escape.armed = next_distance(c, t);
    arm(c, t->escape.armed);
    if (t->rate == 0)
        return false;
    ret->rate = t->rate;
    ret->chain = 0;
    find_site(c, t, ret);
    note_exact(c, t, ret->site);
    return true;
}

bool prof_store(struct mcache *c, struct prof_thread *t, void *p, size_t size, uint32_t tag) {
    struct mspan *s = mheap_span_of((uintptr_t)p);
    if (s == NULL || (s->elem_size != 0 && mspan_owner(s) != &c->owner)) {
        prof_thread_count(t, THREAD_COUNTER_FOREIGN, 1);
        return false;
    }
    size_t elem = mspan_elem_bytes(s);
    return mslots_record_for(s, mspan_object_index(s, (uintptr_t)p), tag, prof_tag_site(tag),
                             size < elem ? elem - size : 0);
}

/* store_judged is prof_store for an object that is to be judged. */
static gm_noinline bool store_judged(struct mcache *c, struct prof_thread *t, void *p, size_t size,
                                     const struct prof_sample *s) {
    uint32_t tag = judge_begin(c, t, p, s);
    bool stored = prof_store(c, t, p, size, tag);
    if ((tag & MSLOTS_ASK) != 0)
        judge_stored(c, tag, s->chain != 0, stored);
    return stored;
}

void prof_record(struct mcache *c, void *p, size_t size, const struct prof_sample *s) {
    struct prof_thread *t = prof_thread_of(c);
    bool ok = t != NULL && prof_thread_add_sample(t, s->site, size, sampling_weight(size, s->rate));
    if (gm_unlikely(t != NULL && (s->judged || s->chain != 0)))
        ok = store_judged(c, t, p, size, s) && ok;
    else
        ok = ok && prof_store(c, t, p, size, s->site);
    if (gm_unlikely(!ok)) {
        atomic_fetch_add_explicit(&prof.dropped, 1, memory_order_relaxed);
        not_exact();
    }
}

static uint64_t now_ns(void) {
    struct timespec ts = {0, 0};
    sys_call3(SYS_clock_gettime, CLOCK_REALTIME, (long)&ts, 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* poke_all makes every thread that has not yet seen the generation come by prof_sample. */
static void poke_all(void) {
    uint32_t gen = atomic_load_explicit(&prof.gen, memory_order_relaxed);
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        struct mcache *c = __atomic_load_n(&mcaches.all[i], __ATOMIC_ACQUIRE);
        if (c != NULL && atomic_load_explicit(&c->rate_gen, memory_order_relaxed) != gen)
            arm(c, NEXT_SAMPLE_UNKNOWN);
    }
}

/* note_rate notes from when on objects are recorded at which rate.  prof.lock is held. */
static void note_rate(uint64_t rate) {
    uint32_t n = atomic_load_explicit(&prof.nrates, memory_order_relaxed);
    uint16_t epoch = n == 0 ? 0 : mepoch_advance();
    if (n == PROF_MAX_RATES)
        n--;
    prof.rates[n].rate = rate;
    atomic_store_explicit(&prof.rates[n].epoch, epoch, memory_order_relaxed);
    atomic_store_explicit(&prof.nrates, n + 1, memory_order_release);
}

uint64_t prof_rate_at(uint16_t epoch) {
    uint32_t n = atomic_load_explicit(&prof.nrates, memory_order_acquire);
    while (n > 1 && atomic_load_explicit(&prof.rates[n - 1].epoch, memory_order_relaxed) > epoch)
        n--;
    return n != 0 ? prof.rates[n - 1].rate : prof_rate();
}

uint64_t prof_set_rate(uint64_t rate) {
    if (rate > MAX_RATE)
        rate = MAX_RATE;
    /* Not under the lock: dlopen waits for the loader's, whose holder may be on his way here. */
    if (rate != 0 && atomic_load_explicit(&prof.initialised, memory_order_acquire))
        capture_load();
    if (rate != 0)
        mepoch_update();
    mutex_lock(&prof.lock);
    uint64_t old = prof_rate();
    if (rate != old) {
        /* Exact from the first object on, or never. */
        bool first = atomic_load_explicit(&mheap_.pages_in_use, memory_order_relaxed) == 0;
        atomic_store_explicit(&prof.exact_since_ns, rate == 1 && first ? now_ns() : 0,
                              memory_order_relaxed);
        note_rate(rate);
        atomic_store_explicit(&prof.rate, rate, memory_order_relaxed);
        /* release: who sees the generation sees the rate */
        atomic_fetch_add_explicit(&prof.gen, 1, memory_order_release);
        poke_all();
    }
    mutex_unlock(&prof.lock);
    return old;
}

bool prof_unwinder_known(const char *unwinder) {
    const char *none = "none";
    for (const char *p = unwinder; *p == *none; p++, none++) {
        if (*p == '\0')
            return true;
    }
    return capture_find(unwinder) != NULL;
}

void prof_init(const struct prof_options *o) {
    const char *name =
        o->unwinder != NULL && prof_unwinder_known(o->unwinder) ? o->unwinder : "replay";
    unsigned depth = o->depth != 0 ? o->depth : PROF_DEFAULT_DEPTH;
    if (depth > PROF_MAX_DEPTH)
        depth = PROF_MAX_DEPTH;
    uint32_t max = o->max_frames != 0 ? o->max_frames : PROF_DEFAULT_FRAMES;
    /* The rate first: so what dlopen allocates is recorded too, though without stacks. */
    prof_set_rate(o->rate);
    bool ok = stack_table_init(&prof.stacks, max);
    escape_init(o->escape);
    const struct capture_options capture = {.backend = ok ? capture_find(name) : NULL,
                                            .instead =
                                                o->unwinder == NULL ? &capture_libunwind : NULL,
                                            .depth = depth,
                                            .verify = o->verify};
    capture_configure(&capture);
    atomic_store_explicit(&prof.initialised, true, memory_order_release);
    if (o->rate != 0)
        capture_load();
}

void prof_background(void) {
    mepoch_update();
    poke_all();
}

bool prof_holds_lock(void) {
    return mutex_is_mine(&prof.stacks.lock) || mutex_is_mine(&prof.lock) ||
           mutex_is_mine(&escape.lock);
}

void prof_fork_prepare(void) {
    prof.fork_threads = atomic_load_explicit(&mcaches.n, memory_order_relaxed) -
                        atomic_load_explicit(&mcaches.nidle, memory_order_relaxed);
    mutex_lock(&prof.stacks.lock);
    mutex_lock(&escape.lock);
}

void prof_fork_parent(void) {
    mutex_unlock(&escape.lock);
    mutex_unlock(&prof.stacks.lock);
}

void prof_fork_child(void) {
    mutex_reset(&prof.stacks.lock);
    mutex_reset(&prof.lock);
    escape_fork_child();
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_relaxed);
    for (uint32_t i = 0; i < n; i++) {
        if (mcaches.all[i] == NULL)
            continue;
        if (mcaches.all[i] != mcache_self) /* which may be in a handler that has interrupted it */
            atomic_store_explicit(&mcaches.all[i]->in_recorder, 0, memory_order_relaxed);
        mcaches.all[i]->rng = 0; /* not the parent's samples again */
    }
    if (prof.fork_threads > 1 || mutex_fork_is_nested()) /* its locks may be held */
        capture_fork_child();
    history_fork_child();
    /* The rate may have been on its way. */
    atomic_fetch_add_explicit(&prof.gen, 1, memory_order_release);
    poke_all();
}
