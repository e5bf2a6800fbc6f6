/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why an object lives.
 *
 * The queue of the search is never taken from but only gone along: an entry is an object and the
 * number of the entry that led to it, or the address of the root's word; so the queue is the table
 * of parents, too, and a chain is followed backwards in it.  16 bytes for each object that may hold
 * pointers.  It is reserved as a whole before the roots are read: what would be mapped later might
 * be taken for the program's, and searched.
 */
#include "leak/why.h"

#include <string.h>

#include "leak/ignore.h"
#include "unwind/stackmem.h"

#define FROM_ROOT  (UINT64_C(1) << 63) /* in entry.from: the rest is the address of a word */
#define NOBODY     (FROM_ROOT - 1)     /* in entry.from: the chain begins here */
#define NOT_FOUND  SIZE_MAX
#define MAX_RANGES 65536
#define AHEAD      8 /* entries whose first lines are being fetched */

struct entry {
    uintptr_t object;
    uint64_t from; /* number of an entry, FROM_ROOT | address, or NOBODY */
};

struct search {
    struct mark *m;
    struct why *why;
    const struct roots *roots;
    struct entry *queue;
    size_t n, at; /* entries in all; the next one to be looked into */
    size_t queue_bytes;
    struct root_place *ranges; /* read in this round: MAX_RANGES */
    size_t nranges;
    uintptr_t variables; /* where variables of a thread begin in the last of the ranges */
    bool stacks;         /* of ROOT_STACK this round reads stacks; else variables */
    size_t ranges_bytes;
    size_t step;   /* bytes between words */
    size_t found;  /* the object's entry, or NOT_FOUND */
    bool counting; /* who points to the object */
};

/* ---- following pointers -------------------------------------------------------------------- */

/* keeps tells whether the word keeps an object that begins at p. */
static bool keeps(const struct search *s, uintptr_t v, uintptr_t p, bool always) {
    return p != 0 && (p == v || always || s->m->options.interior);
}

/* consider puts what v leads to, if that is new, at the queue's end. */
static void consider(struct search *s, uintptr_t v, uint64_t from, bool always) {
    size_t bytes;
    bool scan;
    if (v - s->m->lo >= s->m->size)
        return;
    uintptr_t p = mark_find(s->m, v, &bytes, &scan);
    if (!keeps(s, v, p, always) || !mark_take(s->m, p))
        return;
    bool wanted = p == s->why->object.start;
    if (wanted)
        s->found = s->n;
    if (scan || wanted)
        s->queue[s->n++] = (struct entry){p, from};
}

/* leads_there tells whether a word is counted: it points to the object that is asked for. */
static bool leads_there(const struct search *s, uintptr_t v, bool always) {
    const struct why_object *o = &s->why->object;
    return v - o->start < o->bytes && s->counting && keeps(s, v, o->start, always);
}

static void note_range(struct search *s, const struct root_place *at) {
    struct root_place *next = s->ranges + s->nranges;
    if (s->nranges != 0 && next[-1].start == at->start && next[-1].end == at->end)
        return;
    s->variables = at->kind == ROOT_STACK ? why_place_variables(s->roots, at) : at->end;
    if (s->nranges == MAX_RANGES)
        return;
    *next = *at;
    s->nranges++;
}

static void read_root(struct search *s, const struct root_place *at, const char *p, size_t i) {
    uintptr_t v;
    memcpy(&v, p + i, sizeof v);
    consider(s, v, FROM_ROOT | (at->address + i), at->always);
    if (gm_unlikely(leads_there(s, v, at->always)))
        why_referrer_root(&s->why->referrers, s->roots, at, at->address + i >= s->variables,
                          at->address + i, v);
}

static void scan_root(void *arg, const struct root_place *at, const void *p, size_t n) {
    struct search *s = arg;
    note_range(s, at);
    s->m->nwords += n / sizeof(uintptr_t);
    for (size_t i = 0; i + sizeof(uintptr_t) <= n; i += s->step)
        if (at->kind != ROOT_STACK || (at->address + i < s->variables) == s->stacks)
            read_root(s, at, p, i);
}

static void note_object(struct search *s, uintptr_t object, size_t bytes, uintptr_t word,
                        bool leaked) {
    uintptr_t v;
    memcpy(&v, (const void *)word, sizeof v);
    const struct why_place at = why_place_object(object, bytes, word);
    if (object != s->why->object.start) /* a list's head may point to itself */
        why_referrer_object(&s->why->referrers, &at, v, leaked);
}

/* scan_object looks through the object of an entry. */
static void scan_object(struct search *s, size_t entry) {
    uintptr_t object = s->queue[entry].object;
    size_t bytes = 0;
    bool scan = false;
    mark_find(s->m, object, &bytes, &scan);
    s->m->nwords += scan ? bytes / sizeof(uintptr_t) : 0;
    for (size_t i = 0; scan && i + sizeof(uintptr_t) <= bytes; i += s->step) {
        uintptr_t v;
        memcpy(&v, (const char *)object + i, sizeof v);
        consider(s, v, entry, false);
        if (gm_unlikely(leads_there(s, v, false)))
            note_object(s, object, bytes, object + i, false);
    }
}

static void follow(struct search *s) {
    for (; s->at < s->n; s->at++) {
        if (s->at + AHEAD < s->n)
            __builtin_prefetch((const void *)s->queue[s->at + AHEAD].object);
        scan_object(s, s->at);
    }
}

/* count_leaked counts the words in objects that nothing leads to. */
static void count_leaked(struct search *s) {
    for (uintptr_t p = mark_next_unseen(s->m, 0); p != 0; p = mark_next_unseen(s->m, p + 1)) {
        size_t bytes = 0;
        bool scan = false;
        mark_find(s->m, p, &bytes, &scan);
        for (size_t i = 0; scan && i + sizeof(uintptr_t) <= bytes; i += s->step) {
            uintptr_t v;
            memcpy(&v, (const char *)p + i, sizeof v);
            if (gm_unlikely(leads_there(s, v, false)))
                note_object(s, p, bytes, p + i, true);
        }
    }
}

/* ---- the chain ----------------------------------------------------------------------------- */

/* tell_object tells of an object, and of the first word in it that leads to the next; 0: none. */
static void tell_object(const struct search *s, struct why_step *step, uintptr_t object,
                        uintptr_t next) {
    size_t bytes = 0, next_bytes = 0;
    bool scan;
    mark_find(s->m, object, &bytes, &scan);
    step->place = why_place_object(object, bytes, 0);
    if (next == 0)
        return;
    mark_find(s->m, next, &next_bytes, &scan);
    for (size_t i = 0; i + sizeof(uintptr_t) <= bytes; i += s->step) {
        memcpy(&step->value, (const char *)object + i, sizeof step->value);
        if (step->value - next < next_bytes && keeps(s, step->value, next, false)) {
            step->place.word = object + i;
            return;
        }
    }
}

static void tell_root(const struct search *s, struct why_step *step, uintptr_t word) {
    const struct root_place *range = NULL;
    struct stackmem memory = {0};
    for (size_t i = 0; i < s->nranges && range == NULL; i++)
        if (word >= s->ranges[i].start && word < s->ranges[i].end)
            range = &s->ranges[i];
    const struct root_place unknown = {.kind = ROOT_MAPPED, .start = word, .end = word};
    step->place = why_place_root(s->roots, range != NULL ? range : &unknown, word);
    if (!stackmem_load(&memory, word, &step->value))
        step->value = 0;
}

/* new_step returns where a step is told; NULL: nowhere, it is in the middle of a long chain. */
static struct why_step *new_step(struct why *y, uint64_t number) {
    uint64_t left = y->length - number; /* this one included */
    if (number >= WHY_ENDS && left > WHY_ENDS)
        return NULL;
    struct why_step *step = &y->steps[number < WHY_ENDS ? number : y->nsteps - left];
    step->number = number;
    return step;
}

static uint64_t count_steps(const struct search *s) {
    uint64_t n = 1, from;
    for (size_t i = s->found; (from = s->queue[i].from) < NOBODY; i = from)
        n++;
    return from != NOBODY ? n + 1 : n;
}

/* tell_chain writes down how the search has come to the object, from the end to the beginning. */
static void tell_chain(struct search *s) {
    struct why *y = s->why;
    uint64_t from = s->found, number;
    uintptr_t next = 0;
    number = y->length = count_steps(s);
    y->nsteps = (uint32_t)(y->length < 2 * WHY_ENDS ? y->length : 2 * WHY_ENDS);
    while (from < NOBODY) {
        const struct entry *e = &s->queue[from];
        struct why_step *step = new_step(y, --number);
        if (step != NULL)
            tell_object(s, step, e->object, next);
        next = e->object;
        from = e->from;
    }
    if (from != NOBODY)
        tell_root(s, new_step(y, 0), from & ~FROM_ROOT);
}

/* ---- the search ---------------------------------------------------------------------------- */

static void add_report(struct roots_report *to, const struct roots_report *r) {
    for (unsigned i = 0; i <= ROOT_REGION; i++) {
        to->kind[i].ranges += r->kind[i].ranges;
        to->kind[i].bytes += r->kind[i].bytes;
    }
    to->unreadable_bytes += r->unreadable_bytes;
    to->dead_stacks = r->dead_stacks;
    to->unknown = r->unknown;
    to->no_mappings |= r->no_mappings;
}

/* search_from follows what the roots of some kinds, those of one round, lead to. */
static bool search_from(struct search *s, unsigned kinds, struct roots_report *report) {
    struct roots roots = *s->roots;
    struct roots_report part;
    const struct root_reader reader = {scan_root, s};
    bool had = s->found != NOT_FOUND;
    roots.kinds = kinds;
    roots.reader = &reader;
    s->nranges = 0;
    bool ok = roots_mark(s->m, &roots, &part);
    add_report(report, &part);
    follow(s);
    if (ok && !had && s->found != NOT_FOUND)
        tell_chain(s);
    return ok;
}

static uintptr_t head_of(const struct leaks *l, uintptr_t object) {
    for (size_t i = 0; i < l->n; i++)
        if (l->all[i].address == object)
            return l->all[l->all[i].head].address;
    return 0;
}

/* search_leaked finds what the object was lost with, and how that leads to it. */
static void search_leaked(struct search *s, struct leaks *ret) {
    struct why *y = s->why;
    uint64_t nreached = s->m->nreached;
    y->object.state = WHY_LEAKED;
    if (!leaks_find(s->m, ret))
        return;
    y->head = head_of(ret, y->object.start);
    s->counting = false;
    s->n = s->at = 0;
    consider(s, y->head, NOBODY, true);
    follow(s);
    s->m->nreached = nreached;
    if (s->found != NOT_FOUND)
        tell_chain(s);
}

static void visit_ignored(void *arg, uintptr_t object) {
    consider(arg, object, NOBODY, true);
}

/* search_ignored follows what the program ignores. */
static void search_ignored(struct search *s) {
    ignore_each(visit_ignored, s);
    follow(s);
    if (s->found == NOT_FOUND)
        return;
    s->why->object.state = WHY_IGNORED;
    tell_chain(s);
}

static bool search(struct search *s, struct roots_report *report, struct leaks *leaks) {
    static const unsigned rounds[] = {1u << ROOT_DATA | 1u << ROOT_REGION | 1u << ROOT_STACK,
                                      1u << ROOT_STACK | 1u << ROOT_REGISTER, 1u << ROOT_MAPPED};
    bool ok = true;
    s->counting = true;
    for (size_t i = 0; ok && i < sizeof rounds / sizeof rounds[0]; i++) {
        s->stacks = i == 1;
        ok = search_from(s, rounds[i], report);
    }
    if (ok && s->found == NOT_FOUND)
        search_ignored(s);
    if (ok)
        count_leaked(s);
    if (ok && s->found == NOT_FOUND)
        search_leaked(s, leaks);
    return ok;
}

bool why_ask(struct mark *m, const struct roots *r, uintptr_t address, struct why *ret,
             struct roots_report *ret_roots, struct leaks *ret_leaks) {
    struct roots roots = *r;
    struct search s = {.m = m, .why = ret, .roots = &roots, .found = NOT_FOUND};
    ret->asked = address;
    ret->object = why_address(address);
    if (ret->object.state != WHY_REACHABLE)
        return true;
    roots.tls_bytes = why_place_tls(r);
    s.step = m->options.unaligned ? 1 : sizeof(uintptr_t);
    s.queue_bytes = align_up((m->nlive + 1) * sizeof *s.queue, PHYS_PAGE_SIZE);
    s.ranges_bytes = align_up(MAX_RANGES * sizeof *s.ranges, PHYS_PAGE_SIZE);
    s.queue = mem_alloc_sparse(s.queue_bytes, MEM_AGENT);
    s.ranges = mem_alloc_sparse(s.ranges_bytes, MEM_AGENT);
    bool ok = s.queue != NULL && s.ranges != NULL && search(&s, ret_roots, ret_leaks);
    if (s.queue != NULL)
        mem_free(s.queue, s.queue_bytes, MEM_AGENT, 0, s.queue_bytes);
    if (s.ranges != NULL)
        mem_free(s.ranges, s.ranges_bytes, MEM_AGENT, 0, s.ranges_bytes);
    return ok;
}
