/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay.
 */
#include "prof/replay.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#include "gomalloc/image.h"
#include "prof/own.h"
#include "prof/walk.h"

/* A walk that is under way. */
struct search {
    struct replay *r;
    uint64_t *pcs; /* of the innermost frames */
    unsigned depth;
    uint32_t nnew;           /* frames walked; the last REPLAY_NEW of them are in a ring */
    uint32_t at;             /* remembered frames from here on may still be met */
    struct replay_frame now; /* row not set */
    struct codeobj_seen seen;
};

enum outcome {
    GOES_ON,
    ENDED,
    MET,     /* the rest is the remembered one, from s->at on */
    ENDLESS, /* REPLAY_MAX_WALK */
    IS_SLOW,
    STALE /* code was replaced: what is remembered is not to be trusted */
};

static bool is_end(uint64_t ra) {
    return ra < WALK_LEAST_PC || ra >> ROW_ADDRESS_BITS != 0;
}

/* add appends the state to the new frames. */
static inline void add(struct search *s, const struct replay_frame *f) {
    s->r->frames[s->nnew % REPLAY_NEW] = *f;
    if (s->nnew < s->depth)
        s->pcs[s->nnew] = f->ra;
    s->nnew++;
}

static inline bool is_same(struct search *s, uint64_t addr, uint64_t value) {
    uint64_t v;
    return stackmem_load(&s->r->memory, addr, &v) && v == value;
}

/* What is compared of a remembered frame: the words from which its caller's state was read. */
static inline bool same_words(struct search *s, const struct replay_frame *f) {
    const struct replay_frame *out = f + 1;
    switch (f->row.kind) {
    case ROW_DRAP:
        return is_same(s, f->rbp - 8 * (uint64_t)f->row.offset, out->sp) &&
               is_same(s, f->rbp, out->rbp) && is_same(s, out->sp - 8, out->ra);
    case ROW_SIGNAL:
        return is_same(s, f->sp + UCONTEXT_RSP, out->sp) &&
               is_same(s, f->sp + UCONTEXT_RIP, out->ra) &&
               is_same(s, f->sp + UCONTEXT_RBP, out->rbp);
    default:
        return is_same(s, out->sp - 8, out->ra) &&
               (f->row.rbp == 0 || is_same(s, out->sp - 8 * (uint64_t)f->row.rbp, out->rbp));
    }
}

static uint64_t lookup_pc(const struct replay_frame *f) {
    return walk_lookup_pc(f->ra, (f->row.flags & REPLAY_INTERRUPTED) != 0);
}

/* same_row tells whether the code at a remembered frame, which is on the stack, is what it was. */
static gm_noinline bool same_row(struct search *s, const struct replay_frame *f) {
    uint64_t pc = lookup_pc(f);
    if ((f->row.flags & ROW_CHECKED) != 0)
        return codeobj_same(&s->seen, pc);
    struct row row = rowcache_find(pc);
    return row.kind == f->row.kind && row.offset == f->row.offset && row.rbp == f->row.rbp;
}

/* A row's first bytes as one word: kind, flags, rbp.  UNUSUAL is in those that are of other kinds
 * than nearly all, ROW_RSP and ROW_RBP, or may not be believed, or whose words may be gone.
 * ROW_SLOW is not remembered. */
#define UNUSUAL (ROW_DRAP | (ROW_CHECKED | ROW_FLEETING | REPLAY_FAR) << 8)

static_assert((ROW_DRAP & (ROW_RSP | ROW_RBP)) == 0 && (ROW_DRAP & ROW_SIGNAL & ROW_END) != 0 &&
                  (ROW_DRAP & ROW_LOST) != 0,
              "one bit tells them apart");

static inline uint32_t row_word(const struct row *row) {
    uint32_t w;
    memcpy(&w, row, sizeof w);
    return w;
}

/* compare goes outwards from a remembered frame i whose state is the present one.  Returns the
 * first frame from which the way on is not as it was; REPLAY_ROOM: none. */
static uint32_t compare(struct search *s, uint32_t i) {
    const struct replay_frame *f = &s->r->frames[i];
    for (;; f++) {
        uint32_t row = row_word(&f->row);
        if (gm_likely((row & UNUSUAL) == 0)) {
            uint64_t sp = f[1].sp;
            uint64_t saved = row >> 16;
            if (stackmem_word(sp - 8) != f[1].ra ||
                (saved != 0 && stackmem_word(sp - 8 * saved) != f[1].rbp))
                break;
            continue;
        }
        if ((f->row.flags & (ROW_CHECKED | ROW_FLEETING)) != 0 && !same_row(s, f))
            break;
        if (f->row.kind >= ROW_END)
            return REPLAY_ROOM;
        if (!same_words(s, f))
            break;
    }
    return (uint32_t)(f - s->r->frames);
}

/* pass_rbp corrects rbp in the remembered frames that have it from frame i: it did not matter
 * there, so it was not compared. */
static void pass_rbp(struct replay *r, uint32_t i, uint64_t rbp) {
    for (struct replay_frame *f = &r->frames[i]; f->rbp != rbp; f++) {
        f->rbp = rbp;
        if (f->row.kind >= ROW_DRAP || f->row.rbp != 0)
            return;
    }
}

/* is_now tells whether the remembered frame's state is the present one. */
static inline bool is_now(const struct replay_frame *f, const struct replay_frame *now) {
    return f->ra == now->ra && f->sp == now->sp &&
           (f->row.flags & REPLAY_INTERRUPTED) == now->row.flags &&
           (f->rbp == now->rbp || (f->row.flags & REPLAY_RBP) == 0);
}

/* meet looks whether the present state is a remembered one.  True: all from s->at on is as it was.
 * Otherwise the present state is the last that is known to be right. */
static bool meet(struct search *s) {
    struct replay *r = s->r;
    while (s->at < REPLAY_ROOM && r->frames[s->at].sp < s->now.sp)
        s->at++;
    if (s->at == REPLAY_ROOM || !is_now(&r->frames[s->at], &s->now))
        return false;
    uint32_t from = s->at;
    if (gm_unlikely(r->frames[from].rbp != s->now.rbp))
        pass_rbp(r, from, s->now.rbp);
    uint32_t to = compare(s, from);
    if (to == REPLAY_ROOM)
        return true;
    for (uint32_t i = from; i < to; i++)
        add(s, &r->frames[i]);
    s->now = r->frames[to];
    s->now.row.flags &= REPLAY_INTERRUPTED;
    s->at = to + 1;
    return false;
}

static bool load(struct search *s, uint64_t addr, uint64_t *ret) {
    return stackmem_load(&s->r->memory, addr, ret);
}

/* read_out reads the caller's state.  False: unreadable. */
static inline bool read_out(struct search *s, const struct replay_frame *f,
                            struct replay_frame *out) {
    out->row.flags = 0;
    switch (f->row.kind) {
    case ROW_RSP:
        out->sp = f->sp + 8 * (uint64_t)f->row.offset;
        break;
    case ROW_RBP:
        out->sp = f->rbp + 8 * (uint64_t)f->row.offset;
        break;
    case ROW_DRAP:
        return load(s, f->rbp - 8 * (uint64_t)f->row.offset, &out->sp) &&
               load(s, f->rbp, &out->rbp) && load(s, out->sp - 8, &out->ra);
    default: /* ROW_SIGNAL */
        out->row.flags = REPLAY_INTERRUPTED;
        return load(s, f->sp + UCONTEXT_RSP, &out->sp) && load(s, f->sp + UCONTEXT_RIP, &out->ra) &&
               load(s, f->sp + UCONTEXT_RBP, &out->rbp);
    }
    out->rbp = f->rbp;
    return load(s, out->sp - 8, &out->ra) &&
           (f->row.rbp == 0 || load(s, out->sp - 8 * (uint64_t)f->row.rbp, &out->rbp));
}

/* is_near tells whether the words of a step of kind ROW_RSP or ROW_RBP are on the stack in use. */
static inline bool is_near(const struct stackmem *m, const struct replay_frame *f,
                           const struct replay_frame *out) {
    uint64_t n = m->hi - m->lo;
    return out->sp - 8 - m->lo < n &&
           (f->row.rbp == 0 || out->sp - 8 * (uint64_t)f->row.rbp - m->lo < n);
}

/* step notes the present frame and goes to its caller's. */
static inline enum outcome step(struct search *s) {
    struct replay_frame *now = &s->now;
    struct replay_frame out;
    uint8_t interrupted = now->row.flags;
    now->row = rowcache_find(walk_lookup_pc(now->ra, interrupted != 0));
    if (gm_unlikely((now->row.flags & ROW_CHECKED) != 0) &&
        !codeobj_same(&s->seen, walk_lookup_pc(now->ra, interrupted != 0)))
        return STALE;
    now->row.flags |= interrupted;
    if (gm_unlikely(now->row.kind == ROW_SLOW))
        return IS_SLOW;
    if (now->row.kind < ROW_END) {
        if (!read_out(s, now, &out)) {
            now->row.kind = ROW_LOST; /* the words are not compared, so: */
            now->row.flags |= ROW_FLEETING;
        } else {
            if (gm_unlikely(!is_near(&s->r->memory, now, &out)))
                now->row.flags |= REPLAY_FAR;
            if (is_end(out.ra)) {
                add(s, now);
                out.row = (struct row){.kind = ROW_END};
                add(s, &out); /* so that the word is compared */
                return ENDED;
            }
        }
    }
    add(s, now);
    if (now->row.kind >= ROW_END)
        return ENDED;
    *now = out;
    return gm_likely(s->nnew < REPLAY_MAX_WALK) ? GOES_ON : ENDLESS;
}

static enum outcome walk(struct search *s) {
    for (;;) {
        if (meet(s))
            return MET;
        enum outcome o = step(s);
        if (o != GOES_ON)
            return o;
    }
}

/* own_caller sets the state to that of the innermost frame outside of this library, whose code is
 * compiled with frame pointers.  fp: of a function of it. */
static void own_caller(struct replay_frame *ret, uint64_t fp) {
    while (own_code(stackmem_word(fp + 8)))
        fp = stackmem_word(fp);
    *ret =
        (struct replay_frame){.ra = stackmem_word(fp + 8), .sp = fp + 16, .rbp = stackmem_word(fp)};
}

/* walk_slowly does a full walk, from s->now's frame on; the frames can't be remembered. */
static enum outcome walk_slowly(struct search *s) {
    struct walk w;
    enum walk_step to = WALK_ON;
    walk_here(&w, &s->r->memory);
    s->nnew = 0;
    while (s->nnew < REPLAY_MAX_WALK && (to = walk_out(&w)) == WALK_ON) {
        if (s->nnew == 0 && own_code(w.regs[CFI_RIP]))
            continue;
        struct replay_frame f = {.ra = w.regs[CFI_RIP], .row = {.kind = ROW_SLOW}};
        add(s, &f);
    }
    if (to == WALK_LOST && s->nnew != 0)
        s->r->frames[(s->nnew - 1) % REPLAY_NEW].row.kind = ROW_LOST;
    return to == WALK_ON ? ENDLESS : IS_SLOW;
}

/* mark_rbp sets REPLAY_RBP in the frames [from, to), all of which are remembered. */
static void mark_rbp(struct replay *r, uint32_t from, uint32_t to) {
    bool matters = to < REPLAY_ROOM && (r->frames[to].row.flags & REPLAY_RBP) != 0;
    while (to-- > from) {
        struct row *row = &r->frames[to].row;
        if (row->kind != ROW_RSP || row->rbp != 0)
            matters = row->kind == ROW_RBP || row->kind == ROW_DRAP;
        row->flags = (uint8_t)((row->flags & ~REPLAY_RBP) | (matters ? REPLAY_RBP : 0));
    }
}

/* unbroken returns how many of the n outermost new frames are at their places still, though the
 * walk has not met them: what differs is a register. */
static uint32_t unbroken(const struct search *s, uint32_t tail, uint32_t n) {
    const struct replay *r = s->r;
    uint32_t k = 0;
    for (; k < n && tail + k < r->nremembered; k++) {
        const struct replay_frame *was = &r->frames[REPLAY_ROOM - 1 - tail - k];
        const struct replay_frame *is = &r->frames[(s->nnew - 1 - k) % REPLAY_NEW];
        if (was->ra != is->ra || was->sp != is->sp)
            break;
    }
    return k;
}

/* begin_anew: nothing before the present capture is to be believed. */
static void begin_anew(struct replay *r, enum replay_verdict why) {
    r->continuous = r->number;
    r->why = (uint8_t)why;
}

/* leaves tells whether the step from a remembered frame outwards may go to another stack. */
static bool leaves(const struct replay_frame *f) {
    return f->row.kind == ROW_SIGNAL || (f->row.flags & REPLAY_FAR) != 0 ||
           (f->row.kind < ROW_END && f[1].sp <= f->sp);
}

/* note_stacks looks at the n new remembered frames, inside of the `tail` that were met. */
static void note_stacks(struct replay *r, uint32_t tail, uint32_t n) {
    if (r->plain >= tail) {
        const struct replay_frame *f = &r->frames[REPLAY_ROOM - tail];
        for (r->plain = tail; r->plain < tail + n && !leaves(--f);)
            r->plain++;
    }
    bool crossed = r->plain < tail + n;
    if (crossed)
        begin_anew(r, REPLAY_SWITCHED);
    else if (r->crossed)
        begin_anew(r, r->why);
    r->crossed = crossed;
}

/* stamp marks the n new frames, of which the `same` outermost are not new; outside of them are
 * `tail` that were met. */
static void stamp(struct replay *r, uint32_t tail, uint32_t n, uint32_t same) {
    uint64_t *stamps = &r->stamps[REPLAY_REMEMBERED - tail - n];
    for (uint32_t i = 0; i < n - same; i++)
        stamps[i] = r->number;
    if (tail + same == 0 && r->nremembered != 0)
        begin_anew(r, REPLAY_SWITCHED);
    else if (tail + same == 0)
        begin_anew(r, r->why);
}

/* keep remembers the new frames, as many of the outer ones as there is room for, before the `tail`
 * outer ones that were met. */
static void keep(struct search *s, uint32_t tail) {
    struct replay *r = s->r;
    uint32_t n = s->nnew < REPLAY_NEW ? s->nnew : REPLAY_NEW;
    if (n > REPLAY_REMEMBERED - tail)
        n = REPLAY_REMEMBERED - tail;
    stamp(r, tail, n, unbroken(s, tail, n));
    uint32_t to = REPLAY_ROOM - tail - n;
    uint32_t from = (s->nnew - n) % REPLAY_NEW;
    uint32_t part = n < REPLAY_NEW - from ? n : REPLAY_NEW - from; /* up to the ring's end */
    memcpy(&r->frames[to], &r->frames[from], part * sizeof r->frames[0]);
    memcpy(&r->frames[to + part], &r->frames[0], (n - part) * sizeof r->frames[0]);
    mark_rbp(r, to, to + n);
    note_stacks(r, tail, n);
    r->nremembered = tail + n;
    if (gm_unlikely(n < s->nnew)) {
        begin_anew(r, REPLAY_DEEP);
        r->crossed = true; /* for all that is known */
    }
}

/* omitted returns the frame that stands for so many. */
static uint64_t omitted(uint64_t n) {
    const unsigned digits = 3;
    unsigned drop = n >= 16 ? 64 - (unsigned)__builtin_clzll(n) - digits : 0;
    return GOMALLOC_FRAME_OMITTED | (n >> drop << drop);
}

/* A walk that is over, put together of new and remembered frames. */
struct whole {
    uint64_t nnew;                   /* frames of the walk */
    uint64_t total;                  /* with those that were met */
    const struct replay_frame *tail; /* of these */
    const struct replay_frame *end;  /* of all */
};

/* What stands behind the outermost frame to be compared is none (see step). */
static struct whole assemble(const struct search *s, uint32_t tail) {
    const struct replay_frame *end = &s->r->frames[REPLAY_ROOM];
    bool more = s->nnew + tail != 0 && is_end(end[-1].ra);
    struct whole w = {.nnew = s->nnew - (more && tail == 0),
                      .total = s->nnew + tail - more,
                      .tail = end - tail,
                      .end = end - more};
    return w;
}

/* copy_out stores the return addresses of n frames. */
static void copy_out(uint64_t *pcs, const struct replay_frame *f, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        pcs[i] = f[i].ra;
}

static uint32_t least(uint64_t a, uint64_t b) {
    return (uint32_t)(a < b ? a : b);
}

/* hand_out stores what the caller does not have of a stack that is not deeper than the bound. */
static void hand_out(struct search *s, const struct whole *w, struct replay_stack *ret) {
    uint64_t tail = w->total - w->nnew;
    ret->n = (unsigned)w->total;
    ret->known = least(tail, s->r->have);
    copy_out(s->pcs + w->nnew, w->tail, tail - ret->known);
    s->r->have = ret->n;
}

/* hand_out_parts does it for a deeper one: the innermost frames, the one that says how many are
 * left out, the outermost. */
static void hand_out_parts(struct search *s, const struct whole *w, uint32_t prefix,
                           struct replay_stack *ret) {
    unsigned suffix = s->depth - prefix - 1;
    if (w->nnew < suffix)
        copy_out(s->pcs + w->nnew, w->tail, suffix - w->nnew);
    s->pcs[suffix] = omitted(w->total - suffix - prefix);
    ret->n = s->depth;
    ret->known = least(prefix, least(w->total - w->nnew, s->r->have));
    copy_out(s->pcs + suffix + 1, w->end - prefix, prefix - ret->known);
    ret->flags |= GOMALLOC_SITE_TRUNCATED;
    s->r->have = prefix;
}

/* drop makes the next walk meet nothing. */
static void drop(struct replay *r, enum replay_verdict why) {
    r->nremembered = 0;
    r->plain = 0;
    r->have = 0;
    r->complete = false;
    r->why = (uint8_t)why;
}

/* remember keeps what was found; returns what has been put together. */
static struct whole remember(struct search *s, enum outcome o) {
    struct replay *r = s->r;
    uint32_t tail = o == MET ? REPLAY_ROOM - s->at : 0;
    keep(s, tail);
    struct whole w = assemble(s, tail);
    r->total = (uint32_t)w.total;
    r->complete = s->nnew + tail == r->nremembered;
    return w;
}

/* finish remembers what was found and hands it out. */
static struct replay_stack finish(struct search *s, enum outcome o) {
    struct replay *r = s->r;
    struct whole w = remember(s, o);
    struct replay_stack ret = {.total = w.total};
    const struct replay_frame *last = &r->frames[REPLAY_ROOM - 1];
    if (o == ENDLESS || last->row.kind == ROW_LOST || (is_end(last->ra) && last->ra != 0))
        ret.flags |= GOMALLOC_SITE_STOPPED;
    if (w.total <= s->depth)
        hand_out(s, &w, &ret);
    else
        hand_out_parts(s, &w, o == ENDLESS ? 0 : s->depth / 4, &ret);
    r->last = ret;
    r->last.known = ret.n;
    if (o == ENDLESS || o == IS_SLOW)
        drop(r, o == ENDLESS ? REPLAY_DEEP : REPLAY_STOPPED);
    return ret;
}

void replay_forget(struct replay *r) {
    r->have = 0;
}

/* What a thread knows of itself.  A thread pointer would not do: it is used again. */
static gm_tls struct {
    struct replay *record; /* that its last capture was made with */
    uint32_t number;       /* 0: none yet */
} self;

static _Atomic uint32_t nthreads;

static uint64_t number_of(const struct replay *r) {
    return __atomic_load_n(&r->number, __ATOMIC_RELAXED);
}

/* change_thread makes the record this thread's.  Its numbers go on from where those of the record
 * were that the thread had before, so that they do not come again. */
static gm_noinline void change_thread(struct replay *r) {
    if (self.number == 0)
        self.number = atomic_fetch_add_explicit(&nthreads, 1, memory_order_relaxed) + 1;
    if (self.record != NULL && number_of(self.record) > r->number)
        r->number = number_of(self.record);
    self.record = r;
    r->thread = self.number;
    r->memory = (struct stackmem){.lo = 0};
    r->generation = atomic_load_explicit(&codeobj_generation, memory_order_acquire);
    drop(r, REPLAY_SWITCHED);
}

/* attempt walks from the state.  STALE: what it found is not to be used. */
static enum outcome attempt(struct search *s, const struct replay_frame *start) {
    struct replay *r = s->r;
    uint32_t generation = atomic_load_explicit(&codeobj_generation, memory_order_acquire);
    if (gm_unlikely(generation != r->generation)) {
        drop(r, REPLAY_STOPPED);
        r->generation = generation;
    }
    s->nnew = 0;
    s->at = REPLAY_ROOM - r->nremembered;
    s->now = *start;
    s->seen.n = 0;
    enum outcome o = walk(s);
    atomic_thread_fence(memory_order_acquire);
    if (generation != atomic_load_explicit(&codeobj_generation, memory_order_relaxed))
        return STALE;
    return o;
}

/* is_same_stack tells whether the stack is the remembered one, all of it. */
static bool is_same_stack(const struct search *s, enum outcome o) {
    return o == MET && s->nnew == 0 && s->at == REPLAY_ROOM - s->r->nremembered;
}

/* begin makes ready for a capture from a function of this library with that frame pointer. */
static inline void begin(struct search *s, struct replay *r, struct replay_frame *start,
                         uint64_t fp) {
    if (gm_unlikely(self.record != r || self.number != r->thread))
        change_thread(r);
    __atomic_store_n(&r->number, r->number + 1, __ATOMIC_RELAXED); /* see change_thread */
    s->r = r;
    stackmem_here(&r->memory, fp);
    own_caller(start, fp);
}

/* attempt_again is for a walk that may not be used. */
static gm_noinline enum outcome attempt_again(struct search *s, const struct replay_frame *start,
                                              enum outcome o) {
    if (o == STALE)
        o = attempt(s, start);
    return o == STALE || o == IS_SLOW ? walk_slowly(s) : o;
}

gm_noinline struct replay_stack replay_capture(struct replay *r, uint64_t *pcs, unsigned depth) {
    struct search s;
    struct replay_frame start;
    s.pcs = pcs;
    s.depth = depth;
    begin(&s, r, &start, (uintptr_t)__builtin_frame_address(0));
    enum outcome o = attempt(&s, &start);
    if (is_same_stack(&s, o) && r->have == r->last.n)
        return r->last;
    if (gm_unlikely(o == STALE || o == IS_SLOW))
        o = attempt_again(&s, &start, o);
    return finish(&s, o);
}

gm_noinline bool replay_observe(struct replay *r) {
    struct search s;
    struct replay_frame start;
    s.pcs = NULL;
    s.depth = 0;
    begin(&s, r, &start, (uintptr_t)__builtin_frame_address(0));
    enum outcome o = attempt(&s, &start);
    if (is_same_stack(&s, o))
        return true;
    if (gm_unlikely(o == STALE))
        o = attempt(&s, &start);
    r->last.n = UINT_MAX; /* it is not the last stack any more */
    if (gm_unlikely(o == STALE || o == IS_SLOW)) {
        drop(r, REPLAY_STOPPED);
        return false;
    }
    r->have = least(o == MET ? REPLAY_ROOM - s.at : 0, r->have);
    remember(&s, o);
    if (gm_unlikely(o == ENDLESS))
        drop(r, REPLAY_DEEP);
    return r->nremembered != 0;
}

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
        if (r->stamps[mid] > when)
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
    const struct replay_frame *f = &r->frames[REPLAY_ROOM - r->nremembered + k];
    if (f->row.kind == ROW_SIGNAL)
        return 0;
    *ret_value = f[1].ra;
    return f[1].sp - 8;
}

uint64_t replay_pc(const struct replay *r, struct replay_moment m, uint32_t k) {
    if (!r->complete || k >= m.depth || m.depth - k > r->total)
        return 0;
    return r->frames[REPLAY_ROOM - one_beyond(r) - (m.depth - k)].ra;
}

/* The chain of frame pointers that own_caller follows must be there. */
static gm_noinline bool has_frame_pointers(void) {
    struct stackmem memory = {.lo = 0};
    struct replay_frame start;
    struct walk w;
    uint64_t fp = (uintptr_t)__builtin_frame_address(0);
    stackmem_here(&memory, fp);
    own_caller(&start, fp);
    walk_here(&w, &memory);
    while (walk_out(&w) == WALK_ON) {
        if (!own_code(w.regs[CFI_RIP]))
            return w.regs[CFI_RIP] == start.ra && w.regs[CFI_RSP] == start.sp &&
                   w.regs[CFI_RBP] == start.rbp;
    }
    return false;
}

bool replay_init(void) {
    if (!cfi_init() || !rowcache_init())
        return false;
    own_init();
    codeobj_init();
    return has_frame_pointers();
}
