/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The recorder's hooks for judged objects.
 */
#include "prof/judge.h"

#include "heap/malloc.h"
#include "heap/mtiny.h"
#include "prof/verdict.h"

/* clock_of returns the process's clock of bytes, with what the thread has not added to it yet. */
static uint64_t clock_of(const struct mcache *c, const struct prof_thread *t) {
    uint64_t now = atomic_load_explicit(&escape.bytes, memory_order_relaxed);
    if (t == NULL || c == &mcache0)
        return now;
    int64_t left = __atomic_load_n(&c->next_sample, __ATOMIC_RELAXED);
    if (left > NEXT_SAMPLE_UNKNOWN / 2 && left < t->escape.armed)
        now += (uint64_t)(t->escape.armed - left);
    return now + t->escape.bytes;
}

void judge_note(struct prof_thread *t, struct prof_sample *s) {
    verdict_note(&t->capture, s->site, &s->birth);
}

/* lose ends a chain that can't be followed.  The thread may be in the recorder. */
static gm_cold void lose(struct mcache *c, uint32_t record) {
    struct prof_thread *t = c != &mcache0 ? prof_thread_peek(c) : NULL;
    bool entered = t != NULL && prof_enter(c);
    escape_lose(entered ? &t->escape : NULL, record);
    if (entered)
        prof_leave(c);
}

static bool is_tiny(const void *p) {
    const struct mspan *s = mheap_span_of((uintptr_t)p);
    return s == NULL || tiny_span(s);
}

/* begin returns the record of an object that is to be judged, 0: there is none. */
static uint32_t begin(struct mcache *c, struct prof_thread *t, const struct prof_sample *s) {
    if (!prof_enter(c))
        return 0;
    uint32_t record = escape_begin(&t->escape, s->site, &s->birth, clock_of(c, t));
    prof_leave(c);
    return record;
}

uint32_t judge_begin(struct mcache *c, struct prof_thread *t, const void *p,
                     const struct prof_sample *s) {
    uint32_t record = s->chain;
    if (is_tiny(p)) {
        if (record != 0)
            lose(c, record);
        return s->site;
    }
    if (record != 0)
        atomic_store_explicit(&escape_record_at(record)->present, s->site, memory_order_relaxed);
    else
        record = begin(c, t, s);
    return record != 0 ? record | MSLOTS_ASK : s->site;
}

void judge_stored(struct mcache *c, uint32_t tag, bool is_chain, bool stored) {
    uint32_t record = tag & ~MSLOTS_ASK;
    if (is_chain && !stored)
        lose(c, record);
    else if (!is_chain && stored)
        escape_begun(record);
    else if (!is_chain)
        escape_cancel(NULL, record);
}

/* take makes a judged object one that is not.  Returns its record, 0: it was none, or another
 * thread has been here before. */
static uint32_t take(struct mspan *s, size_t slot) {
    uint32_t tag = mslots_tag(s, slot);
    if ((tag & MSLOTS_ASK) == 0 || !mslots_replace(s, slot, tag, escape_present(tag)))
        return 0;
    return tag & ~MSLOTS_ASK;
}

/* in_midst tells whether this is a signal handler's call that has interrupted the recorder. */
static bool in_midst(const struct mcache *c) {
    return c != &mcache0 ? atomic_load_explicit(&c->in_recorder, memory_order_relaxed) != 0
                         : mutex_is_mine(&escape.lock);
}

/* end finds the verdict.  A thread without an mcache has none of its own to ask what the stack was;
 * and one that is ending has an mcache that may have been another's meanwhile. */
static void end(struct mcache *c, uint32_t record, size_t size) {
    struct prof_thread *t = c != &mcache0 ? prof_thread_peek(c) : NULL;
    struct escape_record *r = escape_record_at(record);
    struct escape_end e = {.verdict = ESCAPE_STOPPED, .size = size};
    uint64_t now = clock_of(c, t);
    if (r->thread != escape_thread())
        e.verdict = ESCAPE_OTHER_THREAD;
    else if (t != NULL && c != &mcache0 && !mcache_ending)
        verdict_find(&t->capture, r, &e);
    escape_end(t != NULL ? &t->escape : NULL, record, &e, now);
}

void prof_freed(void *p) {
    size_t slot;
    struct mspan *s = heap_find(p, &slot);
    if (s == NULL)
        return;
    size_t size = mspan_elem_bytes(s) - mslots_slack(s, slot); /* as long as there is a tag */
    uint32_t record = take(s, slot);
    if (record == 0)
        return;
    struct mcache *c = mcache_self;
    if (in_midst(c)) {
        escape_end_inside(record);
        return;
    }
    if (c != &mcache0)
        prof_enter(c);
    end(c, record, size);
    if (c != &mcache0)
        prof_leave(c);
}

uint32_t prof_chain_at(const struct mspan *s, size_t slot) {
    uint32_t tag = mslots_tag(s, slot);
    return (tag & MSLOTS_ASK) != 0 ? tag & ~MSLOTS_ASK : 0;
}

void prof_chain_grown(uint32_t chain) {
    struct escape_record *r = escape_record_at(chain);
    if (r->growths != UINT16_MAX)
        r->growths++;
}

uint32_t prof_chain_take(struct mspan *s, size_t slot) {
    uint32_t record = take(s, slot);
    if (record != 0)
        prof_chain_grown(record);
    return record;
}

void prof_chain_put_back(struct mspan *s, size_t slot, uint32_t chain) {
    uint32_t tag = chain | MSLOTS_ASK;
    struct escape_record *r = escape_record_at(chain);
    uint32_t present = escape_present(tag);
    if (r->growths != 0 && r->growths != UINT16_MAX)
        r->growths--;
    if (present == 0 || !mslots_replace(s, slot, present, tag))
        lose(mcache_self, chain);
}

void prof_chain_on(void *q, size_t size, uint32_t chain) {
    struct mcache *c = mcache_self;
    struct prof_thread *t = c != &mcache0 ? prof_thread_of(c) : NULL;
    atomic_store_explicit(&escape_record_at(chain)->present, 0, memory_order_relaxed);
    if (t == NULL || is_tiny(q) || !prof_store(c, t, q, size, chain | MSLOTS_ASK))
        lose(c, chain);
}
