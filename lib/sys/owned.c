/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The library's own mappings.
 */
#include "sys/owned.h"

#include <assert.h>
#include <stdatomic.h>

/* A word: first page, pages, purpose; 0 = free place. */
#define PAGE_SHIFT   12
#define PURPOSE_BITS 4
#define COUNT_BITS   24 /* 64 GiB: a larger range takes several words */
#define MAX_COUNT    (((uint64_t)1 << COUNT_BITS) - 1)

static_assert(OWNED_PURPOSES == 1 << PURPOSE_BITS, "a purpose fits");

static _Atomic uint64_t words[OWNED_MAX];
static _Atomic uint32_t nwords; /* places ever used: the rest is 0 */
static _Atomic uint64_t lost;

static uint64_t pack(uint64_t page, uint64_t count, unsigned why) {
    return page << (COUNT_BITS + PURPOSE_BITS) | count << PURPOSE_BITS | why;
}

static uint64_t page_of(uint64_t word) {
    return word >> (COUNT_BITS + PURPOSE_BITS);
}

static uint64_t count_of(uint64_t word) {
    return word >> PURPOSE_BITS & MAX_COUNT;
}

static unsigned why_of(uint64_t word) {
    return word & (((unsigned)1 << PURPOSE_BITS) - 1);
}

static bool replace(uint32_t i, uint64_t old, uint64_t new) {
    return atomic_compare_exchange_strong_explicit(&words[i], &old, new, memory_order_relaxed,
                                                   memory_order_relaxed);
}

static uint32_t used(void) {
    uint32_t n = atomic_load_explicit(&nwords, memory_order_relaxed);
    return n < OWNED_MAX ? n : OWNED_MAX;
}

/* join makes a range that ends where this one begins, or begins where it ends, longer. */
static bool join(uint64_t page, uint64_t count, unsigned why) {
    uint32_t n = used();
    for (uint32_t i = 0; i < n; i++) {
        uint64_t w = atomic_load_explicit(&words[i], memory_order_relaxed);
        if (w == 0 || why_of(w) != why || count_of(w) + count > MAX_COUNT)
            continue;
        bool after = page_of(w) + count_of(w) == page;
        bool before = page + count == page_of(w);
        if ((after || before) &&
            replace(i, w, pack(after ? page_of(w) : page, count_of(w) + count, why)))
            return true;
    }
    return false;
}

static void insert(uint64_t word) {
    uint32_t n = used();
    for (uint32_t i = 0; i < n; i++)
        if (atomic_load_explicit(&words[i], memory_order_relaxed) == 0 && replace(i, 0, word))
            return;
    uint32_t i = atomic_fetch_add_explicit(&nwords, 1, memory_order_relaxed);
    if (i < OWNED_MAX) {
        atomic_store_explicit(&words[i], word, memory_order_relaxed);
        return;
    }
    atomic_store_explicit(&nwords, OWNED_MAX, memory_order_relaxed);
    atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
}

void owned_add(const void *p, size_t n, unsigned why) {
    uint64_t page = (uintptr_t)p >> PAGE_SHIFT;
    uint64_t count = n >> PAGE_SHIFT;
    while (count != 0) {
        uint64_t part = count < MAX_COUNT ? count : MAX_COUNT;
        if (!join(page, part, why))
            insert(pack(page, part, why));
        page += part;
        count -= part;
    }
}

/* cut takes what it can of [page, end) out of the range w in place i.  False: it has changed. */
static bool cut(uint32_t i, uint64_t w, uint64_t page, uint64_t end) {
    uint64_t from = page_of(w), to = from + count_of(w);
    uint64_t left = page > from ? page - from : 0;
    uint64_t right = end < to ? to - end : 0;
    uint64_t rest = left != 0    ? pack(from, left, why_of(w))
                    : right != 0 ? pack(end, right, why_of(w))
                                 : 0;
    if (!replace(i, w, rest))
        return false;
    if (left != 0 && right != 0)
        insert(pack(end, right, why_of(w)));
    return true;
}

void owned_remove(const void *p, size_t n) {
    uint64_t page = (uintptr_t)p >> PAGE_SHIFT;
    uint64_t end = page + (n >> PAGE_SHIFT);
    uint32_t nused = used();
    for (uint32_t i = 0; i < nused; i++) {
        uint64_t w;
        do {
            w = atomic_load_explicit(&words[i], memory_order_relaxed);
        } while (w != 0 && page_of(w) < end && page_of(w) + count_of(w) > page &&
                 !cut(i, w, page, end));
    }
}

/* sift_down is heap sort's: all[root] goes to its place among the n. */
static void sift_down(struct owned_range *all, size_t root, size_t n) {
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && all[child + 1].start > all[child].start)
            child++;
        if (all[root].start >= all[child].start)
            return;
        struct owned_range other = all[root];
        all[root] = all[child];
        all[child] = other;
    }
}

static void sort(struct owned_range *all, size_t n) {
    for (size_t i = n / 2; i-- > 0;)
        sift_down(all, i, n);
    while (n > 1) {
        struct owned_range last = all[--n];
        all[n] = all[0];
        all[0] = last;
        sift_down(all, 0, n);
    }
}

size_t owned_list(struct owned_range *ret, size_t max) {
    uint32_t nused = used();
    size_t n = 0;
    for (uint32_t i = 0; i < nused; i++) {
        uint64_t w = atomic_load_explicit(&words[i], memory_order_relaxed);
        if (w == 0)
            continue;
        if (n < max)
            ret[n] = (struct owned_range){.start = page_of(w) << PAGE_SHIFT,
                                          .end = (page_of(w) + count_of(w)) << PAGE_SHIFT,
                                          .why = why_of(w)};
        n++;
    }
    sort(ret, n < max ? n : max);
    return n;
}

uint64_t owned_lost(void) {
    return atomic_load_explicit(&lost, memory_order_relaxed);
}
