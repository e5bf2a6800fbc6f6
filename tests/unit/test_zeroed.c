/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Cleared memory: it reads as zero whatever happened before, and what the kernel has just cleared
 * is not cleared, nor even touched, again.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "random.h"

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* As calloc does it. */
static void *alloc_zeroed(size_t size) {
    struct mcache *c = self();
    uintptr_t p;
    if (size <= MAX_SMALL_SIZE && mcache_take_zeroed(mcache_entry_of(c, size), size, &p))
        return (void *)p;
    return heap_alloc_zeroed(c, size, false);
}

enum { LIVE = 3000, MANY = 1000, OTHERS = 50 };
static unsigned char *live[LIVE];

static void *release_some(void *seed) {
    struct random r = {*(uint64_t *)seed};
    self();
    for (int i = 0; i < OTHERS; i++) {
        unsigned k = random_below(&r, LIVE);
        if (live[k] != NULL)
            release(live[k]);
        live[k] = NULL;
    }
    return NULL;
}

static void another_thread_frees(struct random *r) {
    pthread_t t;
    uint64_t seed = random_next(r);
    assert_int_equal(pthread_create(&t, NULL, release_some, &seed), 0);
    pthread_join(t, NULL);
}

/* Mostly of a few classes, so that spans come into use again and again. */
static size_t any_size(struct random *r) {
    static const size_t some[] = {8, 16, 100, 1000, 5000, 8192, 30000, 32768, 50000};
    return random_below(r, 4) != 0 ? some[random_below(r, 9)] : 1 + random_below(r, 2000);
}

static void replace_one(struct random *r) {
    unsigned k = random_below(r, LIVE);
    size_t size = any_size(r);
    if (live[k] != NULL)
        release(live[k]);
    bool zeroed = random_below(r, 2) != 0;
    live[k] = zeroed ? alloc_zeroed(size) : heap_alloc(self(), size, false);
    assert_non_null(live[k]);
    for (size_t i = 0; zeroed && i < size; i++)
        if (live[k][i] != 0)
            fail_msg("byte %zu of %zu is %u", i, size, live[k][i]);
    memset(live[k], 0xa5, heap_usable(live[k]));
}

/* So many at once that not all of them can be remembered by hints. */
static void release_many(struct random *r) {
    for (int i = 0; i < MANY; i++) {
        unsigned k = random_below(r, LIVE);
        if (live[k] != NULL)
            release(live[k]);
        live[k] = NULL;
    }
}

/* Everything is free, and given back: the heap is as new. */
static void begin_anew(void) {
    for (int k = 0; k < LIVE; k++) {
        if (live[k] != NULL)
            release(live[k]);
        live[k] = NULL;
    }
    mcache_release(self());
    mheap_reclaim(&mheap_);
    mheap_scavenge(&mheap_);
}

static void it_is_clear_however_it_was_used_before(void **state) {
    (void)state;
    struct random r = {20};
    for (int i = 0; i < 60000; i++) {
        replace_one(&r);
        if (random_below(&r, 200) == 0)
            another_thread_frees(&r);
        if (random_below(&r, 1000) == 0)
            release_many(&r);
        if (random_below(&r, 300) == 0)
            mcache_flush(self());
        if (random_below(&r, 1000) == 0)
            mcache_release(self());
        if (i % 5000 == 0)
            begin_anew();
    }
    begin_anew();
}

static size_t resident_pages(void *p, size_t size) {
    unsigned char pages[64];
    uintptr_t first = align_up((uintptr_t)p, 4096);
    size_t n = ((uintptr_t)p + size - first) / 4096, resident = 0;
    assert_int_equal(mincore((void *)first, n * 4096, pages), 0);
    for (size_t i = 0; i < n; i++)
        resident += pages[i] & 1;
    return resident;
}

static void fresh_memory_is_not_touched(void **state) {
    (void)state;
    static const size_t sizes[] = {9000, 16384, 32768, 100000, 200000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        void *p[40];
        mcache_release(self());
        mheap_scavenge(&mheap_);
        for (int i = 0; i < 40; i++)
            p[i] = alloc_zeroed(sizes[k]);
        for (int i = 0; i < 40; i++)
            assert_int_equal(resident_pages(p[i], sizes[k]), 0);
        for (int i = 0; i < 40; i++)
            release(p[i]);
    }
}

/* Parts of a place, one behind the other, that some objects fill; the others have the rest. */
enum { PART = 96 << 10, MOST = 64, TRIES = 400 };
static char *parts[TRIES];

/* Allocates objects until n of them lie side by side: the index of the first. */
static unsigned side_by_side(unsigned n) {
    unsigned run = 0;
    for (unsigned i = 0; i < TRIES; i++) {
        parts[i] = heap_alloc(self(), PART, false);
        run = i != 0 && parts[i] == parts[i - 1] + PART ? run + 1 : 1;
        if (run == n)
            return i + 1 - n;
    }
    fail_msg("no %u objects lie side by side", n);
    return 0;
}

static void release_parts(unsigned first, unsigned n, uint64_t which) {
    for (unsigned i = 0; i < n; i++)
        if (which >> i & 1)
            release(parts[first + i]);
    mcache_release(self());
}

/* A place of n parts, of which those in `used` have been used, and the others given back. */
static void check_mixed_place(unsigned n, uint64_t used) {
    unsigned first = side_by_side(n);
    char *place = parts[first];
    size_t size = (size_t)n * PART;
    for (unsigned i = 0; i < n; i++)
        if (used >> i & 1)
            memset(parts[first + i], 0xa5, PART);
    release_parts(first, n, ~used);
    mheap_scavenge(&mheap_);
    release_parts(first, n, used);
    mheap_reclaim(&mheap_);
    char *p = alloc_zeroed(size);
    assert_true(p <= place && place - p < PART); /* a little may have been free before it */
    for (unsigned i = 0; i + 1 < n && n <= 16; i++)
        if ((used >> i & 1) == 0)
            assert_int_equal(resident_pages(place + (size_t)i * PART, PART), 0);
    for (size_t i = 0; i < size; i++)
        if (p[i] != 0)
            fail_msg("byte %zu of %zu is %d, used %lx", i, size, p[i], (unsigned long)used);
    release(p);
    for (unsigned i = 0; i < first; i++)
        release(parts[i]);
    mcache_release(self());
    mheap_scavenge(&mheap_);
}

static void only_what_was_used_of_a_place_is_cleared(void **state) {
    (void)state;
    struct random r = {3};
    begin_anew();
    for (unsigned used = 1; used < 1 << 5; used++)
        check_mixed_place(16, used * 0x8421u & 0xffff);
    for (unsigned i = 0; i < 20; i++) /* in more pieces than are told apart */
        check_mixed_place(MOST, random_next(&r));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_clear_however_it_was_used_before),
        cmocka_unit_test(fresh_memory_is_not_touched),
        cmocka_unit_test(only_what_was_used_of_a_place_is_cleared),
    };
    return cmocka_run_group_tests_name("zeroed", tests, NULL, NULL);
}
