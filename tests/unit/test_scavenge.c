/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The scavenger: which pages are given back, and that only free ones are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "heap/mgcpacer.h"
#include "heap/mgcscavenge.h"
#include "heap/mpagecache.h"
#include "palloc_world.h"
#include "random.h"

#define PAGES PALLOC_CHUNK_PAGES
#define MIB   ((uint64_t)1 << 20)

/* ---- candidates ------------------------------------------------------------------------------ */

static void candidates(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct bit_range alloc[4], scav[4];
        unsigned search_idx, min, max, huge;
        unsigned base, npages; /* the answer; 0 pages = none */
    } cases[] = {
        {"all free and backed", {{0, 0}}, {{0, 0}}, 511, 1, 512, 0, 0, 512},
        {"all used", {{0, 512}}, {{0, 0}}, 511, 1, 512, 0, 0, 0},
        {"all scavenged", {{0, 0}}, {{0, 512}}, 511, 1, 512, 0, 0, 0},
        {"used or scavenged", {{0, 200}}, {{200, 312}}, 511, 1, 512, 0, 0, 0},
        {"the upper end of a run", {{0, 0}}, {{0, 0}}, 511, 1, 20, 0, 492, 20},
        {"the highest run", {{100, 10}, {300, 10}}, {{320, 192}}, 511, 1, 512, 0, 310, 10},
        {"below the search index", {{100, 10}, {300, 10}}, {{320, 192}}, 299, 1, 512, 0, 110, 190},
        {"search index inside a run", {{0, 50}}, {{0, 0}}, 99, 1, 512, 0, 50, 50},
        {"a run over words", {{0, 60}, {70, 442}}, {{0, 0}}, 511, 1, 512, 0, 60, 10},
        {"short runs are skipped",
         {{0, 20}, {40, 10}, {57, 455}},
         {{0, 0}},
         511,
         8,
         512,
         0,
         20,
         20},
        {"exactly long enough", {{0, 50}, {58, 454}}, {{0, 0}}, 511, 8, 512, 0, 50, 8},
        {"none long enough", {{0, 50}, {57, 455}}, {{0, 0}}, 511, 8, 512, 0, 0, 0},
        {"max below min", {{0, 100}, {120, 392}}, {{0, 0}}, 511, 8, 1, 0, 112, 8},
        {"no short rest is left", {{0, 100}, {120, 392}}, {{0, 0}}, 511, 8, 16, 0, 100, 20},
        {"a long rest is left", {{0, 100}, {124, 388}}, {{0, 0}}, 511, 8, 16, 0, 108, 16},
        {"a free huge page isn't cut", {{0, 0}}, {{0, 0}}, 511, 1, 20, 256, 256, 256},
        {"one that is in use partly is", {{256, 1}}, {{0, 0}}, 511, 1, 20, 256, 492, 20},
        {"the first page alone", {{1, 511}}, {{0, 0}}, 511, 1, 512, 0, 0, 1},
    };
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        struct palloc_data m = {0};
        for (unsigned i = 0; i < 4; i++) {
            if (cases[k].alloc[i].n != 0)
                palloc_bits_set_range(&m.alloc, cases[k].alloc[i].i, cases[k].alloc[i].n);
            if (cases[k].scav[i].n != 0)
                palloc_bits_set_range(&m.scavenged, cases[k].scav[i].i, cases[k].scav[i].n);
        }
        unsigned base = 0;
        unsigned n = find_scavenge_candidate(&m, cases[k].search_idx, cases[k].min, cases[k].max,
                                             cases[k].huge, &base);
        if (n != cases[k].npages || (n != 0 && base != cases[k].base))
            fail_msg("%s: %u pages at %u", cases[k].name, n, base);
    }
}

/* The slow twin, without max and huge pages. */
static unsigned slow_candidate(const struct palloc_data *m, unsigned search_idx, unsigned min,
                               unsigned *base) {
    unsigned run = 0;
    for (unsigned i = search_idx + 1; i-- > 0;) {
        bool backed = !palloc_bits_get(&m->alloc, i) && !palloc_bits_get(&m->scavenged, i);
        run = backed ? run + 1 : 0;
        bool ends =
            i == 0 || palloc_bits_get(&m->alloc, i - 1) || palloc_bits_get(&m->scavenged, i - 1);
        *base = i;
        if (ends && run >= min)
            return run;
    }
    return 0;
}

static void candidates_agree_with_the_slow_twin(void **state) {
    (void)state;
    struct random rnd = {30};
    for (unsigned round = 0; round < 20000; round++) {
        struct palloc_data m = {0};
        for (unsigned k = random_below(&rnd, 12); k > 0; k--) {
            unsigned i = random_below(&rnd, PAGES);
            unsigned n = random_below(&rnd, random_below(&rnd, PAGES - i) + 1) + 1;
            if (k % 2 == 0)
                palloc_bits_set_range(&m.scavenged, i, n);
            else
                palloc_data_alloc_range(&m, i, n);
        }
        unsigned search = random_below(&rnd, PAGES);
        unsigned min = 1u << random_below(&rnd, 6);
        unsigned base = 0, slow_base = 0;
        unsigned n = find_scavenge_candidate(&m, search, min, PAGES, 0, &base);
        assert_int_equal(n, slow_candidate(&m, search, min, &slow_base));
        if (n != 0)
            assert_int_equal(base, slow_base);
    }
}

/* ---- giving back ----------------------------------------------------------------------------- */

static struct palloc_bits *scavenged(struct palloc_world *w, unsigned c) {
    return &page_alloc_chunk(&w->p, world_chunk(c))->scavenged;
}

static void the_highest_long_runs_go_first(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    w->p.phys_huge_pages = 0;
    const struct bit_range used[] = {{0, 400}, {404, 40}, {460, 52}};
    world_add_chunk(w, 0, NULL, 0, NULL, 0);
    world_add_chunk(w, 9, used, 3, NULL, 0); /* free: 4 pages at 400, 16 at 444 */

    /* 10 pages are wanted; what would be left of the run is worth nothing, so it goes along. */
    assert_int_equal(page_alloc_scavenge(&w->p, 10 * GM_PAGE_SIZE), 16 * GM_PAGE_SIZE);
    assert_int_equal(palloc_bits_popcnt_range(scavenged(w, 9), 444, 16), 16);
    world_check(w, "the first run");
    /* The 4 pages are skipped. */
    assert_int_equal(page_alloc_scavenge(&w->p, 100 * GM_PAGE_SIZE), 100 * GM_PAGE_SIZE);
    assert_int_equal(palloc_bits_popcnt_range(scavenged(w, 0), 412, 100), 100);
    world_check(w, "the second run");
    assert_int_equal(page_alloc_scavenge(&w->p, 1000 * GM_PAGE_SIZE), 412 * GM_PAGE_SIZE);
    assert_int_equal(page_alloc_scavenge(&w->p, 1), 0);
    assert_int_equal(w->p.npages_released, 16 + 512);
    world_check(w, "all long runs");
    world_free(w);
}

static void all_means_short_runs_too(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    const struct bit_range used[] = {{1, 30}, {35, 477}};
    world_add_chunk(w, 0, used, 2, NULL, 0);
    world_add_chunk(w, 70, used, 2, NULL, 0); /* another word of the index */
    assert_int_equal(page_alloc_scavenge(&w->p, 100 * GM_PAGE_SIZE), 0);
    assert_int_equal(page_alloc_scavenge(&w->p, SCAVENGE_ALL), 10 * GM_PAGE_SIZE);
    assert_int_equal(w->p.npages_scavenged, 10);
    assert_int_equal(page_alloc_scavenge(&w->p, SCAVENGE_ALL), 0);
    assert_int_equal(w->p.nscavenge_calls, 4);
    world_check(w, "scavenging all");
    world_free(w);
}

/* Of huge pages only those that are free as a whole, and then with what is scavenged of them,
 * unless all is wanted. */
static void huge_pages_go_back_whole(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    w->p.huge = true;
    w->p.phys_huge_pages = 256;
    const struct bit_range used = {300, 1}, fresh[] = {{10, 200}, {310, 202}};
    world_add_chunk(w, 0, &used, 1, NULL, 0);
    world_add_chunk(w, 9, &used, 1, fresh, 2);
    assert_int_equal(page_alloc_scavenge(&w->p, 64 << 10), 56 * GM_PAGE_SIZE);
    assert_int_equal(palloc_bits_popcnt_range(scavenged(w, 9), 0, 256), 256);
    world_check(w, "a huge page of which a part was scavenged");
    assert_int_equal(page_alloc_scavenge(&w->p, 1 << 20), 256 * GM_PAGE_SIZE);
    assert_int_equal(page_alloc_scavenge(&w->p, 1 << 20), 0); /* 211 pages are free behind 300 */
    assert_int_equal(w->p.npages_released, 2 * 256);
    assert_int_equal(page_alloc_scavenge(&w->p, SCAVENGE_ALL), (53 + 255) * GM_PAGE_SIZE);
    world_check(w, "all");
    world_free(w);
}

/* What is freed after a look that found nothing is found by the next one. */
static void freed_pages_are_found_again(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    const struct bit_range all = {0, 512};
    world_add_chunk(w, 0, &all, 1, NULL, 0);
    world_add_chunk(w, 40000, &all, 1, NULL, 0);
    assert_int_equal(page_alloc_scavenge(&w->p, SCAVENGE_ALL), 0);

    world_release(w, 100, 5);
    assert_int_equal(page_alloc_scavenge(&w->p, 64 << 10), 0); /* too short */
    world_release(w, 105, 3);                                  /* now it is long */
    assert_int_equal(page_alloc_scavenge(&w->p, 64 << 10), 8 * GM_PAGE_SIZE);

    world_release(w, (uintptr_t)40000 * 512, 20);
    world_release(w, 0, 20);
    assert_int_equal(page_alloc_scavenge(&w->p, 1 << 20), 40 * GM_PAGE_SIZE);
    world_check(w, "scavenging again");
    world_free(w);
}

/* A page in a cache is nobody's while its chunk is looked at, and comes back later. */
static void flushed_pages_are_found_again(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    const struct bit_range used = {64, 448};
    world_add_chunk(w, 0, &used, 1, NULL, 0);
    mutex_lock(&w->lock);
    struct page_cache c = page_alloc_alloc_to_cache(&w->p);
    mutex_unlock(&w->lock);
    assert_int_equal(page_alloc_scavenge(&w->p, SCAVENGE_ALL), 0);
    mutex_lock(&w->lock);
    page_cache_flush(&c, &w->p);
    mutex_unlock(&w->lock);
    assert_int_equal(page_alloc_scavenge(&w->p, SCAVENGE_ALL), 64 * GM_PAGE_SIZE);
    world_check(w, "scavenging flushed pages");
    world_free(w);
}

/* Fresh pages are scavenged, too, but using them is no second use. */
static void pages_used_again_are_counted(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    uintptr_t scav;
    const struct bit_range fresh = {0, 256};
    world_add_chunk(w, 0, NULL, 0, &fresh, 1);
    assert_int_equal(page_alloc_scavenge(&w->p, 256 * GM_PAGE_SIZE), 256 * GM_PAGE_SIZE);
    assert_int_equal(world_alloc(w, 250, &scav), 0);
    assert_int_equal(scav, 250 * GM_PAGE_SIZE);
    assert_int_equal(w->p.npages_reused, 0);
    assert_int_equal(world_alloc(w, 10, &scav), 250);
    assert_int_equal(scav, 10 * GM_PAGE_SIZE);
    assert_int_equal(w->p.npages_reused, 4);

    /* Through a cache: those that come back unused don't count. */
    mutex_lock(&w->lock);
    struct page_cache c = page_alloc_alloc_to_cache(&w->p); /* 260..319 */
    mutex_unlock(&w->lock);
    assert_int_equal(w->p.npages_reused, 4 + 60);
    assert_int_not_equal(page_cache_alloc(&c, 3, &scav), 0);
    assert_int_equal(scav, 3 * GM_PAGE_SIZE);
    mutex_lock(&w->lock);
    page_cache_flush(&c, &w->p);
    mutex_unlock(&w->lock);
    assert_int_equal(w->p.npages_reused, 4 + 3);
    world_check(w, "using scavenged pages");
    world_free(w);
}

/* ---- on real memory -------------------------------------------------------------------------- */

#define REAL_BYTES (4 * PALLOC_CHUNK_BYTES)

/* An allocator whose pages exist, all of them touched and free. */
static struct palloc_world *real_world(char **ret_base) {
    struct palloc_world *w = world_new();
    w->p.test = false;
    char *base = mem_reserve_aligned(REAL_BYTES, PALLOC_CHUNK_BYTES, MEM_HEAP);
    assert_non_null(base);
    assert_true(mem_map(base, REAL_BYTES, MEM_HEAP));
    uintptr_t scav;
    mutex_lock(&w->lock);
    assert_true(page_alloc_grow(&w->p, (uintptr_t)base, REAL_BYTES));
    assert_int_equal(page_alloc_alloc(&w->p, REAL_BYTES / GM_PAGE_SIZE, &scav), (uintptr_t)base);
    mutex_unlock(&w->lock);
    assert_int_equal(scav, REAL_BYTES);
    mem_used(base, scav, MEM_HEAP);
    memset(base, 'x', REAL_BYTES);
    mutex_lock(&w->lock);
    page_alloc_free(&w->p, (uintptr_t)base, REAL_BYTES / GM_PAGE_SIZE, false);
    mutex_unlock(&w->lock);
    *ret_base = base;
    return w;
}

static size_t resident(const char *base) {
    static unsigned char in_core[REAL_BYTES / PHYS_PAGE_SIZE];
    assert_int_equal(mincore((void *)base, REAL_BYTES, in_core), 0);
    size_t n = 0;
    for (size_t i = 0; i < sizeof(in_core); i++)
        n += in_core[i] & 1;
    return n * PHYS_PAGE_SIZE;
}

static void memory_goes_back_to_the_kernel(void **state) {
    (void)state;
    char *base;
    struct palloc_world *w = real_world(&base);
    assert_int_equal(resident(base), REAL_BYTES);
    uint64_t ready = mem_stats[MEM_HEAP].ready;
    size_t got = page_alloc_scavenge(&w->p, 6 * MIB);
    assert_true(got >= 6 * MIB && got < 8 * MIB);
    assert_int_equal(mem_stats[MEM_HEAP].ready, ready - got);
    assert_int_equal(resident(base), REAL_BYTES - got);
    assert_int_equal(base[REAL_BYTES - got - 1], 'x');
    for (size_t i = REAL_BYTES - got; i < REAL_BYTES; i++) {
        if (base[i] != 0)
            fail_msg("byte %zu is not zero", i);
    }
    assert_int_equal(page_alloc_retained(&w->p), REAL_BYTES - got);
    world_check(w, "giving memory back");
    mem_free(base, REAL_BYTES, MEM_HEAP, 0, got);
    world_free(w);
}

static void locked_memory_stays(void **state) {
    (void)state;
    char *base;
    struct palloc_world *w = real_world(&base);
    char *locked = base + REAL_BYTES - GM_PAGE_SIZE;
    /* Not mlock(): with the sanitizers that does nothing. */
    if (syscall(SYS_mlock, locked, PHYS_PAGE_SIZE) != 0) { /* RLIMIT_MEMLOCK is 0 here */
        mem_free(base, REAL_BYTES, MEM_HEAP, 0, 0);
        world_free(w);
        skip();
    }
    uint64_t ready = mem_stats[MEM_HEAP].ready;
    assert_int_equal(page_alloc_scavenge(&w->p, MIB), 0);
    assert_int_equal(mem_stats[MEM_HEAP].ready, ready);
    assert_int_equal(w->p.npages_scavenged, 0);
    assert_int_equal(locked[0], 'x');
    world_check(w, "a refusal");
    assert_int_equal(syscall(SYS_munlock, locked, PHYS_PAGE_SIZE), 0);
    assert_true(page_alloc_scavenge(&w->p, MIB) >= MIB);
    mem_free(base, REAL_BYTES, MEM_HEAP, 0, w->p.npages_scavenged * GM_PAGE_SIZE);
    world_free(w);
}

struct racer {
    struct palloc_world *w;
    uint64_t seed;
    uint64_t nwrong;
};

/* A thread that takes pages, fills them, finds them as it left them, and frees them.  It counts
 * what it finds wrong. */
static void *allocate(void *arg) {
    struct racer *r = arg;
    struct random rnd = {r->seed};
    for (unsigned step = 0; step < 1500; step++) {
        uintptr_t scav, n = random_below(&rnd, 40) + 1;
        mutex_lock(&r->w->lock);
        uint64_t *p = (uint64_t *)page_alloc_alloc(&r->w->p, n, &scav);
        mutex_unlock(&r->w->lock);
        if (p == NULL) {
            r->nwrong++;
            continue;
        }
        if (scav != 0)
            mem_used(p, scav, MEM_HEAP);
        size_t words = n * GM_PAGE_SIZE / sizeof(*p);
        for (size_t i = 0; i < words; i += 64)
            p[i] = r->seed;
        for (size_t i = 0; i < words; i += 64)
            r->nwrong += p[i] != r->seed;
        mutex_lock(&r->w->lock);
        page_alloc_free(&r->w->p, (uintptr_t)p, n, false);
        mutex_unlock(&r->w->lock);
    }
    return NULL;
}

static void pages_in_use_are_never_given_back(void **state) {
    (void)state;
    char *base;
    struct palloc_world *w = real_world(&base);
    pthread_t threads[3];
    struct racer racers[3];
    for (unsigned i = 0; i < 3; i++) {
        racers[i] = (struct racer){w, 100 + i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, allocate, &racers[i]), 0);
    }
    for (unsigned i = 0; i < 300; i++)
        page_alloc_scavenge(&w->p, i % 10 == 0 ? SCAVENGE_ALL : MIB);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(racers[i].nwrong, 0);
    }
    world_check(w, "racing");
    assert_int_equal(w->p.npages_in_use, 0);
    page_alloc_scavenge(&w->p, SCAVENGE_ALL);
    assert_int_equal(w->p.npages_scavenged, REAL_BYTES / GM_PAGE_SIZE);
    assert_int_equal(resident(base), 0);
    mem_free(base, REAL_BYTES, MEM_HEAP, 0, REAL_BYTES);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candidates),
        cmocka_unit_test(candidates_agree_with_the_slow_twin),
        cmocka_unit_test(the_highest_long_runs_go_first),
        cmocka_unit_test(all_means_short_runs_too),
        cmocka_unit_test(huge_pages_go_back_whole),
        cmocka_unit_test(freed_pages_are_found_again),
        cmocka_unit_test(flushed_pages_are_found_again),
        cmocka_unit_test(pages_used_again_are_counted),
        cmocka_unit_test(memory_goes_back_to_the_kernel),
        cmocka_unit_test(locked_memory_stays),
        cmocka_unit_test(pages_in_use_are_never_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
