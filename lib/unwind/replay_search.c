/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: the walk, until it has met what is remembered.
 *
 * What costs time here is what the processor can't foresee, and a word that is read while a
 * narrower store to it is under way.  So the state of a walk is kept in whole words and in
 * registers, and a step's choices are made without branches.
 */
#include "unwind/replay_search.h"

#include "unwind/own.h"

/* add appends a step to the new ones. */
static void add(struct search *s, uint64_t sp, uint64_t ra, uint64_t rbp, uint64_t row) {
    if (gm_unlikely(s->nnew == s->handed + REPLAY_NEW))
        hand(s);
    put_step(&s->r->steps[s->nnew++ % REPLAY_NEW], sp, ra, rbp, row);
}

static bool is_same(struct search *s, uint64_t addr, uint64_t value) {
    uint64_t v;
    return stackmem_load(&s->r->memory, addr, &v) && v == value;
}

/* What is compared of a remembered frame: the words from which its caller's state was read. */
static bool same_words(struct search *s, const struct replay_frame *f) {
    const struct replay_frame *out = f + 1;
    bool matters = (out->row & REPLAY_RBP) != 0;
    switch (row_kind(f->row)) {
    case ROW_DRAP:
        return is_same(s, f->rbp - 8 * row_offset(f->row), out->sp) &&
               (!matters || is_same(s, f->rbp, out->rbp)) && is_same(s, out->sp - 8, out->ra);
    case ROW_SIGNAL:
        return is_same(s, f->sp + UCONTEXT_RSP, out->sp) &&
               is_same(s, f->sp + UCONTEXT_RIP, out->ra) &&
               (!matters || is_same(s, f->sp + UCONTEXT_RBP, out->rbp));
    default:
        return is_same(s, out->sp - 8, out->ra) &&
               (row_rbp(f->row) == 0 || !matters ||
                is_same(s, out->sp - 8 * row_rbp(f->row), out->rbp));
    }
}

static uint64_t lookup_pc(uint64_t ra, uint64_t row) {
    return walk_lookup_pc(ra, (row & REPLAY_INTERRUPTED) != 0);
}

/* same_row tells whether the code at a remembered frame, which is on the stack, is what it was. */
static bool same_row(struct search *s, const struct replay_frame *f) {
    const uint64_t flags =
        ROW_CHECKED | ROW_FLEETING | REPLAY_INTERRUPTED | REPLAY_RBP | REPLAY_FAR;
    uint64_t pc = lookup_pc(f->ra, f->row);
    if ((f->row & ROW_CHECKED) != 0)
        return codeobj_same(&s->seen, pc);
    return ((rowcache_find(pc) ^ f->row) & ~flags) == 0;
}

/* same_unusual is for a frame that same_usual has refused.  *ret_end: the walk would end here. */
static gm_noinline bool same_unusual(struct search *s, const struct replay_frame *f,
                                     bool *ret_end) {
    if ((f->row & (ROW_CHECKED | ROW_FLEETING)) != 0 && !same_row(s, f))
        return false;
    *ret_end = row_kind(f->row) >= ROW_END;
    return *ret_end || same_words(s, f);
}

/* compare goes outwards from a remembered frame whose state is the present one.  Returns the first
 * frame from which the way on is not as it was; NULL: none. */
static inline struct replay_frame *compare(struct search *s, struct replay_frame *f) {
    for (bool end = false;; f++) {
        f = skip_usual(f);
        if (gm_likely(f->row == ROW_END))
            return NULL;
        if (is_checked(f) && same_checked(&s->seen, f))
            continue;
        if ((f->row & UNUSUAL) == 0 || !same_unusual(s, f, &end))
            return f;
        if (end)
            return NULL;
    }
}

/* is_now tells whether the remembered frame's state is the present one. */
static inline bool is_now(const struct replay_frame *f, uint64_t sp, uint64_t ra, uint64_t rbp,
                          uint64_t row) {
    return f->sp == sp && f->ra == ra && (f->row & REPLAY_INTERRUPTED) == row && is_rbp(f, rbp);
}

static bool load(struct search *s, uint64_t addr, uint64_t *ret) {
    return stackmem_load(&s->r->memory, addr, ret);
}

/* read_out reads the caller's state.  False: unreadable. */
static bool read_out(struct search *s, const struct replay_step *f, struct replay_step *out) {
    out->row = 0;
    switch (row_kind(f->row)) {
    case ROW_RSP:
        out->sp = f->sp + 8 * row_offset(f->row);
        break;
    case ROW_RBP:
        out->sp = f->rbp + 8 * row_offset(f->row);
        break;
    case ROW_DRAP:
        return load(s, f->rbp - 8 * row_offset(f->row), &out->sp) && load(s, f->rbp, &out->rbp) &&
               load(s, out->sp - 8, &out->ra);
    default: /* ROW_SIGNAL */
        out->row = REPLAY_INTERRUPTED;
        return load(s, f->sp + UCONTEXT_RSP, &out->sp) && load(s, f->sp + UCONTEXT_RIP, &out->ra) &&
               load(s, f->sp + UCONTEXT_RBP, &out->rbp);
    }
    out->rbp = f->rbp;
    return load(s, out->sp - 8, &out->ra) &&
           (row_rbp(f->row) == 0 || load(s, out->sp - 8 * row_rbp(f->row), &out->rbp));
}

/* out_rbp returns rbp in the frame outside of a remembered one whose words are as they were, and in
 * which it is `rbp`.  The remembered one is of another time where it did not matter. */
static inline uint64_t out_rbp(struct search *s, const struct replay_frame *f, uint64_t rbp) {
    struct replay_step now = {.sp = f->sp, .ra = f->ra, .rbp = rbp, .row = f->row};
    struct replay_step out;
    if (gm_unlikely((f->row & UNUSUAL) != 0))
        return read_out(s, &now, &out) ? out.rbp : 0;
    return row_rbp(f->row) != 0 ? stackmem_word(f[1].sp - 8 * row_rbp(f->row)) : rbp;
}

/* meet is for when s->at is the present state.  True: all from there on is as it was.  Otherwise
 * the present state is the last that is known to be right. */
static inline bool meet(struct search *s, uint64_t rbp) {
    struct replay_frame *f = s->at;
    struct replay_frame *to = compare(s, f < s->sure ? s->sure : f);
    if (gm_likely(to == NULL))
        return true;
    for (; f < to; f++) {
        add(s, f->sp, f->ra, rbp, f->row & ~REPLAY_RBP);
        rbp = out_rbp(s, f, rbp);
    }
    put_step(&s->now, to->sp, to->ra, rbp, to->row & REPLAY_INTERRUPTED);
    s->at = to + 1;
    return false;
}

/* is_near tells whether the words of a step of kind ROW_RSP or ROW_RBP are on the stack in use. */
static bool is_near(const struct stackmem *m, const struct replay_step *f,
                    const struct replay_step *out) {
    uint64_t n = m->hi - m->lo;
    return out->sp - 8 - m->lo < n &&
           (row_rbp(f->row) == 0 || out->sp - 8 * row_rbp(f->row) - m->lo < n);
}

/* add_now appends the present state with its row. */
static void add_now(struct search *s, const struct replay_step *now) {
    add(s, now->sp, now->ra, now->rbp, now->row);
}

/* step notes the present frame, whose row is given, and goes to its caller's; for any row. */
static gm_noinline enum outcome step(struct search *s, uint64_t row) {
    struct replay_step *now = &s->now;
    struct replay_step out;
    uint64_t interrupted = now->row;
    now->row = row | interrupted;
    if ((row & ROW_CHECKED) != 0 && !codeobj_same(&s->seen, lookup_pc(now->ra, interrupted)))
        return STALE;
    if (row_kind(row) == ROW_SLOW)
        return IS_SLOW;
    if (row_kind(row) < ROW_END) {
        if (!read_out(s, now, &out)) {
            now->row |= ROW_LOST | ROW_FLEETING; /* the words are not compared */
        } else {
            if (!is_near(&s->r->memory, now, &out))
                now->row |= REPLAY_FAR;
            if (is_end(out.ra)) {
                add_now(s, now);
                out.row = ROW_END;
                add_now(s, &out); /* so that the word is compared */
                return ENDED;
            }
        }
    }
    add_now(s, now);
    if (row_kind(now->row) >= ROW_END)
        return ENDED;
    *now = out;
    return s->nnew < REPLAY_MAX_WALK ? GOES_ON : ENDLESS;
}

/* walk goes from the present state to the end, or to what is remembered. */
static inline enum outcome walk(struct search *s) {
    struct replay *r = s->r;
    struct replay_frame *at = s->at;
    uint64_t sp = s->now.sp, ra = s->now.ra, rbp = s->now.rbp, interrupted = s->now.row;
    for (;;) {
        while (at->sp < sp)
            at++;
        if (is_now(at, sp, ra, rbp, interrupted)) {
            s->at = at;
            if (meet(s, rbp))
                return MET;
            at = s->at;
            sp = s->now.sp, ra = s->now.ra, rbp = s->now.rbp, interrupted = s->now.row;
        }
        uint64_t row = rowcache_find(lookup_pc(ra, interrupted));
        /* What most steps are; the others are done anew. */
        uint64_t saved = row_narrow_rbp(row);
        uint64_t out = (row_kind(row) == ROW_RBP ? rbp : sp) + 8 * row_narrow_offset(row);
        uint64_t saved_from = saved != 0 ? out - 8 * saved : out - 8;
        uint64_t lo = r->memory.lo;
        uint64_t n = r->memory.hi - lo;
        if (gm_likely((uint32_t)(row & (ROW_KIND | ROW_FLEETING | ROW_WIDE)) - 1 < 2 &&
                      (out & 7) == 0 && out - 8 - lo < n && saved_from - lo < n &&
                      s->nnew < s->handed + REPLAY_NEW && s->nnew < REPLAY_MAX_WALK - 1)) {
            uint64_t out_ra = stackmem_word(out - 8);
            uint64_t out_rbp = stackmem_word(saved_from);
            /* Asked once: it makes the object known, whose row this may not be. */
            if (gm_unlikely((row & ROW_CHECKED) != 0) &&
                !codeobj_same(&s->seen, lookup_pc(ra, interrupted)))
                return STALE;
            if (gm_likely(!is_end(out_ra))) {
                put_step(&r->steps[s->nnew++ % REPLAY_NEW], sp, ra, rbp, row | interrupted);
                rbp = saved != 0 ? out_rbp : rbp;
                sp = out;
                ra = out_ra;
                interrupted = 0;
                continue;
            }
        }
        s->at = at;
        put_step(&s->now, sp, ra, rbp, interrupted);
        enum outcome o = step(s, row);
        if (o != GOES_ON)
            return o;
        sp = s->now.sp, ra = s->now.ra, rbp = s->now.rbp, interrupted = s->now.row;
    }
}

gm_noinline enum outcome search_stack(struct search *s, uint64_t fp) {
    struct replay *r = s->r;
    uint32_t generation = atomic_load_explicit(&codeobj_generation, memory_order_acquire);
    if (gm_unlikely(generation != r->generation)) {
        drop(r, REPLAY_STOPPED);
        r->generation = generation;
        s->sure = NULL;
    }
    s->nnew = s->handed = 0;
    s->at = outermost(r) - r->nremembered;
    put_step(&s->now, fp + 16, stackmem_word(fp + 8), stackmem_word(fp), 0);
    s->seen.n = 0;
    enum outcome o = walk(s);
    atomic_thread_fence(memory_order_acquire);
    if (generation != atomic_load_explicit(&codeobj_generation, memory_order_relaxed))
        return STALE;
    return o;
}

gm_noinline enum outcome search_slowly(struct search *s) {
    struct walk w;
    enum walk_step to = WALK_ON;
    walk_here(&w, &s->r->memory);
    s->nnew = s->handed = 0;
    while (s->nnew < REPLAY_MAX_WALK && (to = walk_out(&w)) == WALK_ON) {
        if (s->nnew != 0 || !own_code(w.regs[CFI_RIP]))
            add(s, 0, w.regs[CFI_RIP], 0, ROW_SLOW);
    }
    if (to == WALK_LOST && s->nnew != 0)
        s->r->steps[(s->nnew - 1) % REPLAY_NEW].row = ROW_LOST;
    return to == WALK_ON ? ENDLESS : IS_SLOW;
}
