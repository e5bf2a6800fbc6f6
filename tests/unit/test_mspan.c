/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Spans, and what is decided by them, beside slow twins: which slot an address belongs to, what
 * lives, the sets of the mcentrals, tiny blocks, and whether an object can be resized where it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "heap/mspanset.h"
#include "heap/mtiny.h"
#include "random.h"
#include "rounds.h"

/* ---- slots -------------------------------------------------------------------------------- */

/* A span of the class, by the heap; its object is the first slot. */
static struct mspan *span_of_class(unsigned size_class) {
    void *p = heap_alloc(mcache_self, class_to_size[size_class], true);
    assert_non_null(p);
    struct mspan *s = mheap_span_of((uintptr_t)p);
    /* malloc passes some classes over; the header alone is what is asked here */
    assert_true(s->elem_size >= class_to_size[size_class]);
    return s;
}

static void expect_slot(const struct mspan *s, uintptr_t p) {
    uintptr_t offset = p - s->base;
    bool begins = p >= s->base && offset / s->elem_size < s->nelems && offset % s->elem_size == 0;
    size_t slot = SIZE_MAX;
    if (mspan_small_slot(s, p, &slot) != begins || (begins && slot != offset / s->elem_size))
        fail_msg("elem %u, offset %ld: slot %zu", s->elem_size, (long)offset, slot);
}

static void a_slot_begins_where_division_says(void **state) {
    (void)state;
    struct random r = {.state = 1 + test_seed()};
    for (unsigned c = 1; c < NUM_SIZE_CLASSES; c++) {
        const struct mspan *s = span_of_class(c);
        uintptr_t bytes = (uintptr_t)s->npages << GM_PAGE_SHIFT;
        for (uintptr_t offset = 0; offset < bytes + 2 * s->elem_size; offset++)
            expect_slot(s, s->base + offset);
        for (unsigned i = 1; i < 300; i++)
            expect_slot(s, s->base - i);
        /* Far away, also where the low half of the distance is that of a slot. */
        for (unsigned i = 0; i < 1000; i++) {
            uintptr_t slot = (uintptr_t)random_below(&r, s->nelems) * s->elem_size;
            expect_slot(s, random_next(&r));
            expect_slot(s, s->base + slot + ((uintptr_t)(1 + random_below(&r, 64)) << 32));
            expect_slot(s, s->base + slot - ((uintptr_t)(1 + random_below(&r, 30)) << 32));
        }
    }
}

/* ---- bits --------------------------------------------------------------------------------- */

static void live_slots_are_those_with_no_bit(void **state) {
    (void)state;
    struct random r = {.state = 2 + test_seed()};
    for (unsigned c = 1; c < NUM_SIZE_CLASSES; c++) {
        struct mspan *s = mheap_alloc(&mheap_, NULL, class_to_allocnpages[c],
                                      make_span_class(c, false), &mheap_.central[2].owner);
        assert_true(mspan_is_empty(s) && mspan_count_live(s) == 0 && !mspan_has_marks(s));
        static unsigned char is_free[1024], is_marked[1024];
        size_t nlive = 0, nmarked = 0;
        for (unsigned i = 0; i < s->nelems; i++) {
            unsigned kind = random_below(&r, 3);
            is_free[i] = kind == 0;
            is_marked[i] = kind == 1;
            nlive += kind == 2;
            nmarked += kind == 1;
            uint64_t bit = UINT64_C(1) << i % 64;
            mspan_free_bits(s)[i / 64] &= ~(is_free[i] ? 0 : bit);
            atomic_fetch_or(&mspan_free_marks(s)[i / 64], is_marked[i] ? bit : 0);
        }
        assert_int_equal(mspan_count_live(s), nlive);
        assert_int_equal(mspan_has_marks(s), nmarked != 0);
        for (unsigned i = 0; i < s->nelems; i++)
            assert_int_equal(mspan_live_word(s, i / 64) >> i % 64 & 1,
                             !is_free[i] && !is_marked[i]);
        assert_int_equal(mspan_sweep(s, 8), nmarked);
        assert_int_equal(mspan_count_live(s), nlive);
        for (unsigned i = 0; i < s->nelems; i++)
            assert_int_equal(mspan_free_bits(s)[i / 64] >> i % 64 & 1, is_free[i] || is_marked[i]);
        assert_int_equal(mspan_has_free(s), nlive != s->nelems);
        assert_int_equal(mspan_is_empty(s), nlive == 0);
        for (unsigned i = 0; i < s->nelems; i++)
            mspan_free_bits(s)[i / 64] |= UINT64_C(1) << i % 64;
        mheap_free(&mheap_, s);
    }
}

/* ---- sets --------------------------------------------------------------------------------- */

/* An array in which the order is kept, as a set keeps it: the last comes into the place of the one
 * that is taken out. */
static void sets_agree_with_an_array(void **state) {
    (void)state;
    enum { NSPANS = 2000, STEPS = 40000 };
    struct random r = {.state = 3 + test_seed()};
    struct mspan_set set = {0};
    static struct mspan *in[NSPANS], *out[NSPANS];
    size_t nin = 0, nout = NSPANS;
    struct mspan *spans = aligned_alloc(64, NSPANS * sizeof *spans);
    assert_non_null(spans);
    memset(spans, 0, NSPANS * sizeof *spans);
    for (size_t i = 0; i < NSPANS; i++)
        out[i] = &spans[i];
    for (unsigned i = 0; i < STEPS * test_rounds(); i++) {
        unsigned grow = i / 8000 % 2 == 0 ? 6 : 3; /* of 10 */
        if (nout > 0 && random_below(&r, 10) < grow) {
            in[nin] = out[--nout];
            mspan_set_push(&set, in[nin++]);
        } else if (nin > 0 && random_below(&r, 2) == 0) {
            assert_ptr_equal(mspan_set_pop(&set), in[nin - 1]);
            out[nout++] = in[--nin];
        } else if (nin > 0) {
            size_t k = random_below(&r, (unsigned)nin);
            mspan_set_remove(&set, in[k]);
            out[nout++] = in[k];
            in[k] = in[--nin];
        } else {
            assert_null(mspan_set_pop(&set));
        }
        assert_int_equal(set.n, nin);
        if (i % 64 == 0)
            assert_true(mspan_set_consistent(&set));
    }
    assert_true(set.nblocks > 1);
    free(spans);
}

/* ---- tiny blocks -------------------------------------------------------------------------- */

/* Go: runtime/malloc.go mallocgc: where the next object of the size goes in a block of which off
 * bytes are taken, or TINY_SIZE if it does not fit. */
static size_t go_tiny_offset(size_t off, size_t size) {
    size_t align = (size & 7) == 0 ? 8 : (size & 3) == 0 ? 4 : (size & 1) == 0 ? 2 : 1;
    off = (off + align - 1) & ~(align - 1);
    return off + size <= TINY_SIZE ? off : TINY_SIZE;
}

static void tiny_objects_lie_where_go_puts_them(void **state) {
    (void)state;
    enum { STEPS = 20000, NLIVE = 700 };
    struct random r = {.state = 4 + test_seed()};
    static struct {
        unsigned char *p;
        size_t size;
    } live[NLIVE];
    struct mcache *c = mcache_self;
    tiny_flush(c);
    uintptr_t block = 0;
    size_t off = TINY_SIZE;
    for (unsigned i = 0; i < STEPS * test_rounds(); i++) {
        size_t k = random_below(&r, NLIVE);
        if (live[k].p != NULL) {
            assert_int_equal(*live[k].p, (unsigned char)(k + live[k].size));
            assert_true(tiny_usable(live[k].p) >= live[k].size);
            assert_int_equal(heap_free_slow((uintptr_t)live[k].p), FREE_OK);
            live[k].p = NULL;
            continue;
        }
        size_t size = 1 + random_below(&r, TINY_SIZE - 1);
        unsigned char *p = tiny_alloc(c, size);
        size_t at = block != 0 ? go_tiny_offset(off, size) : TINY_SIZE;
        if (at == TINY_SIZE) {
            assert_int_equal((uintptr_t)p % TINY_SIZE, 0);
            block = (uintptr_t)p;
            at = 0;
        }
        assert_ptr_equal(p, block + at);
        off = at + size;
        live[k].p = p;
        live[k].size = size;
        memset(p, (unsigned char)(k + size), size);
    }
    for (size_t k = 0; k < NLIVE; k++)
        if (live[k].p != NULL)
            assert_int_equal(heap_free_slow((uintptr_t)live[k].p), FREE_OK);
    tiny_flush(c);
}

/* ---- resizing ----------------------------------------------------------------------------- */

static bool page_is_free(uintptr_t p) {
    return addr_ranges_contains(&mheap_.pages.in_use, p) &&
           !palloc_bits_get(&page_alloc_chunk(&mheap_.pages, chunk_index(p))->alloc,
                            chunk_page_index(p));
}

static bool pages_are_free(uintptr_t from, uintptr_t to) {
    for (uintptr_t p = from; p < to; p += GM_PAGE_SIZE)
        if (!page_is_free(p))
            return false;
    return true;
}

/* Whether the object of s can hold size bytes where it is, by looking at each page. */
static bool slow_fits(const struct mspan *s, size_t size) {
    size_t elem = mspan_elem_bytes(s);
    if (s->elem_size != 0) /* more than half of it would be waste: move it */
        return size <= elem && (elem <= 16 || size > elem / 2);
    return size > MAX_SMALL_SIZE &&
           pages_are_free(s->base + elem, s->base + align_up(size, GM_PAGE_SIZE));
}

static void objects_stay_where_they_can(void **state) {
    (void)state;
    enum { STEPS = 6000, NLIVE = 60 };
    struct random r = {.state = 5 + test_seed()};
    static void *live[NLIVE];
    unsigned nstayed = 0, nmoved = 0;
    for (unsigned i = 0; i < STEPS * test_rounds(); i++) {
        void **at = &live[random_below(&r, NLIVE)];
        size_t size = 8 + random_below(&r, random_below(&r, 4) == 0 ? 40000 : 400000);
        size_t slot;
        if (*at == NULL) {
            *at = heap_alloc(mcache_self, size, false);
            continue;
        }
        struct mspan *s = heap_find(*at, &slot);
        assert_non_null(s);
        bool stays = slow_fits(s, size);
        assert_int_equal(heap_realloc_in_place(s, size), stays);
        nstayed += stays;
        nmoved += !stays;
        if (stays) {
            assert_true(heap_usable(*at) >= size &&
                        heap_usable(*at) - size < 2 * GM_PAGE_SIZE + size);
        } else {
            assert_int_equal(heap_free_slow((uintptr_t)*at), FREE_OK);
            *at = NULL;
        }
    }
    const char *why = NULL;
    assert_true(mheap_consistent(&mheap_, &why));
    assert_true(nstayed > STEPS / 20 && nmoved > STEPS / 20);
}

static int make_heap(void **state) {
    (void)state;
    malloc_tiny = true;
    return heap_alloc(mcache_self, 100, false) != NULL ? 0 : 1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_begins_where_division_says),
        cmocka_unit_test(live_slots_are_those_with_no_bit),
        cmocka_unit_test(sets_agree_with_an_array),
        cmocka_unit_test(tiny_objects_lie_where_go_puts_them),
        cmocka_unit_test(objects_stay_where_they_can),
    };
    return cmocka_run_group_tests_name("mspan", tests, make_heap, NULL);
}
