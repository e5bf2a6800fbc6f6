/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What words on stacks and in registers alone keep.
 *
 * The roots are read twice.  A stack ends where its outermost frame does: behind it are the
 * thread's variables, and what the kernel has made one mapping with it.  Where the frames of a
 * thread cannot be told, all up to its variables counts as its stack.
 */
#include "leak/held.h"

#include <string.h>
#include <ucontext.h>

struct search {
    struct mark *m;
    const struct roots *roots;
    struct held *held;
    bool stacks;                       /* the second reading */
    struct root_place range;           /* of which `end` is known */
    uintptr_t end;                     /* address: of the stacks in it */
    uint64_t objects[ROOT_REGION + 1]; /* as roots_report.kind.objects */
};

/* ---- the words ----------------------------------------------------------------------------- */

/* place_frames tells in whose frames the words on stacks are.  Those of a stack are in the order of
 * addresses, so that each thread's frames are gone through once. */
static void place_frames(const struct roots *roots, struct held *h) {
    const struct root_thread *on = NULL;
    struct why_frames f;
    bool more = false;
    for (size_t i = 0; i < h->n; i++) {
        struct why_place *p = &h->all[i].place;
        const struct root_place range = {.kind = p->kind, .start = p->start, .end = p->end};
        const struct root_thread *t =
            p->kind == ROOT_STACK ? why_place_thread(roots, &range, p->word) : NULL;
        if (t == NULL)
            continue;
        if (t != on)
            more = why_frames_begin(&f, t, p->end) && why_frames_next(&f);
        while (more && p->word >= f.limit)
            more = why_frames_next(&f);
        on = t;
        p->tid = t->tid;
        p->pc = more ? f.pc : 0;
    }
}

static void note(struct search *s, const struct root_place *at, uintptr_t word, uintptr_t object,
                 const struct mark *before) {
    struct held *h = s->held;
    uint64_t objects = s->m->nreached - before->nreached;
    uint64_t bytes = s->m->reached_bytes - before->reached_bytes;
    h->objects += objects;
    h->bytes += bytes;
    if (h->n == HELD_MAX)
        return;
    struct held_word *w = &h->all[h->n++];
    *w = (struct held_word){.object = object, .objects = objects, .bytes = bytes};
    if (at->kind == ROOT_REGISTER)
        w->place = why_place_root(s->roots, at, word);
    else
        w->place =
            (struct why_place){.kind = at->kind, .word = word, .start = at->start, .end = at->end};
}

/* consider follows a word to the end, if it leads to something new. */
static void consider(struct search *s, const struct root_place *at, uintptr_t word, uintptr_t v) {
    size_t bytes;
    bool scan;
    struct mark *m = s->m;
    if (gm_likely(v - m->lo >= m->size))
        return;
    uintptr_t object = mark_find(m, v, &bytes, &scan);
    if (object == 0 || (object != v && !m->options.interior) || !mark_is_unseen(m, object))
        return;
    const struct mark before = {.nreached = m->nreached, .reached_bytes = m->reached_bytes};
    mark_keep(m, object);
    mark_all(m);
    s->objects[at->kind]++;
    note(s, at, word, object, &before);
}

/* ---- where stacks end ---------------------------------------------------------------------- */

/* outermost returns where the outermost frame of a thread on this stack ends; UINTPTR_MAX: that is
 * not known.  A signal's handler may have been called from another stack: then it is the frame that
 * the kernel has made for it. */
static uintptr_t outermost(const struct root_thread *t, uintptr_t end) {
    struct why_frames f;
    uintptr_t limit = t->sp;
    if (!why_frames_begin(&f, t, end))
        return UINTPTR_MAX;
    while (why_frames_next(&f))
        limit = f.limit;
    if (f.step == WALK_ON)
        return f.walk.interrupted ? limit + sizeof(ucontext_t) : UINTPTR_MAX;
    return f.step == WALK_END ? f.limit : UINTPTR_MAX;
}

/* find_end returns where the stacks in a range of ROOT_STACK end; its start or less: it has none.
 */
static uintptr_t find_end(const struct roots *r, const struct root_place *range) {
    uintptr_t variables = why_place_variables(r, range), end = 0;
    for (size_t i = 0; i < r->nthreads; i++) {
        const struct root_thread *t = &r->threads[i];
        uintptr_t mine = t->sp >= range->start && t->sp < range->end ? outermost(t, range->end) : 0;
        end = mine > end ? mine : end;
    }
    return end < variables ? end : variables;
}

/* ---- reading the roots --------------------------------------------------------------------- */

static size_t split(struct search *s, const struct root_place *at, size_t n) {
    if (at->kind != ROOT_STACK)
        return at->kind == ROOT_REGISTER ? n : 0;
    if (at->start != s->range.start || at->end != s->range.end) {
        s->range = *at;
        s->end = find_end(s->roots, at);
    }
    if (s->end <= at->address)
        return 0;
    return s->end - at->address < n ? s->end - at->address : n;
}

static void read_first(struct search *s, const struct root_place *at, const char *p, size_t n) {
    size_t stack = at->always ? 0 : split(s, at, n);
    uintptr_t v;
    if (!at->always) {
        s->objects[at->kind] += mark_root(s->m, p + stack, n - stack);
        return;
    }
    memcpy(&v, p, sizeof v);
    mark_keep(s->m, v);
}

static void read_stack(struct search *s, const struct root_place *at, const char *p, size_t n) {
    size_t stack = split(s, at, n);
    size_t step = s->m->options.unaligned ? 1 : sizeof(uintptr_t);
    s->m->nwords += stack / sizeof(uintptr_t);
    for (size_t i = 0; i + sizeof(uintptr_t) <= stack; i += step) {
        uintptr_t v;
        memcpy(&v, p + i, sizeof v);
        consider(s, at, at->address + i, v);
    }
}

static void read_words(void *arg, const struct root_place *at, const void *p, size_t n) {
    struct search *s = arg;
    if (!s->stacks)
        read_first(s, at, p, n);
    else if (!at->always)
        read_stack(s, at, p, n);
}

/* ---- the mark ------------------------------------------------------------------------------ */

/* read_roots reads those of some kinds (0: all), and follows them. */
static bool read_roots(struct search *s, unsigned kinds, struct roots_report *ret) {
    const struct root_reader reader = {read_words, s};
    struct roots roots = *s->roots;
    roots.reader = &reader;
    roots.kinds = kinds;
    return roots_mark(s->m, &roots, ret) && mark_all(s->m);
}

bool held_mark(struct mark *m, const struct roots *r, struct roots_report *ret_roots,
               struct held *ret) {
    struct roots roots = *r;
    struct roots_report again;
    struct search s = {.m = m, .roots = &roots, .held = ret};
    *ret = (struct held){.taken = align_up(HELD_MAX * sizeof *ret->all, PHYS_PAGE_SIZE)};
    ret->all = mem_alloc_sparse(ret->taken, MEM_AGENT);
    if (ret->all == NULL)
        return false;
    roots.tls_bytes = why_place_tls(r);
    bool ok = read_roots(&s, 0, ret_roots);
    s.stacks = true;
    s.range = (struct root_place){.start = 0};
    ok = ok && read_roots(&s, 1u << ROOT_STACK | 1u << ROOT_REGISTER, &again);
    for (unsigned i = 0; i <= ROOT_REGION; i++)
        ret_roots->kind[i].objects = s.objects[i];
    if (ok)
        place_frames(&roots, ret);
    else
        held_free(ret);
    return ok;
}

void held_free(struct held *h) {
    if (h->all != NULL)
        mem_free(h->all, h->taken, MEM_AGENT, 0, h->taken);
    *h = (struct held){.n = 0};
}
