/* SPDX-License-Identifier: BSD-3-Clause
 *
 * mheap_consistent finds damage: one bit, one pointer, one counter at a time is changed in a heap
 * that holds some of everything, and the recount must say what is wrong; when it is mended, nothing
 * is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "heap/malloc.h"
#include "heap/mslots.h"
#include "heap/mtiny.h"

/* ---- a heap that holds some of everything ------------------------------------------------- */

static struct {
    struct mcache *c;
    struct mcache *idle;   /* of a thread that has ended */
    struct mspan *current; /* of class 64, with free slots and hints */
    struct mspan *full;    /* of class 64, full, without hints */
    struct mspan *listed;
    struct mspan *pending; /* with a mark, on the mcache's list of such */
    struct mspan *central; /* in the partial set of its mcentral */
    struct mspan *large;   /* of a large object */
    struct mspan *kept;    /* a large span without one */
    struct mspan *recorded;
    struct mspan *tiny;
    uintptr_t in_tiny;    /* a tiny object that lives */
    struct mspan *binned; /* one that the heap keeps */
    struct mspan *dead;   /* a header that is in no use */
} w;

static struct mspan *span_of(void *p) {
    return mheap_span_of((uintptr_t)p);
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* A thread leaves a full span with its mcache, and one with free slots to the mcentral. */
static void *leave_objects(void *unused) {
    (void)unused;
    static void *p[200];
    for (size_t i = 0; i < 200; i++)
        p[i] = heap_alloc(mcache_self, 1000, false);
    w.idle = mcache_self;
    for (size_t i = 0; i < 200; i++)
        if (span_of(p[i]) == span_of(p[180]) && i % 2 == 0)
            release(p[i]);
    w.central = span_of(p[180]);
    return NULL;
}

/* Marks are set as another thread would. */
static void mark(void *p) {
    size_t slot;
    struct mspan *s = heap_find(p, &slot);
    assert_int_equal(mspan_mark_free(s, slot), MARK_OK);
}

/* All allocations first, as they sweep, and drop hints; then the frees; then the mark. */
static int make_world(void **state) {
    (void)state;
    static void *p[3000], *q[300];
    malloc_tiny = true;
    for (size_t i = 0; i < 3000; i++)
        p[i] = heap_alloc(mcache_self, 64, false);
    w.c = mcache_self;
    for (size_t i = 0; i < 300; i++)
        q[i] = heap_alloc(w.c, 500, false);
    void *a = heap_alloc(w.c, 100000, false), *b = heap_alloc(w.c, 200000, false);
    void *c[10];
    for (size_t i = 0; i < 10; i++)
        c[i] = heap_alloc(w.c, 300000, false);
    void *big = heap_alloc(w.c, 20 << 20, false); /* too large to be kept */
    w.in_tiny = (uintptr_t)heap_alloc(w.c, 4, false);
    pthread_t t;
    pthread_create(&t, NULL, leave_objects, NULL);
    pthread_join(t, NULL);

    w.current = w.c->alloc[span_of(p[0])->spc.v].span;
    w.full = span_of(p[600]);
    w.pending = span_of(p[900]);
    w.listed = span_of(p[1500]);
    w.recorded = span_of(q[5]);
    w.large = span_of(a);
    w.kept = span_of(b);
    w.dead = span_of(big);
    w.tiny = mheap_span_of(w.in_tiny);
    release(b);
    for (size_t i = 0; i < 10; i++)
        release(c[i]);
    w.binned = mheap_.bins.bin[large_pages(300000)].first;
    release(big);
    /* More frees than there are hints for, in one span: it is listed. */
    for (size_t i = 0; i < 3000; i++)
        if (span_of(p[i]) == w.listed && i % 4 != 0)
            release(p[i]);
    mslots_record(w.recorded, mspan_object_index(w.recorded, (uintptr_t)q[5]), 7, 3);
    mark(p[900]);
    return 0;
}

/* ---- damages ------------------------------------------------------------------------------ */

static const char *why(void) {
    const char *said = NULL;
    bool ok = mheap_consistent(&mheap_, &said);
    assert_int_equal(ok, said == NULL);
    return said != NULL ? said : "nothing";
}

/* Flips bits of a word of any width, calls the recount, flips them back. */
#define EXPECT(field, bits, want)                                                                  \
    do {                                                                                           \
        assert_string_equal(why(), "nothing");                                                     \
        (field) ^= (bits);                                                                         \
        const char *said_ = why();                                                                 \
        (field) ^= (bits);                                                                         \
        if (strcmp(said_, want) != 0)                                                              \
            fail_msg("%s damaged: \"%s\", not \"%s\"", #field, said_, want);                       \
        assert_string_equal(why(), "nothing");                                                     \
    } while (0)

/* The same for a pointer, which gets another value meanwhile. */
#define EXPECT_SET(field, value, want)                                                             \
    do {                                                                                           \
        assert_string_equal(why(), "nothing");                                                     \
        __typeof__(field) was_ = (field);                                                          \
        (field) = (value);                                                                         \
        const char *said_ = why();                                                                 \
        (field) = was_;                                                                            \
        if (strcmp(said_, want) != 0)                                                              \
            fail_msg("%s damaged: \"%s\", not \"%s\"", #field, said_, want);                       \
        assert_string_equal(why(), "nothing");                                                     \
    } while (0)

static struct mcache_entry *entry(void) {
    return &w.c->alloc[w.current->spc.v];
}

static void a_bit_of_a_bitmap(void **state) {
    (void)state;
    /* A slot that is free, and nobody would find. */
    EXPECT(mspan_free_bits(w.full)[1], 4, "a free slot can't be found: no list, no hint");
    EXPECT(mspan_free_marks(w.full)[1], 4, "a mark is lost: nobody is to sweep it");
    EXPECT(mspan_free_bits(w.pending)[mspan_object_index(w.pending, w.pending->base) / 64], 0,
           "nothing"); /* the test itself: no damage, no finding */
}

static void marks_and_free_bits(void **state) {
    (void)state;
    size_t word = 0;
    while (mspan_free_marks(w.pending)[word] == 0)
        word++;
    uint64_t marks = mspan_free_marks(w.pending)[word];
    EXPECT(mspan_free_bits(w.pending)[word], marks, "a slot is free and marked");
    struct mspan *s = w.recorded; /* of 16 slots */
    EXPECT(mspan_free_bits(s)[s->nwords - 1], UINT64_C(1) << 63,
           "a bitmap has a bit beyond the span's slots");
    EXPECT(mspan_free_marks(s)[s->nwords - 1], UINT64_C(1) << 63,
           "a bitmap has a bit beyond the span's slots");
}

static void a_hint(void **state) {
    (void)state;
    struct hint *h = entry()->bottom;
    assert_true(entry()->sp - h >= 2);
    EXPECT(h->bit_addr, 1, "a hint has the bit of another slot");
    EXPECT_SET(h->p, w.recorded->base, "a hint leads to a span that is not its mcache's");
    EXPECT_SET(entry()->sp, entry()->end + 1, "a stack of hints is not within its bounds");
    EXPECT_SET(w.c->alloc[w.recorded->spc.v].bottom, entry()->bottom,
               "a stack of hints is not within its bounds");
}

static void what_an_mcache_allocates_from(void **state) {
    (void)state;
    struct mcache_entry *e = &w.c->alloc[w.recorded->spc.v];
    assert_true(e->span != NULL && *e->word != 0);
    EXPECT(e->word_base, 512, "an mcache takes other slots than its word says");
    EXPECT(e->elem_size, 8, "an mcache takes other slots than its word says");
    EXPECT_SET(e->span, w.full, "a current span is not its mcache's");
    EXPECT_SET(e->span, NULL, "a current span is not its mcache's");
    EXPECT(e->span->place, GOMALLOC_PLACE_CURRENT, "a free slot can't be found: no list, no hint");
    uint64_t other = 1;
    EXPECT_SET(e->word, &other, "an mcache takes slots from a word that is not its span's");
}

static void a_list_of_an_mcache(void **state) {
    (void)state;
    struct mspan_list *l = &w.c->listed[w.listed->spc.v];
    assert_true(l->first == w.listed);
    EXPECT_SET(l->n, 2, "an mcache's list has not as many spans as it says");
    EXPECT_SET(l->n, 0, "an mcache's list is not linked as it should be");
    EXPECT_SET(l->first, NULL, "an mcache's list has not as many spans as it says");
    EXPECT_SET(l->first, w.full, "a span on an mcache's list is not for it");
    EXPECT_SET(w.listed->prev, w.full, "an mcache's list is not linked as it should be");
    EXPECT_SET(w.listed->next, w.listed, "an mcache's list is not linked as it should be");
}

static void spans_that_wait(void **state) {
    (void)state;
    assert_true(w.c->owner.pending == w.pending);
    EXPECT_SET(w.c->owner.pending, NULL, "spans that wait with marks are not those on the lists");
    EXPECT(w.full->pending, mspan_waits, "spans that wait with marks are not those on the lists");
    EXPECT_SET(w.pending->pending_next, w.pending,
               "a list of spans that wait with marks has one that does not, or a loop");
    EXPECT_SET(w.pending->pending_next, w.full,
               "a list of spans that wait with marks has one that does not, or a loop");
    EXPECT_SET(w.pending->pending, 0, "a mark is lost: nobody is to sweep it");
}

static void an_mcentrals_sets(void **state) {
    (void)state;
    struct mcentral *c = &mheap_.central[w.central->spc.v];
    assert_int_equal(w.central->place, GOMALLOC_PLACE_PARTIAL_SWEPT);
    EXPECT_SET(w.central->place, GOMALLOC_PLACE_FULL_SWEPT,
               "an mcentral's span is in the wrong set");
    EXPECT_SET(w.central->place, GOMALLOC_PLACE_PARTIAL_UNSWEPT,
               "a span is in a set that is not for it");
    EXPECT_SET(w.central->place, GOMALLOC_PLACE_LISTED,
               "an mcentral's span is in a place that is not for it");
    EXPECT(w.central->set_index, 1, "a span set is broken");
    EXPECT_SET(c->partial_swept.n, 0, "mcentrals' spans are not those in the sets");
    assert_int_equal(w.full->set_index, 0);
    EXPECT_SET(c->partial_swept.spine[0][0], w.full, "a span is in a set that is not for it");
}

static void an_owner(void **state) {
    (void)state;
    EXPECT_SET(w.full->owner, (uintptr_t)&mheap_.central[w.full->spc.v],
               "an mcentral's span is in a place that is not for it");
    EXPECT_SET(w.full->owner, 0, "a span in use has no pages, no slots or no owner");
    EXPECT_SET(w.full->owner, (uintptr_t)&mheap_.owner,
               "a span's owner is neither an mcache nor its mcentral");
    EXPECT_SET(w.dead->owner, (uintptr_t)w.c, "a span that is not in use has an owner");
    EXPECT_SET(w.listed->owner, (uintptr_t)w.idle,
               "a hint leads to a span that is not its mcache's");
    EXPECT_SET(w.large->owner, (uintptr_t)&mheap_.central[5],
               "a large span's owner is neither the heap nor an mcache");
    EXPECT_SET(w.large->owner, (uintptr_t)&mheap_.owner,
               "a large span would not be freed as it should");
    EXPECT_SET(w.c->owner.id, w.idle->owner.id, "a current span is not its mcache's");
}

static void a_header(void **state) {
    (void)state;
    EXPECT(w.full->gen, 1, "a span is being changed, at rest");
    EXPECT(w.full->index, 1, "a span has another's number");
    EXPECT(w.full->elem_size, 8, "a small span is not cut as its class says");
    EXPECT(w.full->div_mul, 1, "a small span is not cut as its class says");
    EXPECT(w.full->nelems, 1, "a small span is not cut as its class says");
    EXPECT(w.full->limit, 64, "a small span is not cut as its class says");
    EXPECT(w.full->nwords, 1, "a span has not the bitmap for its slots");
    EXPECT(w.full->npages, 2, "a page of a span is not in the arena's table");
    EXPECT(w.full->base, GM_PAGE_SIZE, "a page of a span is not in the arena's table");
    EXPECT_SET(w.full->state, GOMALLOC_SPAN_DEAD, "a span that is not in use has an owner");
    EXPECT_SET(mheap_.spanalloc.inuse, mheap_.spanalloc.inuse + sizeof(struct mspan),
               "headers in use are not those of the spans");
}

static void a_large_span(void **state) {
    (void)state;
    const char *not_its = "a hint leads to a large span that is not its mcache's to use";
    struct mcache_entry *e = &w.c->large_alloc[w.kept->npages];
    EXPECT(w.large->free_bits0, 1, "a free large span is in no place, or in two");
    EXPECT(w.large->entry_off, 64, "a large span would not be freed as it should");
    EXPECT(w.large->limit, 1, "a large span would not be freed as it should");
    EXPECT(w.kept->free_marks0, 1, not_its);
    EXPECT(w.kept->free_bits0, 1, not_its);
    EXPECT_SET(e->bottom->p, w.large->base, not_its);
    EXPECT_SET(e->sp, e->bottom, "a free large span is in no place, or in two");
    EXPECT_SET(e->sp, e->end + 1, "a stack of large spans is not within its bounds");
    EXPECT(w.c->large.room, 8, "an mcache has not the room that it says");
    EXPECT(w.c->large.used[0], 2, "an mcache does not know which stacks of large spans it has");
    struct large_bin *bin = &mheap_.bins.bin[w.binned->npages];
    EXPECT_SET(w.binned->place, GOMALLOC_PLACE_NONE,
               "a bin has a span that is not free, or another's");
    EXPECT_SET(bin->first, w.large, "a bin has a span that is not free, or another's");
    EXPECT_SET(bin->n, 2, "a bin has not as many spans as it says");
    EXPECT(mheap_.bins.used[0], 2, "a bin has not as many spans as it says");
    EXPECT_SET(mheap_.bins.nspans, 2, "the bins have not as many spans as they say");
}

static void a_record(void **state) {
    (void)state;
    EXPECT(w.recorded->owner, SPAN_RECORDED, "a slot is recorded, and free would not know");
    EXPECT(w.full->owner, SPAN_RECORDED, "a span that says it has records has no table for them");
    const struct mcache_entry *e = &w.c->alloc[w.recorded->spc.v];
    size_t slot = 0;
    while (mslots_tag(w.recorded, slot) == 0)
        slot++;
    assert_true(e->span != w.recorded);
    mspan_mark_free(w.recorded, slot);
    assert_string_equal(why(), "a free slot is recorded");
    mslots_clear(w.recorded, slot);
    assert_string_equal(why(), "nothing");
}

static void a_tiny_block(void **state) {
    (void)state;
    size_t i = (w.in_tiny - w.tiny->base) / TINY_SIZE;
    _Atomic uint32_t *word = &atomic_load(&w.tiny->tiny)[i];
    EXPECT(*word, 1u << 16, "an mcache fills a tiny block that is none");
    EXPECT_SET(w.c->tiny, 0, "tiny blocks that are being filled are not those of the mcaches");
    EXPECT_SET(w.c->tiny, w.full->base, "an mcache fills a tiny block that is none");
    EXPECT_SET(word[1], 1u << 20, "a tiny block without objects was not freed");
    assert_true(w.tiny->nelems > i + 1); /* the block behind has not been taken yet */
    EXPECT_SET(word[1], 1, "a tiny object lives in a free slot");
}

static void pages(void **state) {
    (void)state;
    struct palloc_data *chunk = page_alloc_chunk(&mheap_.pages, chunk_index(w.full->base));
    unsigned page = chunk_page_index(w.full->base);
    EXPECT(chunk->alloc.w[page / 64], UINT64_C(1) << page % 64,
           "a page of a span is free to the page allocator");
    EXPECT(mheap_.pages_in_use, 1, "pages in use are not the sum of the spans");
    struct page_cache *pc = NULL;
    for (uint32_t i = 0; i < mcaches.n && pc == NULL; i++)
        pc = page_cache_empty(&mcaches.all[i]->pcache) ? NULL : &mcaches.all[i]->pcache;
    assert_non_null(pc);
    EXPECT_SET(pc->cache, pc->cache & (pc->cache - 1),
               pc->scav & pc->cache & -pc->cache
                   ? "a page cache has scavenged pages that it has not"
                   : "a page in use is in no span and in no page cache");
    EXPECT(pc->base, GM_PAGE_SIZE, "a page cache is not of the heap");
    EXPECT(mheap_.pages.summary[0][off_addr_to_level_index(0, (struct off_addr){w.full->base})].v,
           1, "an inner summary is wrong");
    EXPECT(mheap_.pages.npages_scavenged, 1, "npages_scavenged is wrong");
}

static void an_mcache_that_is_idle(void **state) {
    (void)state;
    assert_ptr_equal(mcaches.idle, w.idle);
    EXPECT(w.idle->attached, true, "the list of idle mcaches has one that is in use, or a loop");
    EXPECT_SET(mcaches.idle, NULL, "not every mcache is either in use or on the list of idle ones");
    EXPECT_SET(w.idle->next_idle, w.idle,
               "the list of idle mcaches has one that is in use, or a loop");
    EXPECT(mcaches.nidle, 1, "not every mcache is either in use or on the list of idle ones");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bit_of_a_bitmap),
        cmocka_unit_test(marks_and_free_bits),
        cmocka_unit_test(a_hint),
        cmocka_unit_test(what_an_mcache_allocates_from),
        cmocka_unit_test(a_list_of_an_mcache),
        cmocka_unit_test(spans_that_wait),
        cmocka_unit_test(an_mcentrals_sets),
        cmocka_unit_test(an_owner),
        cmocka_unit_test(a_header),
        cmocka_unit_test(a_large_span),
        cmocka_unit_test(a_tiny_block),
        cmocka_unit_test(pages),
        cmocka_unit_test(an_mcache_that_is_idle),
        cmocka_unit_test(a_record),
    };
    return cmocka_run_group_tests_name("check", tests, make_world, NULL);
}
