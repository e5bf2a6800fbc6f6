/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sorted sets of address ranges.  Go: runtime/mranges.go.
 *
 * The page allocator keeps the addresses it was given in one.  Ranges that touch are merged at
 * once, so that a heap whose arenas lie side by side is one range, however big: a set of more than
 * a few ranges is rare, a lookup is a handful of comparisons, and adding shifts an array.  Example:
 * {[0,4) [8,12)} and add [4,8): it touches both, and the set is {[0,12)}.
 *
 * It stops scaling when arenas end up all over the address space: each insertion then moves up to
 * the whole array, 16 bytes for each separate 64 MiB (some 160 us for 1 TiB).
 *
 * Departures: addr_ranges_add reports lack of memory; the operations that only Go's collector uses
 * (removeLast, removeGreaterEqual, cloneInto) are not here, and neither are subtract and the atomic
 * addresses: mpagealloc.c and mgcscavenge.c say what took their place.
 */
#include "heap/mranges.h"

#include "sys/persistent.h"
#include "sys/throw.h"

uintptr_t addr_range_size(struct addr_range r) {
    return off_addr_less_than(r.base, r.limit) ? r.limit.a - r.base.a : 0;
}

bool addr_range_contains(struct addr_range r, uintptr_t addr) {
    struct off_addr a = {addr};
    return off_addr_less_equal(r.base, a) && off_addr_less_than(a, r.limit);
}

static struct addr_range *new_array(size_t cap, enum mem_purpose why) {
    return persistent_alloc(cap * sizeof(struct addr_range), sizeof(void *), why);
}

bool addr_ranges_init(struct addr_ranges *a, enum mem_purpose why) {
    *a = (struct addr_ranges){.cap = 16, .why = why};
    a->ranges = new_array(a->cap, why);
    return a->ranges != NULL;
}

size_t addr_ranges_find_succ(const struct addr_ranges *a, uintptr_t addr) {
    struct off_addr base = {addr};
    size_t bot = 0;
    size_t top = a->len;
    while (bot < top) {
        size_t mid = bot + (top - bot) / 2;
        if (off_addr_less_than(base, a->ranges[mid].base))
            top = mid;
        else
            bot = mid + 1;
    }
    return top;
}

bool addr_ranges_find_addr_greater_equal(const struct addr_ranges *a, uintptr_t addr,
                                         uintptr_t *ret_addr) {
    size_t i = addr_ranges_find_succ(a, addr);
    if (i > 0 && addr_range_contains(a->ranges[i - 1], addr)) {
        *ret_addr = addr;
        return true;
    }
    if (i == a->len)
        return false;
    *ret_addr = a->ranges[i].base.a;
    return true;
}

bool addr_ranges_contains(const struct addr_ranges *a, uintptr_t addr) {
    size_t i = addr_ranges_find_succ(a, addr);
    return i > 0 && addr_range_contains(a->ranges[i - 1], addr);
}

bool addr_ranges_contains_range(const struct addr_ranges *a, struct addr_range r) {
    size_t i = addr_ranges_find_succ(a, r.base.a);
    return i > 0 && addr_range_contains(a->ranges[i - 1], r.base.a) &&
           off_addr_less_than(r.base, r.limit) &&
           off_addr_less_equal(r.limit, a->ranges[i - 1].limit);
}

/* insert puts r at index i. */
static bool insert(struct addr_ranges *a, size_t i, struct addr_range r) {
    if (a->len == a->cap) {
        /* The old array stays behind, but sizes double: at most as much again is lost. */
        struct addr_range *bigger = new_array(a->cap * 2, a->why);
        if (bigger == NULL)
            return false;
        __builtin_memcpy(bigger, a->ranges, a->len * sizeof(r));
        a->ranges = bigger;
        a->cap *= 2;
    }
    __builtin_memmove(a->ranges + i + 1, a->ranges + i, (a->len - i) * sizeof(r));
    a->ranges[i] = r;
    a->len++;
    return true;
}

static void remove_at(struct addr_ranges *a, size_t i) {
    a->len--;
    __builtin_memmove(a->ranges + i, a->ranges + i + 1, (a->len - i) * sizeof(a->ranges[0]));
}

bool addr_ranges_add(struct addr_ranges *a, struct addr_range r) {
    if (addr_range_size(r) == 0)
        throw_values("attempted to add an empty address range", r.base.a, r.limit.a);
    size_t i = addr_ranges_find_succ(a, r.base.a);
    bool coalesces_down = i > 0 && a->ranges[i - 1].limit.a == r.base.a;
    bool coalesces_up = i < a->len && r.limit.a == a->ranges[i].base.a;
    if (coalesces_up && coalesces_down) {
        a->ranges[i - 1].limit = a->ranges[i].limit;
        remove_at(a, i);
    } else if (coalesces_down) {
        a->ranges[i - 1].limit = r.limit;
    } else if (coalesces_up) {
        a->ranges[i].base = r.base;
    } else if (!insert(a, i, r)) {
        return false;
    }
    a->total_bytes += addr_range_size(r);
    return true;
}

bool addr_ranges_consistent(const struct addr_ranges *a) {
    uintptr_t total = 0;
    for (size_t i = 0; i < a->len; i++) {
        if (addr_range_size(a->ranges[i]) == 0)
            return false;
        if (i > 0 && !off_addr_less_than(a->ranges[i - 1].limit, a->ranges[i].base))
            return false;
        total += addr_range_size(a->ranges[i]);
    }
    return a->len <= a->cap && total == a->total_bytes;
}
