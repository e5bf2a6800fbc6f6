/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory from the operating system.  Go: runtime/mem.go, mem_linux.go.
 */
#include "sys/mem.h"

#include <sys/mman.h>

#include "sys/rawcall.h"
#include "sys/throw.h"

struct mem_stat mem_stats[MEM_NPURPOSES] = {
    [MEM_HEAP] = {.name = "heap"},         [MEM_ARENA] = {.name = "arena"},
    [MEM_SPAN] = {.name = "span"},         [MEM_SUMMARY] = {.name = "summary"},
    [MEM_CHUNK] = {.name = "chunk"},       [MEM_MCACHE] = {.name = "mcache"},
    [MEM_SLOT] = {.name = "slot"},         [MEM_STACK] = {.name = "stack_table"},
    [MEM_RECORDER] = {.name = "recorder"}, [MEM_AGENT] = {.name = "agent"},
    [MEM_OTHER] = {.name = "other"},
};

/* Statistics need no order among each other, only that no addition is lost. */
static void add(_Atomic uint64_t *stat, size_t n) {
    atomic_fetch_add_explicit(stat, n, memory_order_relaxed);
}

static void sub(_Atomic uint64_t *stat, size_t n) {
    atomic_fetch_sub_explicit(stat, n, memory_order_relaxed);
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
    if (p != NULL)
        add(&mem_stats[why].ready, n);
    return p;
}

void *mem_alloc_sparse(size_t n, enum mem_purpose why) {
    void *p = map(NULL, n, PROT_READ | PROT_WRITE, MAP_NORESERVE);
    if (p != NULL)
        add(&mem_stats[why].prepared, n);
    return p;
}

void *mem_grow(void *p, size_t n, size_t newn, enum mem_purpose why) {
    long r = sys_call4(SYS_mremap, (long)p, (long)n, (long)newn, MREMAP_MAYMOVE);
    if (sys_is_error(r))
        return NULL;
    add(&mem_stats[why].ready, newn - n);
    return (void *)r;
}

void *mem_reserve(void *hint, size_t n, enum mem_purpose why) {
    void *p = map(hint, n, PROT_NONE, MAP_NORESERVE);
    if (p != NULL)
        add(&mem_stats[why].reserved, n);
    return p;
}

void *mem_reserve_aligned(size_t n, size_t align, enum mem_purpose why) {
    char *p = map(NULL, n + align, PROT_NONE, MAP_NORESERVE);
    if (p == NULL)
        return NULL;
    size_t head = -(uintptr_t)p & (align - 1);
    unmap(p, head);
    unmap(p + head + n, align - head);
    add(&mem_stats[why].reserved, n);
    return p + head;
}

bool mem_map(void *p, size_t n, enum mem_purpose why) {
    /* mprotect would leave the mapping's NORESERVE flag, which would hide an overcommit=2 refusal
     * until the first touch: map afresh, as Go does. */
    if (map(p, n, PROT_READ | PROT_WRITE, MAP_FIXED) == NULL)
        return false;
    sub(&mem_stats[why].reserved, n);
    add(&mem_stats[why].prepared, n);
    return true;
}

void mem_used(void *p, size_t n, enum mem_purpose why) {
    (void)p; /* on Linux the kernel backs it at the first touch */
    sub(&mem_stats[why].prepared, n);
    add(&mem_stats[why].ready, n);
}

bool mem_unused(void *p, size_t n, enum mem_purpose why) {
    /* DONTNEED, not FREE: the pages leave the RSS now and read as zero, so needzero can be told
     * from the scavenged bits. */
    if (sys_call3(SYS_madvise, (long)p, (long)n, MADV_DONTNEED) != 0)
        return false;
    sub(&mem_stats[why].ready, n);
    add(&mem_stats[why].prepared, n);
    return true;
}

void mem_fault(void *p, size_t n, enum mem_purpose why) {
    /* If the kernel has no room to split a mapping, it stays accessible, which does no harm. */
    map(p, n, PROT_NONE, MAP_FIXED | MAP_NORESERVE);
    sub(&mem_stats[why].prepared, n);
    add(&mem_stats[why].reserved, n);
}

void mem_free(void *p, size_t n, enum mem_purpose why, size_t reserved, size_t prepared) {
    if (reserved + prepared > n)
        throw_("mem_free: states exceed the size");
    unmap(p, n);
    sub(&mem_stats[why].reserved, reserved);
    sub(&mem_stats[why].prepared, prepared);
    sub(&mem_stats[why].ready, n - reserved - prepared);
}
