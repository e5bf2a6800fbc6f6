/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ranges of addresses, and sorted sets of them.  See mranges.c.
 */
#ifndef GM_HEAP_MRANGES_H
#define GM_HEAP_MRANGES_H

#include "heap/mconst.h"
#include "sys/mem.h"

/* An address, compared in the view of the address space in which it is one piece (mconst.h). */
struct off_addr {
    uintptr_t a; /* the address itself */
};

#define MIN_OFF_ADDR ((struct off_addr){ARENA_BASE_OFFSET})
#define MAX_OFF_ADDR ((struct off_addr){(((uintptr_t)1 << HEAP_ADDR_BITS) - 1) + ARENA_BASE_OFFSET})

gm_inline bool off_addr_less_than(struct off_addr l, struct off_addr r) {
    return l.a - ARENA_BASE_OFFSET < r.a - ARENA_BASE_OFFSET;
}

gm_inline bool off_addr_less_equal(struct off_addr l, struct off_addr r) {
    return l.a - ARENA_BASE_OFFSET <= r.a - ARENA_BASE_OFFSET;
}

/* The addresses from base up to limit, limit not included. */
struct addr_range {
    struct off_addr base;
    struct off_addr limit;
};

gm_inline struct addr_range make_addr_range(uintptr_t base, uintptr_t limit) {
    return (struct addr_range){{base}, {limit}};
}

uintptr_t addr_range_size(struct addr_range r); /* bytes; 0 also if the limit is below the base */
bool addr_range_contains(struct addr_range r, uintptr_t addr);

/* A set of addresses: ranges sorted by base that neither overlap nor touch. */
struct addr_ranges {
    struct addr_range *ranges; /* persistent memory; replaced when full, the old one stays */
    size_t len;
    size_t cap;
    uintptr_t total_bytes; /* in all ranges */
    enum mem_purpose why;  /* what the array is accounted as */
};

/* addr_ranges_init makes the set empty.  False: no memory. */
bool addr_ranges_init(struct addr_ranges *a, enum mem_purpose why);

/* addr_ranges_find_succ returns the index of the first range whose base is above addr; len if
 * there is none. */
size_t addr_ranges_find_succ(const struct addr_ranges *a, uintptr_t addr);

/* addr_ranges_find_addr_greater_equal stores the lowest address of the set that is >= addr. False:
 * there is none. */
bool addr_ranges_find_addr_greater_equal(const struct addr_ranges *a, uintptr_t addr,
                                         uintptr_t *ret_addr);

bool addr_ranges_contains(const struct addr_ranges *a, uintptr_t addr);

/* addr_ranges_contains_range says whether all of r, which is not empty, is in the set. */
bool addr_ranges_contains_range(const struct addr_ranges *a, struct addr_range r);

/* addr_ranges_add adds r, which is not empty and has no address in common with the set.  False: no
 * memory, and nothing was changed. */
bool addr_ranges_add(struct addr_ranges *a, struct addr_range r);

/* addr_ranges_consistent checks order, gaps and the sum. */
bool addr_ranges_consistent(const struct addr_ranges *a);

#endif
