/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: a capture, and what it remembers and hands out of what it has found.
 *
 * The new frames are put to the remembered ones, bound to each other and handed out in one loop, in
 * whole words, without branches where the processor could not foresee them.
 */
#include "unwind/replay.h"

#include <limits.h>

#include "gomalloc/image.h"
#include "unwind/own.h"
#include "unwind/replay_search.h"

/* own_caller returns the frame pointer of the outermost function of this library, whose code is
 * compiled with frame pointers.  fp: of a function of it. */
static inline uint64_t own_caller(uint64_t fp) {
    while (own_code(stackmem_word(fp + 8)))
        fp = stackmem_word(fp);
    return fp;
}

/* begin_anew: nothing before the present capture is to be believed. */
static void begin_anew(struct replay *r, enum replay_verdict why) {
    r->continuous = r->number;
    r->why = (uint8_t)why;
}

/* unbroken returns how many of the n outermost new frames are at their places still, though the
 * walk has not met them: what differs is a register. */
static uint32_t unbroken(const struct search *s, uint32_t tail, uint32_t n) {
    const struct replay *r = s->r;
    uint32_t k = 0;
    for (; k < n && tail + k < r->nremembered; k++) {
        const struct replay_frame *was = &r->frames[REPLAY_REMEMBERED - 1 - tail - k];
        const struct replay_step *is = &r->steps[(s->nnew - 1 - k) % REPLAY_NEW];
        if (was->ra != is->ra || was->sp != is->sp)
            break;
    }
    return k;
}

/* leaves tells whether the step to a remembered frame may be one to another stack. */
static inline bool leaves(uint64_t sp, uint64_t row, uint64_t out_sp) {
    return ((row & UNUSUAL) != 0 && ((row & REPLAY_FAR) != 0 || row_kind(row) == ROW_SIGNAL)) ||
           (out_sp <= sp && row_kind(row) < ROW_END);
}

/* rbp_matters returns whether rbp matters to a step or one outside of it, as REPLAY_RBP or 0;
 * `outside` says so of the next one. */
static inline uint64_t rbp_matters(uint64_t row, uint64_t outside) {
    if (row_kind(row) == ROW_RSP)
        return row_rbp(row) == 0 ? outside : 0;
    return row_kind(row) == ROW_RBP || row_kind(row) == ROW_DRAP ? REPLAY_RBP : 0;
}

/* How a frame is bound to the next one outwards. */
struct binding {
    uint64_t saved_at;
    uint64_t matters; /* REPLAY_RBP if rbp does, there or farther out, else 0 */
    bool leaves;
};

/* bind is in two parts, of which the first does for nearly all frames, without branches. */
static inline struct binding bind(const struct replay_step *f, const struct replay_frame *out,
                                  uint64_t matters) {
    uint64_t row = f->row;
    if (gm_likely((row & (UNUSUAL | ROW_WIDE)) == 0 && out->sp > f->sp)) {
        uint64_t saved = row_narrow_rbp(row);
        uint64_t rsp = saved != 0 ? 0 : matters;
        uint64_t compared = matters != 0 ? saved : 0;
        return (struct binding){.saved_at =
                                    compared != 0 ? out->sp - 8 * saved : (uintptr_t)&out->rbp,
                                .matters = row_kind(row) == ROW_RBP ? REPLAY_RBP : rsp};
    }
    return (struct binding){.saved_at = saved_at(row, out),
                            .matters = rbp_matters(row, matters),
                            .leaves = leaves(f->sp, row, out->sp)};
}

/* put makes the n last new frames remembered ones, before `tail` outer ones, the `same` outermost
 * of them with the stamps that are there.  Returns how many are outside of the first one that
 * leaves its stack.  Hands out what is within the depth. */
static inline uint32_t put(struct search *s, uint32_t tail, uint32_t n, uint32_t same,
                           uint32_t depth) {
    struct replay *r = s->r;
    struct replay_frame *to = outermost(r) - tail;
    const struct replay_step *steps = r->steps;
    uint64_t *pcs = s->pcs;
    uint64_t number = r->number;
    uint64_t matters = to->row & REPLAY_RBP; /* rbp does */
    uint32_t from = s->nnew;
    uint32_t stay = n;
    for (uint32_t i = 0; i < n; i++) {
        const struct replay_step *step = &steps[--from % REPLAY_NEW];
        struct binding b = bind(step, to, matters);
        if (gm_unlikely(b.leaves) && stay == n)
            stay = i;
        to--;
        to->saved_at = b.saved_at;
        to->sp = step->sp;
        to->ra = step->ra;
        to->rbp = step->rbp;
        matters = b.matters;
        to->row = step->row | matters;
        if (gm_likely(from < depth))
            pcs[from] = step->ra;
        if (gm_likely(i >= same))
            to->stamp = number;
    }
    return stay;
}

/* note_stacks: of what is remembered now, `tail` frames had been before, and the `stay` next ones
 * don't leave their stack. */
static inline void note_stacks(struct replay *r, uint32_t tail, uint32_t stay) {
    if (gm_likely(tail <= r->plain))
        r->plain = tail + stay;
    bool crossed = r->plain < r->nremembered;
    if (gm_unlikely(crossed || r->crossed))
        begin_anew(r, crossed ? REPLAY_SWITCHED : r->why);
    r->crossed = crossed;
}

/* keep remembers the new frames, as many of the outer ones as there is room for, before the `tail`
 * outer ones that were met. */
static inline void keep(struct search *s, uint32_t tail) {
    struct replay *r = s->r;
    uint32_t n = s->nnew < REPLAY_NEW ? s->nnew : REPLAY_NEW;
    if (gm_unlikely(n > REPLAY_REMEMBERED - tail))
        n = REPLAY_REMEMBERED - tail;
    uint32_t same = unbroken(s, tail, n);
    if (gm_unlikely(tail + same == 0)) {
        begin_anew(r, r->nremembered != 0 ? REPLAY_SWITCHED : r->why);
        if (r->home == 0 && n != 0)
            r->home = r->steps[(s->nnew - 1) % REPLAY_NEW].sp;
    }
    uint32_t depth = s->depth;
    if (gm_unlikely(n != s->nnew || s->handed != 0)) {
        hand(s);
        depth = 0;
    }
    uint32_t stay = put(s, tail, n, same, depth);
    r->nremembered = tail + n;
    if (r->nplaced > tail)
        r->nplaced = tail;
    r->hard |= ~replay_outer(tail);
    note_stacks(r, tail, stay);
    r->complete = n == s->nnew;
    if (gm_unlikely(!r->complete)) {
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

/* remember keeps what was found; returns what has been put together.  What stands behind the
 * outermost frame to be compared is none (see step). */
static inline struct whole remember(struct search *s, enum outcome o) {
    struct replay *r = s->r;
    uint32_t tail = o == MET ? (uint32_t)(outermost(r) - s->at) : 0;
    keep(s, tail);
    bool more = r->nremembered != 0 && is_end(outermost(r)[-1].ra);
    struct whole w = {.nnew = s->nnew - (more && tail == 0),
                      .total = s->nnew + tail - more,
                      .tail = outermost(r) - tail,
                      .end = outermost(r) - more};
    r->total = (uint32_t)w.total;
    return w;
}

/* copy_out stores the return addresses of n frames. */
static void copy_out(uint64_t *pcs, const struct replay_frame *f, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        pcs[i] = f[i].ra;
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

/* finish remembers what was found and hands it out. */
static inline void finish(struct search *s, enum outcome o) {
    struct replay *r = s->r;
    struct whole w = remember(s, o);
    struct replay_stack *ret = &r->last;
    ret->flags = 0;
    ret->site = 0;
    ret->total = w.total;
    const struct replay_frame *last = outermost(r) - 1;
    if (o == ENDLESS || row_kind(last->row) == ROW_LOST || (is_end(last->ra) && last->ra != 0))
        ret->flags = GOMALLOC_SITE_STOPPED;
    if (gm_likely(w.total <= s->depth))
        hand_out(s, &w, ret);
    else
        hand_out_parts(s, &w, o == ENDLESS ? 0 : s->depth / 4, ret);
    if (gm_unlikely(o == ENDLESS || o == IS_SLOW))
        drop(r, o == ENDLESS ? REPLAY_DEEP : REPLAY_STOPPED);
}

void replay_forget(struct replay *r) {
    r->have = 0;
    r->last.site = 0;
}

void replay_frames(struct replay *r, uint64_t *pcs) {
    struct replay_stack *s = &r->last;
    if (s->site != 0) {
        copy_out(pcs, outermost(r) - r->nremembered, s->n - s->known);
        r->have = s->n;
    }
}

gm_tls struct replay_self replay_self;

static _Atomic uint32_t nthreads;

static uint64_t number_of(const struct replay *r) {
    return __atomic_load_n(&r->number, __ATOMIC_RELAXED);
}

/* change_thread makes the record this thread's.  Its numbers go on from where those of the record
 * were that the thread had before, so that they do not come again. */
static gm_noinline void change_thread(struct replay *r) {
    if (replay_self.number == 0)
        replay_self.number = atomic_fetch_add_explicit(&nthreads, 1, memory_order_relaxed) + 1;
    if (replay_self.record != NULL && number_of(replay_self.record) > r->number)
        r->number = number_of(replay_self.record);
    replay_self.record = r;
    r->thread = replay_self.number;
    r->memory = (struct stackmem){.lo = 0};
    r->generation = atomic_load_explicit(&codeobj_generation, memory_order_acquire);
    outermost(r)->sp = UINT64_MAX;
    r->home = 0;
    drop(r, REPLAY_SWITCHED);
}

/* begin makes ready for a capture from a function of this library with that frame pointer. */
static inline void begin(struct search *s, struct replay *r, uint64_t fp) {
    if (gm_unlikely(replay_self.record != r || replay_self.number != r->thread))
        change_thread(r);
    __atomic_store_n(&r->number, r->number + 1, __ATOMIC_RELAXED); /* see change_thread */
    s->r = r;
    stackmem_here(&r->memory, fp);
}

/* is_same_stack tells whether the stack is the remembered one, all of it. */
static inline bool is_same_stack(const struct search *s, enum outcome o) {
    return o == MET && s->nnew == 0 && s->at == outermost(s->r) - s->r->nremembered;
}

gm_noinline void replay_walk(struct replay *r, uint64_t fp, uint64_t *pcs, unsigned depth,
                             struct replay_frame *sure) {
    struct search s;
    s.pcs = pcs;
    s.depth = depth;
    s.sure = sure;
    begin(&s, r, fp);
    enum outcome o = search_stack(&s, fp);
    if (is_same_stack(&s, o) && r->have == r->last.n) {
        r->last.known = r->last.n;
        return;
    }
    if (gm_unlikely(o == STALE))
        o = search_stack(&s, fp);
    if (gm_unlikely(o == STALE || o == IS_SLOW))
        o = search_slowly(&s);
    finish(&s, o);
}

/* is_again tells whether the stack is that of the capture before, all of it and without doubt: what
 * is the case most of the time, in as few instructions as can be.  If not, *ret_sure is as
 * replay_recall wants it. */
static inline bool is_again(struct replay *r, uint64_t fp, struct replay_frame **ret_sure) {
    uint32_t generation = atomic_load_explicit(&codeobj_generation, memory_order_acquire);
    struct replay_frame *f = outermost(r) - r->nremembered;
    *ret_sure = NULL;
    if (replay_self.record != r || replay_self.number != r->thread || generation != r->generation ||
        !stackmem_is_here(&r->memory, fp))
        return false;
    *ret_sure = r->frames;
    if (f->sp != fp + 16 || f->ra != stackmem_word(fp + 8) || !is_rbp(f, stackmem_word(fp)) ||
        (f->row & REPLAY_INTERRUPTED) != 0)
        return false;
    f = skip_usual(f);
    *ret_sure = f;
    if (f->row != ROW_END || (r->have != r->last.n && r->last.site == 0))
        return false;
    atomic_thread_fence(memory_order_acquire);
    return generation == atomic_load_explicit(&codeobj_generation, memory_order_relaxed);
}

gm_noinline const struct replay_stack *replay_capture(struct replay *r, uint64_t fp, uint64_t *pcs,
                                                      unsigned depth) {
    struct replay_frame *sure;
    fp = own_caller(fp);
    if (is_again(r, fp, &sure)) {
        __atomic_store_n(&r->number, r->number + 1, __ATOMIC_RELAXED);
        r->last.known = r->have;
    } else if (!replay_recall(r, fp, sure)) {
        replay_walk(r, fp, pcs, depth, sure);
    }
    return &r->last;
}

gm_noinline bool replay_observe(struct replay *r, uint64_t fp) {
    struct search s;
    s.pcs = NULL;
    s.depth = 0;
    s.sure = NULL;
    fp = own_caller(fp);
    begin(&s, r, fp);
    enum outcome o = search_stack(&s, fp);
    if (is_same_stack(&s, o))
        return true;
    if (gm_unlikely(o == STALE))
        o = search_stack(&s, fp);
    r->last.n = UINT_MAX; /* it is not the last stack any more */
    r->last.site = 0;
    if (gm_unlikely(o == STALE || o == IS_SLOW)) {
        drop(r, REPLAY_STOPPED);
        return false;
    }
    r->have = least(o == MET ? (uint64_t)(outermost(r) - s.at) : 0, r->have);
    remember(&s, o);
    if (gm_unlikely(o == ENDLESS))
        drop(r, REPLAY_DEEP);
    return r->nremembered != 0;
}

/* The chain of frame pointers that own_caller follows must be there. */
static gm_noinline bool has_frame_pointers(void) {
    struct stackmem memory = {.lo = 0};
    struct walk w;
    uint64_t fp = (uintptr_t)__builtin_frame_address(0);
    stackmem_here(&memory, fp);
    fp = own_caller(fp);
    walk_here(&w, &memory);
    while (walk_out(&w) == WALK_ON) {
        if (!own_code(w.regs[CFI_RIP]))
            return w.regs[CFI_RIP] == stackmem_word(fp + 8) && w.regs[CFI_RSP] == fp + 16 &&
                   w.regs[CFI_RBP] == stackmem_word(fp);
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
