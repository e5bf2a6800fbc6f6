/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a mark begins.
 */
#include "leak/roots.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>

#include "leak/peek.h"
#include "leak/present.h"
#include "leak/red_zone.h"
#include "leak/stack_extent.h"
#include "unwind/own.h"
#include "sys/maps.h"
#include "sys/owned.h"
#include "sys/rawcall.h"

#define BUFFER ((size_t)64 << 10)
#define TCB_SPAN                                                                                   \
    ((uintptr_t)64 << 10) /* libc's descriptor and static TLS stand within so much of a            \
                             stack's end, as a rule */
#define TCB_ALIGN 64
#define VARIABLES                                                                                  \
    ((uintptr_t)8 << 10) /* static ones, and the descriptor: how far a thread's reach */

/* What all steps share; too large for a stack. */
struct work {
    struct mark *m;
    const struct roots *roots;
    struct roots_report *report;
    struct maps_reader maps;
    struct present present;
    size_t nowned;
    struct owned_range owned[OWNED_MAX];
    struct root_region own_data;
    struct root_place place; /* of what is being read */
    uintptr_t file_end;      /* where the last mapping of a file's data ended: bss may follow */
    size_t extents;          /* where descriptors tell of stacks, see stack_extent_learn */
    bool main_stack;         /* the mapping is the first thread's stack */
    uint64_t buffer[BUFFER / sizeof(uint64_t)];
    struct stack_extent known[]; /* of each thread; hi 0: is not known */
};

/* Whole pages of the library's data and bss. */
static struct root_region find_own_data(void) {
    struct own_range data = own_segments(PF_W);
    return (struct root_region){align_down(data.start, PHYS_PAGE_SIZE),
                                align_up(data.end, PHYS_PAGE_SIZE)};
}

/* ---- reading ------------------------------------------------------------------------------- */

static void mark_bytes(struct work *w, uintptr_t address, const void *p, size_t n) {
    const struct root_reader *reader = w->roots->reader;
    w->report->kind[w->place.kind].bytes += n;
    w->place.address = address;
    if (reader != NULL)
        reader->words(reader->arg, &w->place, p, n);
    else
        w->report->kind[w->place.kind].objects += mark_root(w->m, p, n);
}

/* A word that spans two buffers is seen only where words are looked for at multiples of 8. */
static void mark_present(struct work *w, uintptr_t start, uintptr_t end) {
    while (start < end) {
        size_t n = end - start < BUFFER ? end - start : BUFFER;
        size_t got = peek(w->buffer, start, n);
        mark_bytes(w, start, w->buffer, got);
        start += got;
        if (got == n)
            continue;
        uintptr_t next = align_up(start + 1, PHYS_PAGE_SIZE); /* the page that begins at start */
        next = next < end ? next : end;
        w->report->unreadable_bytes += next - start;
        start = next;
    }
}

static bool is_wanted(const struct roots *r, enum root_kind kind) {
    return r->kinds == 0 || (r->kinds >> kind & 1) != 0;
}

static void mark_range(struct work *w, enum root_kind kind, uintptr_t start, uintptr_t end) {
    uintptr_t from = start, to;
    if (!is_wanted(w->roots, kind))
        return;
    w->report->kind[kind].ranges++;
    w->place = (struct root_place){.kind = kind, .start = start, .end = end};
    while (present_next(&w->present, &from, end, &to)) {
        mark_present(w, from, to);
        from = to;
    }
}

/* ---- stacks -------------------------------------------------------------------------------- */

static bool is_living(const struct roots *r, uintptr_t tp) {
    for (size_t i = 0; i < r->nthreads; i++)
        if (r->threads[i].tp == tp)
            return true;
    return false;
}

/* descriptor_in returns the pointer of a living thread whose descriptor and static variables lie
 * there, 0: none: those of the first thread are not beside a stack, nor are those of a thread that
 * runs on another. */
static uintptr_t descriptor_in(const struct roots *r, uintptr_t start, uintptr_t end) {
    for (size_t i = 0; i < r->nthreads; i++)
        if (r->threads[i].tp >= start && r->threads[i].tp < end)
            return r->threads[i].tp;
    return 0;
}

/* find_descriptor looks for libc's descriptor of a thread in n bytes read from an address: its
 * first and third words are its own address. */
static uintptr_t find_descriptor(const struct work *w, uintptr_t start, size_t n) {
    for (size_t at = n & ~(size_t)(TCB_ALIGN - 1); at >= TCB_ALIGN;) {
        at -= TCB_ALIGN;
        const uint64_t *p = &w->buffer[at / sizeof(uint64_t)];
        if (p[0] == start + at && p[2] == start + at)
            return start + at;
    }
    return 0;
}

/* dead_descriptor returns the descriptor of a thread that has ended, or of the one that marks,
 * whose stack ends where the range does; 0: there is none. */
static uintptr_t dead_descriptor(struct work *w, uintptr_t start, uintptr_t end) {
    uintptr_t from = end - start > TCB_SPAN ? end - TCB_SPAN : start;
    size_t n = peek(w->buffer, from, end - from);
    uintptr_t tcb = find_descriptor(w, from, n);
    if (tcb == 0 || is_living(w->roots, tcb))
        return 0;
    return !w->roots->some_missing || tcb == w->roots->self_tp ? tcb : 0;
}

/* find_extents asks for them once: stacks without guards may be one mapping, in which all threads
 * are looked at for each of them. */
static void find_extents(struct work *w) {
    w->extents = stack_extent_learn(w->roots);
    for (size_t i = 0; i < w->roots->nthreads; i++) {
        const struct root_thread *t = &w->roots->threads[i];
        struct stack_extent *x = &w->known[i];
        bool known = stack_extent_of(w->extents, t, x);
        if (!known)
            *x = (struct stack_extent){.hi = 0};
        x->nested = stack_extent_nested(t, w->roots->tls_bytes, !known);
        if (known && x->nested)
            x->live = x->lo;
    }
}

/* guess_extent tells of a stack of which nothing is known: it is taken for all from the stack
 * pointer on.  Where libc tells of none, a mapping that has a thread's descriptor is its stack. */
static struct stack_extent guess_extent(const struct work *w, size_t i, uintptr_t start,
                                        uintptr_t end) {
    const struct root_thread *t = &w->roots->threads[i];
    bool alone = w->main_stack || (w->extents == 0 && t->tp > t->sp && t->tp < end);
    uintptr_t live = red_zone_begin(start, t->sp);
    if (w->main_stack && w->known[i].nested)
        live = start;
    return (struct stack_extent){.lo = alone ? start : live, .live = live, .hi = end};
}

/* extent_in returns the lowest stack of a thread in [start, end) of a mapping.  Amid variables one
 * of which nothing is known is like them.  False: there is none. */
static bool extent_in(const struct work *w, enum root_kind kind, uintptr_t start, uintptr_t end,
                      struct stack_extent *ret) {
    bool found = false;
    for (size_t i = 0; i < w->roots->nthreads; i++) {
        const struct root_thread *t = &w->roots->threads[i];
        struct stack_extent x = w->known[i];
        if (t->sp < start || t->sp >= end || (x.hi == 0 && kind != ROOT_MAPPED))
            continue;
        if (x.hi == 0)
            x = guess_extent(w, i, start, end);
        if (!found || x.lo < ret->lo)
            *ret = x;
        found = true;
    }
    return found;
}

/* ---- mappings ------------------------------------------------------------------------------ */

/* mark_mapped marks from memory that no thread's stack pointer is in.  Variables of a thread may be
 * there, and what the kernel has made one mapping with them. */
static void mark_mapped(struct work *w, uintptr_t start, uintptr_t end) {
    uintptr_t tp = descriptor_in(w->roots, start, end);
    if (!w->roots->mapped && tp != 0)
        mark_range(w, ROOT_STACK, start, end);
    if (!w->roots->mapped)
        return;
    uintptr_t lo = tp == 0 ? end : tp - start > VARIABLES ? tp - VARIABLES : start;
    uintptr_t hi = tp == 0 || end - tp < VARIABLES ? end : tp + VARIABLES;
    if (start < lo)
        mark_range(w, ROOT_MAPPED, start, lo);
    if (lo < hi)
        mark_range(w, ROOT_STACK, lo, hi);
    if (hi < end)
        mark_range(w, ROOT_MAPPED, hi, end);
}

/* mark_between marks from what no thread is on.  Of the stack of one that has ended what the
 * descriptor has stays with it: the table of dynamic thread-local variables, the result for who
 * joins. */
static void mark_between(struct work *w, enum root_kind kind, uintptr_t start, uintptr_t end) {
    while (kind == ROOT_MAPPED && start < end) {
        uintptr_t tcb = dead_descriptor(w, start, end);
        uintptr_t lo = tcb == 0 ? 0 : w->extents == 0 ? start : stack_extent_dead(w->extents, tcb);
        if (lo == 0)
            break;
        w->report->dead_stacks += tcb != w->roots->self_tp;
        mark_range(w, ROOT_STACK, tcb, end);
        end = lo > start ? lo : start;
    }
    if (start >= end)
        return;
    if (kind != ROOT_MAPPED)
        mark_range(w, kind, start, end);
    else
        mark_mapped(w, start, end);
}

/* mark_piece marks from a piece of a mapping that is the program's. */
static void mark_piece(struct work *w, enum root_kind kind, uintptr_t start, uintptr_t end) {
    struct stack_extent x;
    while (start < end && extent_in(w, kind, start, end, &x)) {
        uintptr_t lo = x.lo > start ? x.lo : start;
        uintptr_t live = x.live > start ? x.live : start;
        uintptr_t hi = x.hi < end ? x.hi : end;
        if (start < lo)
            mark_between(w, kind, start, lo);
        mark_range(w, ROOT_STACK, align_up(live, sizeof(uint64_t)), hi);
        start = hi;
    }
    if (start < end)
        mark_between(w, kind, start, end);
}

/* first_owned returns the number of the first range of the library's that ends behind p. */
static size_t first_owned(const struct work *w, uintptr_t p) {
    size_t lo = 0, hi = w->nowned;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (w->owned[mid].end <= p)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* mark_mapping marks from what is not the library's of a mapping. */
static void mark_mapping(struct work *w, enum root_kind kind, uintptr_t start, uintptr_t end) {
    for (size_t i = first_owned(w, start); start < end; i++) {
        bool more = i < w->nowned && w->owned[i].start < end;
        uintptr_t to = more ? w->owned[i].start : end;
        if (start < to)
            mark_piece(w, kind, start, to);
        start = more ? w->owned[i].end : end;
    }
}

/* mark_around marks from what is not the library's own data either.  What the program maps right
 * behind that is one mapping with it. */
static void mark_around(struct work *w, enum root_kind kind, uintptr_t start, uintptr_t end) {
    const struct root_region *own = &w->own_data;
    if (own->end <= start || own->start >= end) {
        mark_mapping(w, kind, start, end);
        return;
    }
    if (start < own->start)
        mark_mapping(w, kind, start, own->start);
    if (own->end < end)
        mark_mapping(w, kind, own->end, end);
}

/* mark_named marks from what the program has named of a mapping.  Of shared memory a copy of the
 * process has no page until it reads it. */
static void mark_named(struct work *w, const struct maps_line *l) {
    for (size_t i = 0; is_wanted(w->roots, ROOT_REGION) && i < w->roots->nregions; i++) {
        uintptr_t start = align_up(w->roots->regions[i].start, sizeof(uint64_t));
        uintptr_t end = w->roots->regions[i].end;
        start = start > l->start ? start : l->start;
        end = end < l->end ? end : l->end;
        if (start >= end)
            continue;
        if (!l->shared) {
            mark_range(w, ROOT_REGION, start, end);
            continue;
        }
        w->report->kind[ROOT_REGION].ranges++;
        w->place = (struct root_place){.kind = ROOT_REGION, .start = start, .end = end};
        mark_present(w, start, end);
    }
}

/* is_kernels tells whether the mapping is code and clocks of the kernel's: [vdso], [vvar]. */
static bool is_kernels(const struct maps_line *l) {
    return l->path_len > 2 && l->path[0] == '[' && l->path[1] == 'v';
}

/* What may not be written now may have been before: tables that a program makes at its start and
 * protects then, constants of a compiler at run time.  Of a file's such mappings only changed pages
 * are read; the others are code and constants. */
static void mark_line(struct work *w, const struct maps_line *l) {
    bool file = l->inode != 0;
    bool bss = !file && l->path_len == 0 && l->start == w->file_end;
    if (file && !l->shared)
        w->file_end = l->end;
    mark_named(w, l);
    /* A file that is shared may be huge, and other processes write it. */
    if ((l->prot & PROT_READ) == 0 || (file && l->shared) || is_kernels(l))
        return;
    w->main_stack = maps_path_is(l, "[stack]");
    w->present.changed = file && (l->prot & PROT_WRITE) == 0;
    mark_around(w, file || bss ? ROOT_DATA : ROOT_MAPPED, l->start, l->end);
    w->present.changed = false;
}

static bool mark_mappings(struct work *w) {
    struct maps_line line;
    if (!maps_open(&w->maps))
        return false;
    while (maps_next(&w->maps, &line))
        mark_line(w, &line);
    maps_close(&w->maps);
    return !w->maps.failed;
}

/* ---- stacks of the heap's -------------------------------------------------------------------- */

/* mark_coroutine marks from one that the program has: the part in use, if a thread is on it.  Of
 * one at rest that is not known. */
static void mark_coroutine(struct work *w, uintptr_t start, uintptr_t end) {
    uintptr_t live = 0;
    for (size_t i = 0; i < w->roots->nthreads; i++) {
        uintptr_t sp = w->roots->threads[i].sp;
        if (sp >= start && sp < end && (live == 0 || sp < live))
            live = sp;
    }
    if (live == 0)
        mark_range(w, ROOT_MAPPED, start, end);
    else
        mark_range(w, ROOT_STACK, align_up(red_zone_begin(start, live), sizeof(uint64_t)), end);
}

/* mark_coroutines marks from stacks of gomalloc_stack_alloc, which no object leads to. */
static void mark_coroutines(struct work *w) {
    uint32_t n = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        const struct mspan *s = mheap_.allspans[i];
        if (atomic_load_explicit(&s->state, memory_order_relaxed) != GOMALLOC_SPAN_MANUAL)
            continue;
        size_t bytes = mspan_elem_bytes(s); /* a guard's, too: then there is one stack */
        uint64_t live = mspan_live_word(s, 0);
        for (size_t slot = 0; slot < s->nelems && slot < 64; slot++)
            if ((live >> slot & 1) != 0)
                mark_coroutine(w, s->base + slot * bytes + s->guard, s->base + (slot + 1) * bytes);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

/* mark_dtv keeps a thread's table of dynamic thread-local variables: libc has the address of its
 * second entry, whatever the program's pointers are. */
static void mark_dtv(struct work *w, uintptr_t tp) {
    const struct root_reader *reader = w->roots->reader;
    uintptr_t words[2] = {0, 0};
    if (tp == 0 || !is_wanted(w->roots, ROOT_STACK) ||
        peek(words, tp, sizeof words) != sizeof words)
        return;
    const struct root_place at = {.kind = ROOT_STACK,
                                  .always = true,
                                  .address = tp + sizeof words[0],
                                  .start = tp,
                                  .end = tp + sizeof words};
    if (reader != NULL)
        reader->words(reader->arg, &at, &words[1], sizeof words[1]);
    else
        mark_keep(w->m, words[1]);
}

static void mark_threads(struct work *w) {
    for (size_t i = 0; i < w->roots->nthreads; i++) {
        const struct root_thread *t = &w->roots->threads[i];
        mark_range(w, ROOT_REGISTER, align_up(t->regs_lo, sizeof(uint64_t)), t->regs_hi);
        mark_dtv(w, t->tp);
    }
}

bool roots_mark(struct mark *m, const struct roots *r, struct roots_report *ret) {
    size_t bytes =
        align_up(sizeof(struct work) + r->nthreads * sizeof(struct stack_extent), PHYS_PAGE_SIZE);
    struct work *w = mem_alloc(bytes, MEM_AGENT);
    *ret = (struct roots_report){.unknown = owned_lost()};
    if (w == NULL)
        return false;
    w->m = m;
    w->roots = r;
    w->report = ret;
    w->own_data = find_own_data();
    find_extents(w);
    w->nowned = owned_list(w->owned, OWNED_MAX);
    present_open(&w->present);
    mark_threads(w);
    mark_coroutines(w);
    bool ok = mark_mappings(w);
    ret->no_mappings = !ok;
    present_close(&w->present);
    mem_free(w, bytes, MEM_AGENT, 0, 0);
    return ok;
}
