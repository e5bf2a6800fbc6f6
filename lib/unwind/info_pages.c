/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Giving back the pages of unwind information.
 */
#include "unwind/info_pages.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "sys/maps.h"
#include "sys/pagemap.h"
#include "sys/rawcall.h"
#include "unwind/cfi_private.h"
#include "unwind/codeobj.h"

#define PAGE    ((uint64_t)1 << PAGEMAP_SHIFT)
#define ENTRIES 512 /* pages asked about at a time */

/* Between two times.  The longest is when nothing was touched lately: no turns of our own then. */
#define GAP_NS     UINT64_C(10000000)
#define MAX_GAP_NS UINT64_C(1000000000)

/* A page that was dropped is not asked for again so soon: this is 300 times what it takes to drop
 * it and to map it again together with its neighbours. */
#define PRICE_NS UINT64_C(100000)

/* ---- noting what is read ------------------------------------------------------------------ */

/* lower and raise_to move a bound, which hardly ever is: so it is looked at first. */
static void lower(_Atomic uint64_t *bound, uint64_t to) {
    uint64_t was = atomic_load_explicit(bound, memory_order_relaxed);
    while ((was == 0 || to < was) &&
           !atomic_compare_exchange_weak_explicit(bound, &was, to, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static void raise_to(_Atomic uint64_t *bound, uint64_t to) {
    uint64_t was = atomic_load_explicit(bound, memory_order_relaxed);
    while (to > was && !atomic_compare_exchange_weak_explicit(bound, &was, to, memory_order_relaxed,
                                                              memory_order_relaxed))
        ;
}

void info_pages_note(struct info_pages *p, const uint8_t *hdr, const struct cfi_fde *fde) {
    /* All functions may share a CIE, which may be the first record or the last. */
    uint64_t fde_end = (uintptr_t)fde->program.end, cie_end = (uintptr_t)fde->cie.program.end;
    uint64_t fde_start = (uintptr_t)fde->program.p, cie_start = (uintptr_t)fde->cie.program.p;
    lower(&p->records.start, fde_start < cie_start ? fde_start : cie_start);
    raise_to(&p->records.end, fde_end > cie_end ? fde_end : cie_end);
    lower(&p->table.start, (uintptr_t)hdr);
    raise_to(&p->table.end, fde->table_end);
    if (!atomic_load_explicit(&p->touched, memory_order_relaxed))
        atomic_store_explicit(&p->touched, true, memory_order_release);
}

/* ---- giving back -------------------------------------------------------------------------- */

static uint64_t load(const _Atomic uint64_t *bound) {
    return atomic_load_explicit(bound, memory_order_relaxed);
}

/* What would be lost: a page that is there, or swapped out, and is not the file's. */
static bool is_changed(uint64_t entry) {
    return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0 && (entry & PAGEMAP_OF_FILE) == 0;
}

static bool is_there(uint64_t entry) {
    return (entry & PAGEMAP_PRESENT) != 0;
}

/* drop gives back, of n pages from start on, those that are their file's; returns how many.  One
 * call for many is cheaper, so it may go over pages that are not there. */
static size_t drop(uint64_t start, const uint64_t *entries, size_t n) {
    size_t dropped = 0;
    for (size_t i = 0; i < n; i++) {
        size_t first = i, end = i, there = 0; /* end: behind the last that is there */
        for (; i < n && !is_changed(entries[i]); i++) {
            there += is_there(entries[i]);
            end = is_there(entries[i]) ? i + 1 : end;
        }
        if (there != 0 && sys_call3(SYS_madvise, (long)(start + (first << PAGEMAP_SHIFT)),
                                    (long)((end - first) << PAGEMAP_SHIFT), MADV_DONTNEED) == 0)
            dropped += there;
    }
    return dropped;
}

/* drop_range does so for the whole pages of a range, as far as they lie in the mapping. */
static size_t drop_range(int pagemap, const struct info_pages *p, const struct info_range *r) {
    uint64_t entries[ENTRIES];
    uint64_t start = load(&r->start), end = load(&r->end);
    size_t dropped = 0;
    start = start > p->map_start ? start : p->map_start;
    end = end < p->map_end ? end : p->map_end;
    start = (start + PAGE - 1) & ~(PAGE - 1);
    end &= ~(PAGE - 1);
    while (start < end) {
        uint64_t want = (end - start) >> PAGEMAP_SHIFT;
        want = want < ENTRIES ? want : ENTRIES;
        size_t n = pagemap_read(pagemap, start, entries, want);
        if (n == 0)
            break;
        dropped += drop(start, entries, n);
        start += n << PAGEMAP_SHIFT;
    }
    return dropped;
}

static bool is_harmless(const struct maps_line *l) {
    return l->prot == PROT_READ && !l->shared && l->inode != 0;
}

/* find_mappings looks at the mappings of objects that are new. */
static void find_mappings(void) {
    struct maps_reader r;
    struct maps_line l;
    if (!maps_open(&r))
        return;
    while (maps_next(&r, &l)) {
        struct info_pages *p;
        for (unsigned i = 0; (p = codeobj_info(i)) != NULL; i++) {
            uint64_t at = load(&p->records.start);
            if (p->map_start != 0 || at < l.start || at >= l.end)
                continue;
            p->map_start = l.start;
            p->map_end = is_harmless(&l) ? l.end : l.start;
        }
    }
    maps_close(&r);
}

static bool is_touched(bool *ret_new) {
    struct info_pages *p;
    bool any = false;
    *ret_new = false;
    for (unsigned i = 0; (p = codeobj_info(i)) != NULL; i++) {
        bool touched = atomic_load_explicit(&p->touched, memory_order_acquire);
        any |= touched;
        *ret_new |= touched && p->map_start == 0;
    }
    return any;
}

/* drop_touched gives back what was touched of all objects, and returns how many pages. */
static size_t drop_touched(void) {
    struct info_pages *p;
    size_t dropped = 0;
    int pagemap =
        (int)sys_call4(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    for (unsigned i = 0; (p = codeobj_info(i)) != NULL; i++) {
        /* Who reads on sets it again, or has read before we drop. */
        if (!atomic_exchange_explicit(&p->touched, false, memory_order_seq_cst) || pagemap < 0)
            continue;
        dropped += drop_range(pagemap, p, &p->table);
        dropped += drop_range(pagemap, p, &p->records);
    }
    if (pagemap >= 0)
        sys_call3(SYS_close, pagemap, 0, 0);
    return dropped;
}

bool info_pages_give_back(size_t *ret_pages) {
    bool any_new;
    *ret_pages = 0;
    if (!is_touched(&any_new))
        return false;
    if (any_new)
        find_mappings();
    *ret_pages = drop_touched();
    return true;
}

uint64_t info_pages_turn(uint64_t now_ns) {
    static uint64_t next_ns, gap_ns = GAP_NS;
    size_t pages;
    if (now_ns < next_ns)
        return next_ns;
    if (info_pages_give_back(&pages))
        gap_ns = pages * PRICE_NS > GAP_NS ? pages * PRICE_NS : GAP_NS;
    else if (gap_ns < MAX_GAP_NS)
        gap_ns *= 2;
    else
        return UINT64_MAX;
    next_ns = now_ns + gap_ns;
    return next_ns;
}
