/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory from the operating system.  Go: runtime/mem.go, mem_linux.go.
 */
#include "sys/mem.h"

#include <assert.h>
#include <sys/mman.h>

#include "sys/owned.h"
#include "sys/rawcall.h"
#include "sys/throw.h"

/* What a table opens at once: as much as it has, within these bounds. */
#define TABLE_STEP_FIRST ((size_t)4 << 10)
#define TABLE_STEP_MAX   ((size_t)256 << 10)

static_assert(MEM_NPURPOSES <= OWNED_PURPOSES, "a range of owned.h has room for them");

struct mem_stat mem_stats[MEM_NPURPOSES] = {
    [MEM_HEAP] = {.name = "heap"},         [MEM_ARENA] = {.name = "arena"},
    [MEM_SPAN] = {.name = "span"},         [MEM_SUMMARY] = {.name = "summary"},
    [MEM_CHUNK] = {.name = "chunk"},       [MEM_MCACHE] = {.name = "mcache"},
    [MEM_SLOT] = {.name = "slot"},         [MEM_STACK] = {.name = "stack_table"},
    [MEM_RECORDER] = {.name = "recorder"}, [MEM_AGENT] = {.name = "agent"},
    [MEM_OTHER] = {.name = "other"},
};

const struct mem_transition_kind mem_transitions[MEM_NTRANSITIONS] = {
#define MEM_TRANSITION_KIND(id, name, from, to) [MEM_SYS_##id] = {name, from, to},
    MEM_TRANSITIONS(MEM_TRANSITION_KIND)
#undef MEM_TRANSITION_KIND
};

static _Atomic uint64_t *bytes_in(struct mem_stat *s, enum mem_state state) {
    switch (state) {
    case MEM_RESERVED:
        return &s->reserved;
    case MEM_PREPARED:
        return &s->prepared;
    case MEM_READY:
        return &s->ready;
    default:
        return NULL;
    }
}

/* Statistics need no order among each other, only that no addition is lost. */
static void add(_Atomic uint64_t *stat, size_t n) {
    atomic_fetch_add_explicit(stat, n, memory_order_relaxed);
}

/* move accounts for n bytes that have gone from one state to another. */
static void move(enum mem_purpose why, enum mem_transition t, size_t n) {
    struct mem_stat *s = &mem_stats[why];
    _Atomic uint64_t *from = bytes_in(s, mem_transitions[t].from);
    _Atomic uint64_t *to = bytes_in(s, mem_transitions[t].to);
    if (n == 0)
        return;
    if (from != NULL)
        atomic_fetch_sub_explicit(from, n, memory_order_relaxed);
    if (to != NULL)
        add(to, n);
    add(&s->moved[t], n);
    add(&s->calls[t], 1);
}

static void *map(void *hint, size_t n, int prot, int flags) {
    long r =
        sys_call6(SYS_mmap, (long)hint, (long)n, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return sys_is_error(r) ? NULL : (void *)r;
}

static void unmap(void *p, size_t n) {
    if (n != 0)
        sys_call3(SYS_munmap, (long)p, (long)n, 0);
}

void *mem_alloc(size_t n, enum mem_purpose why) {
    void *p = map(NULL, n, PROT_READ | PROT_WRITE, 0);
    if (p != NULL) {
        owned_add(p, n, why);
        move(why, MEM_SYS_ALLOC, n);
    }
    return p;
}

void *mem_alloc_sparse(size_t n, enum mem_purpose why) {
    void *p = map(NULL, n, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    if (p != NULL) {
        owned_add(p, n, why);
        mem_adopt(n, why);
    }
    return p;
}

void mem_adopt(size_t n, enum mem_purpose why) {
    move(why, MEM_SYS_RESERVE, n);
    move(why, MEM_SYS_MAP, n);
}

static bool protect(void *p, size_t n, int prot) {
    return !sys_is_error(sys_call3(SYS_mprotect, (long)p, (long)n, prot));
}

void mem_seal(void *p, size_t n) {
    protect(p, n, PROT_READ);
}

bool mem_unseal(void *p, size_t n) {
    return protect(p, n, PROT_READ | PROT_WRITE);
}

void *mem_grow(void *p, size_t n, size_t newn, enum mem_purpose why) {
    long r = sys_call4(SYS_mremap, (long)p, (long)n, (long)newn, MREMAP_MAYMOVE);
    if (sys_is_error(r))
        return NULL;
    owned_remove(p, n);
    owned_add((void *)r, newn, why);
    move(why, MEM_SYS_ALLOC, newn - n);
    return (void *)r;
}

void *mem_reserve(void *hint, size_t n, enum mem_purpose why) {
    void *p = map(hint, n, PROT_NONE, MAP_NORESERVE);
    if (p != NULL) {
        owned_add(p, n, why);
        move(why, MEM_SYS_RESERVE, n);
    }
    return p;
}

void *mem_reserve_aligned(size_t n, size_t align, enum mem_purpose why) {
    char *p = map(NULL, n + align, PROT_NONE, MAP_NORESERVE);
    if (p == NULL)
        return NULL;
    size_t head = -(uintptr_t)p & (align - 1);
    unmap(p, head);
    unmap(p + head + n, align - head);
    owned_add(p + head, n, why);
    move(why, MEM_SYS_RESERVE, n);
    return p + head;
}

bool mem_map(void *p, size_t n, enum mem_purpose why) {
    /* mprotect would leave the mapping's NORESERVE flag, which would hide an overcommit=2 refusal
     * until the first touch: map afresh, as Go does. */
    if (map(p, n, PROT_READ | PROT_WRITE, MAP_FIXED) == NULL)
        return false;
    move(why, MEM_SYS_MAP, n);
    return true;
}

void mem_used(void *p, size_t n, enum mem_purpose why) {
    (void)p; /* on Linux the kernel backs it at the first touch */
    move(why, MEM_SYS_USED, n);
}

bool mem_unused(void *p, size_t n, enum mem_purpose why) {
    /* DONTNEED, not FREE: the pages leave the RSS now and read as zero, so needzero can be told
     * from the scavenged bits. */
    if (sys_call3(SYS_madvise, (long)p, (long)n, MADV_DONTNEED) != 0)
        return false;
    move(why, MEM_SYS_UNUSED, n);
    return true;
}

bool mem_huge(void *p, size_t n) {
    return sys_call3(SYS_madvise, (long)p, (long)n, MADV_HUGEPAGE) == 0;
}

bool mem_move(void *to, void *from, size_t n) {
    /* Refused if the program has locked its memory: then from would be unlocked. */
    if (sys_call3(SYS_madvise, (long)to, (long)n, MADV_DONTNEED) != 0)
        return false;
    long r = sys_call6(SYS_mremap, (long)from, (long)n, (long)n,
                       MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, (long)to, 0);
    if (!sys_is_error(r))
        return true;
    /* Not one mapping, or too many of them.  The kernel may have unmapped to by then; what it has
     * just let go of it has room for. */
    if (map(to, n, PROT_READ | PROT_WRITE, MAP_FIXED) == NULL)
        throw_values("mem_move: memory is lost", (uintptr_t)to, n);
    return false;
}

void mem_fault(void *p, size_t n, enum mem_purpose why) {
    /* If the kernel has no room to split a mapping, it stays accessible, which does no harm. */
    map(p, n, PROT_NONE, MAP_FIXED | MAP_NORESERVE);
    move(why, MEM_SYS_FAULT, n);
}

void mem_free(void *p, size_t n, enum mem_purpose why, size_t reserved, size_t prepared) {
    if (reserved + prepared > n)
        throw_("mem_free: states exceed the size");
    owned_remove(p, n); /* before another thread's mapping may take the place */
    unmap(p, n);
    move(why, MEM_SYS_FREE_RESERVED, reserved);
    move(why, MEM_SYS_FREE_PREPARED, prepared);
    move(why, MEM_SYS_FREE_READY, n - reserved - prepared);
}

bool mem_table_init(struct mem_table *t, size_t max, enum mem_purpose why) {
    *t = (struct mem_table){.base = mem_reserve(NULL, max, why), .max = max, .why = why};
    return t->base != NULL;
}

/* The bytes that a table is to have open when it needs n of them. */
static size_t table_open(const struct mem_table *t, size_t n) {
    size_t step = t->open < TABLE_STEP_FIRST ? TABLE_STEP_FIRST : t->open;
    step = step < TABLE_STEP_MAX ? step : TABLE_STEP_MAX;
    size_t open = t->open + step > n ? t->open + step : (n + 4095) & ~(size_t)4095;
    return open < t->max ? open : t->max;
}

bool mem_table_reach(struct mem_table *t, size_t n) {
    if (gm_likely(n <= t->open))
        return true;
    if (n > t->max)
        return false;
    size_t open = table_open(t, n);
    if (!mem_map(t->base + t->open, open - t->open, t->why))
        return false;
    t->open = open;
    return true;
}

void mem_table_free(struct mem_table *t) {
    if (t->base != NULL)
        mem_free(t->base, t->max, t->why, t->max - t->open, t->open);
    *t = (struct mem_table){0};
}
