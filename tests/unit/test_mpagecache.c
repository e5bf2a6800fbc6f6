/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page cache: named cases, and random use recounted after each step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "heap/mgcscavenge.h"
#include "heap/mpagecache.h"
#include "palloc_world.h"
#include "random.h"
#include "rounds.h"

#define FAIL UINTPTR_MAX
#define ALL  (~(uint64_t)0)

static struct page_cache fill(struct palloc_world *w) {
    mutex_lock(&w->lock);
    struct page_cache c = page_alloc_alloc_to_cache(&w->p);
    mutex_unlock(&w->lock);
    return c;
}

static void flush(struct palloc_world *w, struct page_cache *c) {
    mutex_lock(&w->lock);
    page_cache_flush(c, &w->p);
    mutex_unlock(&w->lock);
}

static void pages_from_a_cache(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t cache, scav;
        uintptr_t npages;
        uintptr_t page, nscav; /* the answer */
        uint64_t cache_after, scav_after;
    } cases[] = {
        {"empty", 0, 0, 1, FAIL, 0, 0, 0},
        {"the lowest page", 0xc, 0, 1, 2, 0, 0x8, 0},
        {"a scavenged page", 0xc, 0xc, 1, 2, 1, 0x8, 0x8},
        {"a run", 0xed, 0x20, 2, 2, 0, 0xe1, 0x20},
        {"the first run of three", 0xed, 0x60, 3, 5, 2, 0x0d, 0},
        {"no run of four", 0xed, 0, 4, FAIL, 0, 0xed, 0},
        {"the whole block", ALL, 0xff, 64, 0, 8, 0, 0},
        {"more than a block", ALL, 0, 65, FAIL, 0, ALL, 0},
        {"the highest page", (uint64_t)1 << 63, 0, 1, 63, 0, 0, 0},
    };
    const uintptr_t base = WORLD_BASE + 64 * GM_PAGE_SIZE;
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        struct page_cache c = {base, cases[k].cache, cases[k].scav};
        uintptr_t scav = 0;
        uintptr_t addr = page_cache_alloc(&c, cases[k].npages, &scav);
        uintptr_t page = addr == 0 ? FAIL : (addr - base) / GM_PAGE_SIZE;
        if (page != cases[k].page || (addr != 0 && scav != cases[k].nscav * GM_PAGE_SIZE) ||
            c.cache != cases[k].cache_after || c.scav != cases[k].scav_after)
            fail_msg("%s: page %td, %zu bytes scavenged", cases[k].name, (ptrdiff_t)page, scav);
        assert_int_equal(page_cache_empty(&c), cases[k].cache_after == 0);
    }
}

static void a_cache_takes_the_first_block_with_free_pages(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    const struct bit_range used[] = {{0, 130}, {132, 60}};
    const struct bit_range scav[] = {{131, 1}, {192, 10}};
    world_add_chunk(w, 0, used, 2, scav, 2);
    world_add_chunk(w, 3, used, 2, NULL, 0);

    struct page_cache a = fill(w); /* pages 128..191, of which 130 and 131 are free */
    assert_int_equal(world_page(a.base), 128);
    assert_int_equal(a.cache, 0xc);
    assert_int_equal(a.scav, 0x8);
    world_check(w, "the first cache");
    struct page_cache b = fill(w);
    assert_int_equal(world_page(b.base), 192);
    assert_int_equal(b.cache, ALL);
    assert_int_equal(b.scav, 0x3ff);
    world_check(w, "the second cache");

    flush(w, &a);
    assert_true(page_cache_empty(&a));
    world_check(w, "flushing");
    uintptr_t nscav;
    assert_int_equal(world_alloc(w, 2, &nscav), 130);
    assert_int_equal(nscav, GM_PAGE_SIZE);
    flush(w, &b);
    flush(w, &b); /* an empty cache: nothing happens */
    world_check(w, "flushing twice");
    assert_int_equal(world_alloc(w, 320, &nscav), 192);

    struct page_cache c = fill(w); /* chunk 0 is full: on in chunk 3 */
    assert_int_equal(world_page(c.base), 3 * 512 + 128);
    assert_int_equal(c.cache, 0xc);
    flush(w, &c);
    world_check(w, "the end");
    world_free(w);
}

static void a_full_heap_gives_an_empty_cache(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    struct page_cache none = fill(w);
    assert_true(page_cache_empty(&none));
    const struct bit_range all = {0, 512};
    world_add_chunk(w, 0, &all, 1, NULL, 0);
    none = fill(w);
    assert_true(page_cache_empty(&none));
    world_release(w, 511, 1);
    struct page_cache c = fill(w);
    assert_int_equal(world_page(c.base), 448);
    assert_int_equal(c.cache, (uint64_t)1 << 63);
    none = fill(w);
    assert_true(page_cache_empty(&none));
    flush(w, &c);
    world_check(w, "flushing the last page");
    world_free(w);
}

/* Several caches at once: no page may be given out twice, and none may be lost. */
#define NCACHES 5
#define NPAGES  (4 * 512)

struct owners {
    bool used[NPAGES]; /* given out */
};

static void take(struct owners *o, uintptr_t page, uintptr_t n) {
    for (uintptr_t i = page; i < page + n; i++) {
        assert_true(i < NPAGES);
        assert_false(o->used[i]);
        o->used[i] = true;
    }
}

static void give_some(struct owners *o, struct palloc_world *w, struct random *rnd) {
    uintptr_t page = random_below(rnd, NPAGES);
    uintptr_t n = 0;
    while (page + n < NPAGES && o->used[page + n] && n < 20)
        o->used[page + n++] = false;
    if (n != 0)
        world_release(w, page, n);
}

static void random_use_loses_no_page(void **state) {
    (void)state;
    static struct owners o;
    for (uint64_t k = 0; k < 4 * test_rounds(); k++) {
        const uint64_t seed = 20 + k + test_seed();
        struct random rnd = {seed};
        struct palloc_world *w = world_new();
        struct page_cache caches[NCACHES] = {{0}};
        memset(&o, 0, sizeof(o));
        for (unsigned c = 0; c < 4; c++)
            world_add_chunk(w, c, NULL, 0, &(struct bit_range){200, 150}, 1);
        for (unsigned step = 0; step < 4000; step++) {
            struct page_cache *c = &caches[random_below(&rnd, NCACHES)];
            uintptr_t scav, page, n = random_below(&rnd, 15) + 1;
            switch (random_below(&rnd, 8)) {
            case 0:
                flush(w, c);
                break;
            case 1:
                page = world_alloc(w, n * 4, &scav);
                if (page != FAIL)
                    take(&o, page, n * 4);
                break;
            case 2:
            case 3:
            case 4:
                give_some(&o, w, &rnd);
                break;
            case 5:
                page_alloc_scavenge(&w->p, n * GM_PAGE_SIZE * 8);
                break;
            default:
                if (page_cache_empty(c))
                    *c = fill(w);
                page = page_cache_alloc(c, n, &scav);
                if (page != 0)
                    take(&o, world_page(page), n);
            }
            world_check(w, "a random step");
        }
        uint64_t used = 0;
        for (unsigned i = 0; i < NPAGES; i++)
            used += o.used[i];
        for (unsigned i = 0; i < NCACHES; i++)
            flush(w, &caches[i]);
        world_check(w, "flushing all");
        assert_int_equal(w->p.npages_in_use, used);
        world_free(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_from_a_cache),
        cmocka_unit_test(a_cache_takes_the_first_block_with_free_pages),
        cmocka_unit_test(a_full_heap_gives_an_empty_cache),
        cmocka_unit_test(random_use_loses_no_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
