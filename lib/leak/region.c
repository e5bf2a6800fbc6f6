/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Regions that the program has named as roots.
 *
 * A place in the table is taken by its start, and counts as soon as it has a size; taking it back,
 * the size goes first.  So who reads a size reads the start that belongs to it, or one of a region
 * that is being removed: both were named.
 */
#include "leak/region.h"

#include <errno.h>
#include <stdatomic.h>

static struct {
    _Atomic uintptr_t start; /* 0: free */
    _Atomic size_t size;     /* 0: on its way, or gone */
} table[REGIONS_MAX];

static _Atomic uint32_t used; /* places from here on have never been taken */

static void note_used(uint32_t n) {
    uint32_t old = atomic_load_explicit(&used, memory_order_relaxed);
    while (old < n && !atomic_compare_exchange_weak(&used, &old, n))
        ;
}

int region_add(uintptr_t start, size_t n) {
    uintptr_t end;
    if (start == 0 || n == 0 || __builtin_add_overflow(start, n, &end))
        return -EINVAL;
    for (uint32_t i = 0; i < REGIONS_MAX; i++) {
        uintptr_t none = 0;
        if (!atomic_compare_exchange_strong(&table[i].start, &none, start))
            continue;
        note_used(i + 1);
        atomic_store_explicit(&table[i].size, n, memory_order_release);
        return 0;
    }
    return -ENOSPC;
}

int region_remove(uintptr_t start, size_t n) {
    uint32_t most = atomic_load_explicit(&used, memory_order_acquire);
    for (uint32_t i = 0; i < most && n != 0; i++) {
        size_t size = n;
        if (atomic_load_explicit(&table[i].start, memory_order_relaxed) != start ||
            !atomic_compare_exchange_strong(&table[i].size, &size, 0))
            continue;
        atomic_store_explicit(&table[i].start, 0, memory_order_release);
        return 0;
    }
    return -ENOENT;
}

size_t region_list(struct root_region *to) {
    size_t n = 0;
    uint32_t most = atomic_load_explicit(&used, memory_order_acquire);
    for (uint32_t i = 0; i < most; i++) {
        size_t size = atomic_load_explicit(&table[i].size, memory_order_acquire);
        uintptr_t start = atomic_load_explicit(&table[i].start, memory_order_relaxed), end;
        if (size != 0 && !__builtin_add_overflow(start, size, &end))
            to[n++] = (struct root_region){start, end};
    }
    return n;
}
