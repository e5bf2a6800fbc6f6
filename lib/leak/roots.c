/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a mark begins.
 */
#include "leak/roots.h"

#include <elf.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "leak/present.h"
#include "unwind/own.h"
#include "sys/maps.h"
#include "sys/owned.h"
#include "sys/rawcall.h"

#define BUFFER   ((size_t)64 << 10)
#define RED_ZONE 128
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
    uint64_t buffer[BUFFER / sizeof(uint64_t)];
};

/* Whole pages of the library's data and bss. */
static struct root_region find_own_data(void) {
    struct own_range data = own_segments(PF_W);
    return (struct root_region){align_down(data.start, PHYS_PAGE_SIZE),
                                align_up(data.end, PHYS_PAGE_SIZE)};
}

/* ---- reading ------------------------------------------------------------------------------- */

/* copy reads memory of this process that may not be there; returns the bytes had. */
static size_t copy(void *to, uintptr_t from, size_t n) {
    struct iovec local = {to, n};
    struct iovec remote = {(void *)from, n};
    long pid = sys_call3(SYS_getpid, 0, 0, 0);
    long r = sys_call6(SYS_process_vm_readv, pid, (long)&local, 1, (long)&remote, 1, 0);
    return r > 0 ? (size_t)r : 0;
}

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
        size_t got = copy(w->buffer, start, n);
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

/* lowest_sp returns the lowest stack pointer in [start, end), 0: none. */
static uintptr_t lowest_sp(const struct roots *r, uintptr_t start, uintptr_t end) {
    uintptr_t lowest = 0;
    for (size_t i = 0; i < r->nthreads; i++) {
        uintptr_t sp = r->threads[i].sp;
        if (sp >= start && sp < end && (lowest == 0 || sp < lowest))
            lowest = sp;
    }
    return lowest;
}

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

/* is_dead_stack tells whether the range is the stack of a thread that has ended, or of the one that
 * marks. */
static bool is_dead_stack(struct work *w, uintptr_t start, uintptr_t end, uintptr_t *ret_tcb) {
    uintptr_t from = end - start > TCB_SPAN ? end - TCB_SPAN : start;
    size_t n = copy(w->buffer, from, end - from);
    uintptr_t tcb = find_descriptor(w, from, n);
    if (tcb == 0 || is_living(w->roots, tcb))
        return false;
    *ret_tcb = tcb;
    return !w->roots->some_missing || tcb == w->roots->self_tp;
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

/* mark_piece marks from a piece of a mapping that is the program's. */
static void mark_piece(struct work *w, enum root_kind kind, uintptr_t start, uintptr_t end) {
    uintptr_t sp = lowest_sp(w->roots, start, end);
    if (sp != 0) {
        uintptr_t from = sp - start > RED_ZONE ? sp - RED_ZONE : start;
        mark_range(w, ROOT_STACK, align_up(from, sizeof(uint64_t)), end);
        return;
    }
    uintptr_t tcb;
    if (kind == ROOT_MAPPED && is_dead_stack(w, start, end, &tcb)) {
        /* What the descriptor has stays with it: the table of dynamic thread-local variables, the
         * result for who joins. */
        w->report->dead_stacks += tcb != w->roots->self_tp;
        mark_range(w, ROOT_STACK, tcb, end);
        return;
    }
    if (kind != ROOT_MAPPED)
        mark_range(w, kind, start, end);
    else
        mark_mapped(w, start, end);
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

/* mark_dtv keeps a thread's table of dynamic thread-local variables: libc has the address of its
 * second entry, whatever the program's pointers are. */
static void mark_dtv(struct work *w, uintptr_t tp) {
    const struct root_reader *reader = w->roots->reader;
    uintptr_t words[2] = {0, 0};
    if (tp == 0 || !is_wanted(w->roots, ROOT_STACK) ||
        copy(words, tp, sizeof words) != sizeof words)
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
    size_t bytes = align_up(sizeof(struct work), PHYS_PAGE_SIZE);
    struct work *w = mem_alloc(bytes, MEM_AGENT);
    *ret = (struct roots_report){.unknown = owned_lost()};
    if (w == NULL)
        return false;
    w->m = m;
    w->roots = r;
    w->report = ret;
    w->own_data = find_own_data();
    w->nowned = owned_list(w->owned, OWNED_MAX);
    present_open(&w->present);
    mark_threads(w);
    bool ok = mark_mappings(w);
    ret->no_mappings = !ok;
    present_close(&w->present);
    mem_free(w, bytes, MEM_AGENT, 0, 0);
    return ok;
}
