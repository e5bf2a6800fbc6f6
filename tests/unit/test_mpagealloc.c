/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page allocator: named cases, a slow twin, and growth without memory.  That it decides as Go
 * does is tested in tests/oracle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "heap/mgcscavenge.h"
#include "palloc_world.h"
#include "random.h"
#include "rounds.h"

#define FAIL  UINTPTR_MAX
#define PAGES PALLOC_CHUNK_PAGES

/* One chunk before the operations, by its number; {0} ends each list. */
struct chunk_case {
    unsigned c;
    struct bit_range alloc[4];
    struct bit_range scav[4];
};

enum what { END, ALLOC, ALIGNED, AT, FREE };

/* One operation on pages, and what it must answer. */
struct op_case {
    enum what what;
    uintptr_t npages;
    uintptr_t arg;  /* ALIGNED: pages to align to; AT, FREE: the page */
    uintptr_t page; /* the answer, or FAIL */
    uintptr_t scav; /* pages of it that were scavenged */
};

static size_t count(const struct bit_range *r) {
    size_t n = 0;
    while (r[n].n != 0)
        n++;
    return n;
}

static uintptr_t run_op(struct palloc_world *w, const struct op_case *op, uintptr_t *ret_scav) {
    uintptr_t addr = 0;
    *ret_scav = 0;
    mutex_lock(&w->lock);
    if (op->what == ALLOC)
        addr = page_alloc_alloc(&w->p, op->npages, ret_scav);
    if (op->what == ALIGNED)
        addr = page_alloc_alloc_aligned(&w->p, op->npages, op->arg, ret_scav);
    if (op->what == AT && page_alloc_alloc_at(&w->p, world_addr(op->arg), op->npages, ret_scav))
        addr = world_addr(op->arg);
    if (op->what == FREE)
        page_alloc_free(&w->p, world_addr(op->arg), op->npages, false);
    mutex_unlock(&w->lock);
    return addr == 0 ? FAIL : world_page(addr);
}

static void operations(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct chunk_case chunks[5];
        size_t nchunks;
        struct op_case ops[9];
    } cases[] = {
        {"pages come in address order",
         {{0, {{0, 0}}, {{0, 0}}}},
         1,
         {{ALLOC, 1, 0, 0, 0},
          {ALLOC, 5, 0, 1, 0},
          {ALLOC, 64, 0, 6, 0},
          {ALLOC, 442, 0, 70, 0},
          {ALLOC, 1, 0, FAIL, 0}}},
        {"scavenged pages are told",
         {{0, {{0, 0}}, {{0, 3}, {10, 2}}}},
         1,
         {{ALLOC, 2, 0, 0, 2}, {ALLOC, 10, 0, 2, 3}, {FREE, 12, 0, FAIL, 0}, {ALLOC, 12, 0, 0, 0}}},
        {"the first run that is long enough",
         {{0, {{3, 2}, {9, 1}, {20, 492}}, {{0, 0}}}},
         1,
         {{ALLOC, 4, 0, 5, 0},
          {ALLOC, 4, 0, 10, 0},
          {ALLOC, 4, 0, 14, 0},
          {ALLOC, 4, 0, FAIL, 0},
          {ALLOC, 3, 0, 0, 0},
          {ALLOC, 2, 0, 18, 0}}},
        {"over the boundary of two chunks",
         {{0, {{0, 500}}, {{0, 0}}}, {1, {{100, 412}}, {{0, 0}}}},
         2,
         {{ALLOC, 101, 0, 500, 0}, {ALLOC, 11, 0, 601, 0}, {ALLOC, 1, 0, FAIL, 0}}},
        {"over a whole free chunk",
         {{0, {{0, 511}}, {{0, 0}}}, {1, {{0, 0}}, {{5, 7}}}, {2, {{1, 511}}, {{0, 1}}}},
         3,
         {{ALLOC, 515, 0, FAIL, 0}, {ALLOC, 514, 0, 511, 8}, {ALLOC, 1, 0, FAIL, 0}}},
        {"not over a hole between chunks",
         {{0, {{0, 500}}, {{0, 0}}}, {2, {{0, 0}}, {{0, 0}}}},
         2,
         {{ALLOC, 13, 0, 1024, 0}, {ALLOC, 12, 0, 500, 0}}},
        {"far away",
         {{0, {{0, 512}}, {{0, 0}}}, {40000, {{0, 300}}, {{0, 0}}}},
         2,
         {{ALLOC, 1, 0, (uintptr_t)40000 * 512 + 300, 0},
          {FREE, 1, 7, FAIL, 0},
          {ALLOC, 1, 0, 7, 0}}},
        {"freed pages are first again",
         {{0, {{0, 512}}, {{0, 0}}}, {1, {{0, 0}}, {{0, 0}}}},
         2,
         {{ALLOC, 1, 0, 512, 0},
          {FREE, 3, 100, FAIL, 0},
          {ALLOC, 2, 0, 100, 0},
          {ALLOC, 2, 0, 513, 0},
          {ALLOC, 1, 0, 102, 0}}},
        {"part of an allocation is freed",
         {{0, {{0, 0}}, {{0, 0}}}},
         1,
         {{ALLOC, 512, 0, 0, 0},
          {FREE, 10, 64, FAIL, 0},
          {ALLOC, 11, 0, FAIL, 0},
          {ALLOC, 10, 0, 64, 0}}},
        {"aligned runs leave their edges free",
         {{0, {{0, 3}}, {{0, 0}}}},
         1,
         {{ALIGNED, 4, 16, 16, 0},
          {ALIGNED, 1, 256, 256, 0},
          {ALLOC, 13, 0, 3, 0},
          {ALIGNED, 8, 1, 20, 0},
          {ALIGNED, 400, 2, FAIL, 0}}},
        {"exactly these pages",
         {{0, {{8, 4}}, {{0, 0}}}, {1, {{0, 0}}, {{0, 2}}}},
         2,
         {{AT, 2, 4, 4, 0},
          {AT, 3, 6, FAIL, 0},
          {AT, 2, 6, 6, 0},
          {AT, 1, 4, FAIL, 0},
          {AT, 4, 510, 510, 2},
          {AT, 600, 514, FAIL, 0},
          {AT, 1, 1024, FAIL, 0},
          {ALLOC, 4, 0, 0, 0}}},
    };
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        struct palloc_world *w = world_new();
        for (size_t c = 0; c < cases[k].nchunks; c++) {
            const struct chunk_case *chunk = &cases[k].chunks[c];
            world_add_chunk(w, chunk->c, chunk->alloc, count(chunk->alloc), chunk->scav,
                            count(chunk->scav));
        }
        world_check(w, cases[k].name);
        for (size_t i = 0; i < 9 && cases[k].ops[i].what != END; i++) {
            const struct op_case *op = &cases[k].ops[i];
            uintptr_t scav;
            uintptr_t page = run_op(w, op, &scav);
            if (page != op->page || scav != op->scav * GM_PAGE_SIZE)
                fail_msg("%s: operation %zu: page %td, %zu bytes scavenged", cases[k].name, i,
                         (ptrdiff_t)page, scav);
            world_check(w, cases[k].name);
        }
        world_free(w);
    }
}

/* The slow twin: a byte for each page of a few chunks with holes between. */
#define TWIN_CHUNKS 12
#define TWIN_PAGES  (TWIN_CHUNKS * PALLOC_CHUNK_PAGES)

static const unsigned twin_chunks[] = {0, 1, 2, 5, 7, 8, 11};

struct twin {
    bool grown[TWIN_PAGES];
    bool used[TWIN_PAGES];
    bool scav[TWIN_PAGES];
};

static bool twin_free(const struct twin *t, uintptr_t i) {
    return i < TWIN_PAGES && t->grown[i] && !t->used[i];
}

static uintptr_t twin_find(const struct twin *t, uintptr_t npages) {
    uintptr_t run = 0;
    for (uintptr_t i = 0; i < TWIN_PAGES; i++) {
        run = twin_free(t, i) ? run + 1 : 0;
        if (run == npages)
            return i + 1 - npages;
    }
    return FAIL;
}

/* twin_take returns the bytes that were scavenged. */
static uintptr_t twin_take(struct twin *t, uintptr_t page, uintptr_t npages) {
    uintptr_t scav = 0;
    for (uintptr_t i = page; i < page + npages; i++) {
        scav += t->scav[i] ? GM_PAGE_SIZE : 0;
        t->used[i] = true;
        t->scav[i] = false;
    }
    return scav;
}

static void twin_begin(struct twin *t, struct palloc_world *w) {
    memset(t, 0, sizeof(*t));
    for (size_t k = 0; k < sizeof(twin_chunks) / sizeof(twin_chunks[0]); k++) {
        const struct bit_range scav = {100, 300};
        world_add_chunk(w, twin_chunks[k], NULL, 0, &scav, 1);
        for (unsigned i = 0; i < PALLOC_CHUNK_PAGES; i++) {
            t->grown[twin_chunks[k] * PALLOC_CHUNK_PAGES + i] = true;
            t->scav[twin_chunks[k] * PALLOC_CHUNK_PAGES + i] = i >= 100 && i < 400;
        }
    }
}

/* One random operation, on both; the answers must be the same. */
static void twin_step(struct twin *t, struct palloc_world *w, struct random *rnd) {
    static const unsigned sizes[] = {1, 2, 5, 20, 70, 200, 700, 1600};
    uintptr_t n = random_below(rnd, sizes[random_below(rnd, 8)]) + 1;
    struct op_case op = {.what = ALLOC + random_below(rnd, 4), .npages = n};
    uintptr_t want = FAIL;
    unsigned align = 1u << random_below(rnd, 9);
    uintptr_t page = random_below(rnd, TWIN_PAGES);
    switch (op.what) {
    case ALLOC:
        want = twin_find(t, n);
        break;
    case ALIGNED:
        op.arg = align;
        want = twin_find(t, n + align - 1);
        if (want != FAIL)
            want = (want + align - 1) / align * align;
        break;
    case AT:
        op.arg = want = page;
        for (uintptr_t i = 0; i < n; i++)
            want = twin_free(t, page + i) ? want : FAIL;
        break;
    default: /* free the used pages around */
        while (page > 0 && t->used[page - 1])
            page--;
        for (op.npages = 0; op.npages < n * 2 && page + op.npages < TWIN_PAGES; op.npages++) {
            if (!t->used[page + op.npages])
                break;
        }
        op.arg = page;
        if (op.npages == 0)
            return;
        memset(t->used + page, false, op.npages);
    }
    uintptr_t scav;
    assert_int_equal(run_op(w, &op, &scav), want);
    assert_int_equal(scav, want == FAIL ? 0 : twin_take(t, want, n));
}

static void random_operations_agree_with_the_slow_twin(void **state) {
    (void)state;
    static struct twin t;
    for (uint64_t k = 0; k < 4 * test_rounds(); k++) {
        const uint64_t seed = 10 + k + test_seed();
        struct random rnd = {seed};
        struct palloc_world *w = world_new();
        twin_begin(&t, w);
        for (unsigned step = 0; step < 3000; step++) {
            twin_step(&t, w, &rnd);
            world_check(w, "a random operation");
        }
        uintptr_t used = 0, scav = 0;
        for (unsigned i = 0; i < TWIN_PAGES; i++) {
            used += t.used[i];
            scav += t.scav[i];
        }
        assert_int_equal(w->p.npages_in_use, used);
        assert_int_equal(w->p.npages_scavenged, scav);
        world_free(w);
    }
}

static void grown_pages_are_free_and_scavenged(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    uintptr_t scav;
    assert_int_equal(world_alloc(w, 1, &scav), FAIL);
    mutex_lock(&w->lock);
    assert_true(page_alloc_grow(&w->p, WORLD_BASE + HEAP_ARENA_BYTES, HEAP_ARENA_BYTES));
    mutex_unlock(&w->lock);
    world_check(w, "growing");
    assert_int_equal(w->p.npages_grown, PAGES_PER_ARENA);
    assert_int_equal(w->p.npages_scavenged, PAGES_PER_ARENA);
    /* A run of an arena and one page is there once the arena below exists, too. */
    assert_int_equal(world_alloc(w, PAGES_PER_ARENA + 1, &scav), FAIL);
    mutex_lock(&w->lock);
    assert_true(page_alloc_grow(&w->p, WORLD_BASE, HEAP_ARENA_BYTES));
    mutex_unlock(&w->lock);
    world_check(w, "growing downwards");
    assert_int_equal(w->p.in_use.len, 1);
    assert_int_equal(world_alloc(w, PAGES_PER_ARENA + 1, &scav), 0);
    assert_int_equal(scav, (PAGES_PER_ARENA + 1) * GM_PAGE_SIZE);
    world_check(w, "a large allocation");
    assert_int_equal(w->p.npages_in_use_peak, PAGES_PER_ARENA + 1);
    world_release(w, 0, PAGES_PER_ARENA + 1);
    world_check(w, "freeing it");
    assert_int_equal(w->p.npages_in_use, 0);
    assert_int_equal(w->p.npages_in_use_peak, PAGES_PER_ARENA + 1);
    world_free(w);
}

/* Searches don't begin at the bottom of the heap each time. */
static void search_addr_follows_the_first_free_page(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    uintptr_t scav;
    for (unsigned c = 0; c < 20; c++)
        world_add_chunk(w, c, NULL, 0, NULL, 0);
    assert_int_equal(world_page(w->p.search_addr.a), 0);
    /* The first free page that a search has seen: of the chunk that the run was found in... */
    world_alloc(w, 3, &scav);
    world_alloc(w, 3, &scav);
    assert_int_equal(world_page(w->p.search_addr.a), 3);
    /* ... or, where the run crosses chunks, the beginning of the first with free pages. */
    world_alloc(w, 9 * PAGES, &scav);
    world_alloc(w, PAGES, &scav);
    assert_int_equal(world_page(w->p.search_addr.a), 9 * PAGES);
    world_release(w, 100, 1);
    assert_int_equal(world_page(w->p.search_addr.a), 100);
    world_alloc(w, 1, &scav);
    world_alloc(w, 1, &scav);
    assert_int_equal(world_page(w->p.search_addr.a), 10 * PAGES + 6);
    world_alloc(w, 10 * PAGES - 7, &scav);
    assert_int_equal(world_alloc(w, 1, &scav), FAIL);
    assert_int_equal(w->p.search_addr.a, MAX_OFF_ADDR.a);
    world_free(w);
}

/* More than a root entry (16 GiB) in one run: the sum at the root is over all its entries. */
static void a_run_longer_than_a_root_entry(void **state) {
    (void)state;
    const uintptr_t root_pages = (uintptr_t)1 << 21;
    struct palloc_world *w = world_new();
    mutex_lock(&w->lock);
    assert_true(page_alloc_grow(&w->p, WORLD_BASE, 3 * root_pages * GM_PAGE_SIZE));
    mutex_unlock(&w->lock);
    struct palloc_sum root =
        page_alloc_summary(&w->p, 0, off_addr_to_level_index(0, (struct off_addr){WORLD_BASE}));
    assert_int_equal(root.v, (uint64_t)1 << 63);
    uintptr_t scav;
    assert_int_equal(world_alloc(w, 1, &scav), 0);
    assert_int_equal(world_alloc(w, 3 * root_pages, &scav), FAIL);
    assert_int_equal(world_alloc(w, 2 * root_pages + 5, &scav), 1);
    assert_int_equal(world_alloc(w, root_pages - 6, &scav), 2 * root_pages + 6);
    assert_int_equal(world_alloc(w, 1, &scav), FAIL);
    world_free(w);
}

/* Memory that programs may write, in bytes, as RLIMIT_DATA counts it. */
static uint64_t data_bytes(void) {
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    char line[256];
    unsigned long kib = 0;
    while (fgets(line, sizeof(line), f) != NULL)
        sscanf(line, "VmData: %lu kB", &kib);
    fclose(f);
    assert_int_not_equal(kib, 0);
    return (uint64_t)kib << 10;
}

static bool grow_within(struct palloc_world *w, uintptr_t base, uint64_t room) {
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_DATA, &old), 0);
    struct rlimit tight = {.rlim_cur = data_bytes() + room, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, &tight), 0);
    mutex_lock(&w->lock);
    bool grown = page_alloc_grow(&w->p, base, PALLOC_CHUNK_BYTES);
    mutex_unlock(&w->lock);
    assert_int_equal(setrlimit(RLIMIT_DATA, &old), 0);
    return grown;
}

static uint64_t summary_bytes(void) {
    return mem_stats[MEM_SUMMARY].reserved + mem_stats[MEM_SUMMARY].prepared +
           mem_stats[MEM_SUMMARY].ready;
}

/* Whatever growth gets before memory ends, it changes nothing that can be seen and isn't lost. */
static void growth_without_memory_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t room;
    } cases[] = {
        {"no memory", 0},
        {"memory for the root level", 160 << 10},
        {"memory for the summaries, none for the bitmaps", 400 << 10},
    };
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        struct palloc_world *w = world_new();
        const uint64_t total = summary_bytes();
        const uintptr_t base = WORLD_BASE + 3 * PALLOC_CHUNK_BYTES;
        uintptr_t scav;
        for (unsigned attempt = 0; attempt < 2; attempt++) {
            if (grow_within(w, base, cases[k].room))
                fail_msg("%s: it grew", cases[k].name);
            world_check(w, cases[k].name);
            assert_int_equal(w->p.npages_grown, 0);
            assert_int_equal(w->p.in_use.len, 0);
            assert_int_equal(summary_bytes(), total);
            assert_int_equal(world_alloc(w, 1, &scav), FAIL);
        }
        assert_true(grow_within(w, base, 8 << 20));
        world_check(w, "growing after all");
        assert_int_equal(world_alloc(w, 512, &scav), 3 * 512);
        assert_int_equal(summary_bytes(), total);
        assert_int_equal(mem_stats[MEM_SUMMARY].ready, w->p.summary_mapped_ready);
        world_free(w);
        assert_int_equal(summary_bytes(), 0);
        assert_int_equal(mem_stats[MEM_CHUNK].ready, 0);
    }
}

/* The check that everything else relies on notices damage. */
static void damage_is_noticed(void **state) {
    (void)state;
    struct palloc_world *w = world_new();
    const struct bit_range used = {0, 100};
    world_add_chunk(w, 0, &used, 1, NULL, 0);
    world_add_chunk(w, 1, NULL, 0, &used, 1);
    struct page_alloc *p = &w->p;
    struct palloc_data *chunk = page_alloc_chunk(p, world_chunk(0));
    uintptr_t leaf = world_chunk(0).i;
    mutex_lock(&w->lock);
    assert_null(page_alloc_consistent(p));

    palloc_bits_set_range(&chunk->alloc, 200, 1);
    assert_non_null(page_alloc_consistent(p));
    palloc_bits_clear_range(&chunk->alloc, 200, 1);

    palloc_bits_set_range(&chunk->scavenged, 50, 1); /* in use */
    assert_non_null(page_alloc_consistent(p));
    palloc_bits_clear_range(&chunk->scavenged, 50, 1);

    for (unsigned l = 0; l < SUMMARY_LEVELS; l++) {
        struct palloc_sum *sum = &p->summary[l][leaf >> 3 * (SUMMARY_LEAF - l)];
        sum->v ^= 1;
        assert_non_null(page_alloc_consistent(p));
        sum->v ^= 1;
    }

    struct off_addr search = p->search_addr;
    p->search_addr.a = world_addr(101);
    assert_non_null(page_alloc_consistent(p));
    p->search_addr.a = world_addr(2000);
    assert_non_null(page_alloc_consistent(p));
    p->search_addr = search;

    p->npages_in_use++;
    assert_non_null(page_alloc_consistent(p));
    p->npages_in_use--;
    p->npages_scavenged--;
    assert_non_null(page_alloc_consistent(p));
    p->npages_scavenged++;

    p->scav_search[SCAV_LONG].i = world_chunk(1).i;
    assert_non_null(page_alloc_consistent(p));
    p->scav_search[SCAV_LONG].i++;

    assert_null(page_alloc_consistent(p));
    mutex_unlock(&w->lock);
    world_free(w);
}

static void a_compact_allocator_serves_its_window(void **state) {
    (void)state;
    const uintptr_t first = 0xc000000000, end = first + ((uintptr_t)1 << 40);
    uint64_t reserved = mem_stats[MEM_SUMMARY].reserved;
    struct palloc_world *w = calloc(1, sizeof *w);
    w->lock.rank = LOCK_RANK_MHEAP;
    w->p.compact = true;
    assert_true(page_alloc_init(&w->p, &w->lock, true));
    assert_true(mem_stats[MEM_SUMMARY].reserved - reserved < 3 << 20);
    mutex_lock(&w->lock);
    assert_false(page_alloc_grow(&w->p, first - PALLOC_CHUNK_BYTES, PALLOC_CHUNK_BYTES));
    assert_false(page_alloc_grow(&w->p, end, PALLOC_CHUNK_BYTES));
    assert_true(page_alloc_grow(&w->p, first, PALLOC_CHUNK_BYTES));
    assert_true(page_alloc_grow(&w->p, end - PALLOC_CHUNK_BYTES, PALLOC_CHUNK_BYTES));
    uintptr_t scav;
    assert_int_equal(page_alloc_alloc(&w->p, PALLOC_CHUNK_PAGES, &scav), first);
    assert_int_equal(page_alloc_alloc(&w->p, 7, &scav), end - PALLOC_CHUNK_BYTES);
    assert_null(page_alloc_consistent(&w->p));
    page_alloc_free(&w->p, first, PALLOC_CHUNK_PAGES, false);
    assert_null(page_alloc_consistent(&w->p));
    mutex_unlock(&w->lock);
    world_free(w);
    assert_int_equal(mem_stats[MEM_SUMMARY].reserved, reserved);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations),
        cmocka_unit_test(random_operations_agree_with_the_slow_twin),
        cmocka_unit_test(grown_pages_are_free_and_scavenged),
        cmocka_unit_test(search_addr_follows_the_first_free_page),
        cmocka_unit_test(a_run_longer_than_a_root_entry),
        cmocka_unit_test(growth_without_memory_changes_nothing),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(a_compact_allocator_serves_its_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
