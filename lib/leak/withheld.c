/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that the program keeps from its children.
 */
#include "leak/withheld.h"

#include <string.h>
#include <sys/mman.h>

#include "heap/mheap.h"
#include "leak/peek.h"
#include "sys/maps.h"
#include "sys/rawcall.h"

#define RANGES 65536 /* a process has no more mappings, as a rule; others are not cared for */
#define SMALL  ((size_t)64 << 10) /* bytes: so much is looked through for words into the heap */

struct range {
    uintptr_t start;
    uintptr_t end;
    int advice; /* of madvise, that keeps it from children */
};

/* By address. */
struct ranges {
    size_t n;
    struct range all[RANGES];
};

/* Between the process and its copies. */
struct withheld {
    struct maps_reader maps;
    struct ranges absent; /* from a copy; before it has looked: what might be */
    struct ranges wiped;  /* in a copy */
    struct ranges given;
    uint64_t refused; /* bytes that could not be given */
};

#define BYTES align_up(sizeof(struct withheld), PHYS_PAGE_SIZE)

/* is_candidate tells of memory that may lead somewhere and that a child has, as a rule. */
static bool is_candidate(const struct maps_line *l) {
    return !l->shared && l->inode == 0 && (l->prot & PROT_READ) != 0 &&
           !(l->path_len > 2 && l->path[0] == '[' && l->path[1] == 'v');
}

static void add(struct ranges *r, uintptr_t start, uintptr_t end, int advice) {
    if (start < end && r->n < RANGES)
        r->all[r->n++] = (struct range){start, end, advice};
}

struct withheld *withheld_begin(void) {
    struct maps_line l;
    long r =
        sys_call6(SYS_mmap, 0, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (sys_is_error(r))
        return NULL;
    struct withheld *w = (struct withheld *)r;
    if (maps_open(&w->maps))
        while (maps_next(&w->maps, &l))
            if (is_candidate(&l))
                add(&w->absent, l.start, l.end, MADV_DONTFORK);
    maps_close(&w->maps);
    return w;
}

void withheld_end(struct withheld *w) {
    if (w != NULL)
        sys_call3(SYS_munmap, (long)w, BYTES, 0);
}

/* ---- the kernel's list with flags ---------------------------------------------------------- */

/* has_flag tells whether a line of flags, "VmFlags: rd wr mr mw me ac", has one. */
static bool has_flag(const char *text, size_t n, const char flag[2]) {
    for (size_t i = sizeof "VmFlags:" - 1; i + 3 <= n; i += 3)
        if (memcmp(text + i + 1, flag, 2) == 0)
            return true;
    return false;
}

/* advice_of returns what keeps a mapping with these flags from children; -1: nothing does.  What
 * the kernel may take away at any time ("dp") leads nowhere. */
static int advice_of(const char *flags, size_t n) {
    if (has_flag(flags, n, "dp"))
        return -1;
    if (has_flag(flags, n, "dc"))
        return MADV_DONTFORK;
    return has_flag(flags, n, "wf") ? MADV_WIPEONFORK : -1;
}

/* A mapping of the list that is open. */
struct flagged {
    uintptr_t start;
    uintptr_t end;
    bool candidate;
    int advice; /* what keeps it from children; -1: nothing, or its flags are still to come */
};

/* next_flagged goes on to the next mapping, or to the flags of this one, if they keep it from
 * children.  False: there is none. */
static bool next_flagged(struct maps_reader *maps, struct flagged *f) {
    const char *text;
    size_t n;
    f->advice = -1;
    while (maps_next_text(maps, &text, &n)) {
        if (n > 0 && (text[0] < 'A' || text[0] > 'Z')) {
            struct maps_line l = maps_parse(text, n);
            *f = (struct flagged){l.start, l.end, is_candidate(&l), -1};
            return true;
        }
        if (n > 8 && memcmp(text, "VmFlags:", 8) == 0 && f->candidate)
            f->advice = advice_of(text, n);
        if (f->advice != -1)
            return true;
    }
    return false;
}

/* ---- what a copy lacks --------------------------------------------------------------------- */

/* keep_absent keeps those ranges that touch no mapping of the open list. */
static void keep_absent(struct withheld *w, struct ranges *of) {
    struct maps_line l = {0};
    size_t kept = 0;
    bool more = maps_next(&w->maps, &l);
    for (size_t i = 0; i < of->n; i++) {
        struct range r = of->all[i];
        while (more && l.end <= r.start)
            more = maps_next(&w->maps, &l);
        if (!more || l.start >= r.end)
            of->all[kept++] = r;
    }
    of->n = w->maps.failed ? 0 : kept;
    maps_close(&w->maps);
}

/* keep_touched keeps those ranges that touch one of the others. */
static void keep_touched(struct ranges *of, const struct ranges *others) {
    size_t kept = 0, k = 0;
    for (size_t i = 0; i < of->n; i++) {
        struct range r = of->all[i];
        while (k < others->n && others->all[k].end <= r.start)
            k++;
        if (k < others->n && others->all[k].start < r.end)
            of->all[kept++] = r;
    }
    of->n = kept;
}

/* list_flagged lists what an advice keeps from children; -1: any.  False: the kernel does not say.
 */
static bool list_flagged(struct withheld *w, int advice, struct ranges *ret) {
    struct flagged f = {.candidate = false};
    ret->n = 0;
    if (!maps_open_file(&w->maps, "/proc/self/smaps"))
        return false;
    while (next_flagged(&w->maps, &f))
        if (f.advice != -1 && (advice == -1 || advice == f.advice))
            add(ret, f.start, f.end, f.advice);
    maps_close(&w->maps);
    return true;
}

static uint64_t bytes_of(const struct ranges *r) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->n; i++)
        bytes += r->all[i].end - r->all[i].start;
    return bytes;
}

/* A mapping that has been made smaller meanwhile does not count: it is there in part. */
void withheld_look(struct withheld *w) {
    if (maps_open(&w->maps))
        keep_absent(w, &w->absent);
    else
        w->absent.n = 0;
    list_flagged(w, MADV_WIPEONFORK, &w->wiped);
}

static bool is_of_heap(uintptr_t p) {
    for (size_t i = 0; i < mheap_.narenas; i++)
        if (p - mheap_.all_arenas[i]->base < HEAP_ARENA_BYTES)
            return true;
    return false;
}

/* leads_somewhere tells whether a range has any word that may be a pointer into the heap. */
static bool leads_somewhere(const struct range *r) {
    char buffer[4096 + sizeof(uintptr_t)];
    if (r->end - r->start > SMALL)
        return true;
    for (uintptr_t at = r->start; at < r->end; at += 4096) {
        size_t n = r->end - at < sizeof buffer ? r->end - at : sizeof buffer;
        n = peek(buffer, at, n);
        for (size_t i = 0; i + sizeof(uintptr_t) <= n; i++) {
            uintptr_t word;
            memcpy(&word, buffer + i, sizeof word);
            if (is_of_heap(word))
                return true;
        }
    }
    return false;
}

uint64_t withheld_lacks(struct withheld *w) {
    size_t kept = 0;
    for (size_t i = 0; i < w->wiped.n; i++)
        if (leads_somewhere(&w->wiped.all[i]))
            w->wiped.all[kept++] = w->wiped.all[i];
    w->wiped.n = kept;
    /* What comes and goes, as the stacks of posix_spawn do, may have been away just then. */
    if (w->absent.n != 0 && list_flagged(w, MADV_DONTFORK, &w->given))
        keep_touched(&w->absent, &w->given);
    return bytes_of(&w->absent) + bytes_of(&w->wiped);
}

/* ---- giving it ----------------------------------------------------------------------------- */

static bool advise(const struct range *r, int advice) {
    return sys_call3(SYS_madvise, (long)r->start, (long)(r->end - r->start), advice) == 0;
}

void withheld_give(struct withheld *w) {
    struct ranges *g = &w->given;
    size_t given = 0;
    w->refused = list_flagged(w, -1, g) ? 0 : bytes_of(&w->absent);
    for (size_t i = 0; i < g->n; i++) {
        struct range r = g->all[i];
        if (advise(&r, r.advice == MADV_DONTFORK ? MADV_DOFORK : MADV_KEEPONFORK))
            g->all[given++] = r;
        else
            w->refused += r.end - r.start;
    }
    g->n = given;
}

uint64_t withheld_refused(const struct withheld *w) {
    return w->refused;
}

void withheld_keep(struct withheld *w) {
    for (size_t i = 0; i < w->given.n; i++)
        advise(&w->given.all[i], w->given.all[i].advice);
}
