/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The allocator's structures of the heap that the tests know, made to agree with its spans, chunks
 * and arenas (demo.c): v1_balance holds.
 *
 * Cache 0 is thread 4711's and lists the small spans; cache 1 is idle.  Of class 3 two spans once
 * were without a thread.  The search address is that of the first free page, and of the heap's
 * memory two pages were given back and taken again.
 */
#include "maker.h"

#include <string.h>

#define PAGE         8192u
#define CACHE_BLOCK  64u
#define CACHED_PAGES 2u
#define MOVED_TWICE  (2u * PAGE) /* given back and taken again */

/* note_page puts a page into the page cache of one of two caches: they are of 64 pages each. */
static void note_page(struct gomalloc_mcache caches[2], uint64_t page) {
    uint64_t base = DEMO_ARENA + page / CACHE_BLOCK * CACHE_BLOCK * PAGE;
    struct gomalloc_mcache *c =
        &caches[caches[0].pcache_base != 0 && caches[0].pcache_base != base];
    c->pcache_base = base;
    c->pcache_free |= UINT64_C(1) << (page % CACHE_BLOCK);
    c->pcache_npages++;
}

static void add_caches(struct maker *m, uint64_t grown) {
    struct gomalloc_mcache caches[2] = {
        {.mcache = 0,
         .flags = GOMALLOC_MCACHE_ATTACHED,
         .next_sample = 123456,
         .tiny = DEMO_ARENA + 2 * PAGE + 16,
         .tiny_offset = 5,
         .flush_gen = 4,
         .nrefill = 9,
         .nspan_alloc = 7,
         .nspan_free = 2},
        {.mcache = 1, .next_sample = GOMALLOC_NO_SAMPLE, .flush_gen = 2, .nrefill = 3}};
    for (uint64_t page = grown - CACHED_PAGES; page < grown; page++)
        note_page(caches, page);
    maker_add(m, GOMALLOC_SECTION_MCACHE, &caches[0]);
    maker_add(m, GOMALLOC_SECTION_MCACHE, &caches[1]);
}

/* class_of returns the record of a span class of cache 0. */
static struct gomalloc_mcache_class *class_of(struct maker *m, uint16_t span_class) {
    size_t n =
        m->sections[GOMALLOC_SECTION_MCACHE_CLASS].size / sizeof(struct gomalloc_mcache_class);
    for (size_t i = 0; i < n; i++) {
        struct gomalloc_mcache_class *r = maker_record(m, GOMALLOC_SECTION_MCACHE_CLASS, i);
        if (r->span_class == span_class)
            return r;
    }
    struct gomalloc_mcache_class r = {.span_class = span_class, .nhints = 3, .hint_capacity = 64};
    return maker_record(m, GOMALLOC_SECTION_MCACHE_CLASS,
                        maker_add(m, GOMALLOC_SECTION_MCACHE_CLASS, &r));
}

/* add_class adds what cache 0 has of a span class, if anything. */
static void add_class(struct maker *m, uint16_t span_class) {
    size_t n = m->sections[GOMALLOC_SECTION_SPAN].size / sizeof(struct gomalloc_span);
    for (size_t i = 0; i < n; i++) {
        const struct gomalloc_span *s = maker_record(m, GOMALLOC_SECTION_SPAN, i);
        if (s->owner != 0 || s->span_class != span_class)
            continue;
        struct gomalloc_mcache_class *r = class_of(m, s->span_class);
        r->nlisted++;
        r->listed_free += s->nelems - s->live;
    }
}

static void add_mheap(struct maker *m, uint64_t used, uint64_t grown) {
    struct gomalloc_mheap h = {.sweepgen = 6,
                               .search_addr = DEMO_ARENA + used * PAGE,
                               .arena_hint = DEMO_ARENA + (64 << 20),
                               .cur_arena = DEMO_ARENA + grown * PAGE,
                               .cur_arena_end = DEMO_ARENA + (64 << 20),
                               .chunk_start = DEMO_ARENA,
                               .chunk_end = DEMO_ARENA + (grown + 511) / 512 * 512 * PAGE,
                               .pages_in_use = used,
                               .reclaim_at = 256,
                               .pages_grown = grown,
                               .pages_taken = used + CACHED_PAGES,
                               .pages_scavenged = 4,
                               .summary_bytes = 147456,
                               .nspan_alloc = 7,
                               .nspan_free = 2,
                               .nlarge = 1,
                               .ngrow = 3,
                               .nheaders = 6};
    struct gomalloc_scavenger s = {.goal_bytes = used * PAGE,
                                   .retained_bytes = (grown - 4) * PAGE,
                                   .peak_pages = used,
                                   .last_peak = used,
                                   .released_pages = 2,
                                   .reused_pages = 2,
                                   .ncalls = 1,
                                   .nwindows = 5,
                                   .nregrets = 1,
                                   .window_ns = 2000000000,
                                   .window_left_ns = 500000000,
                                   .worked_ns = 1000000,
                                   .regretful = 1};
    maker_add(m, GOMALLOC_SECTION_MHEAP, &h);
    maker_add(m, GOMALLOC_SECTION_SCAVENGER, &s);
}

static void add_transition(struct maker *m, const char *purpose, const char *name, uint32_t from,
                           uint32_t to, uint64_t bytes) {
    struct gomalloc_transition t = {.from = from, .to = to, .ncalls = 1, .bytes = bytes};
    strncpy(t.purpose, purpose, sizeof t.purpose - 1);
    strncpy(t.name, name, sizeof t.name - 1);
    maker_add(m, GOMALLOC_SECTION_TRANSITION, &t);
}

/* add_memory says how the memory of the arenas and of the recorder came into its states. */
static void add_memory(struct maker *m) {
    const struct gomalloc_arena *a = maker_record(m, GOMALLOC_SECTION_ARENA, 0);
    uint64_t mapped = a->prepared_bytes + a->ready_bytes;
    struct gomalloc_memstat heap = {"heap", a->reserved_bytes, a->prepared_bytes, a->ready_bytes,
                                    900000};
    struct gomalloc_memstat recorder = {"recorder", 0, 0, 65536, 4000};
    maker_add(m, GOMALLOC_SECTION_MEMSTAT, &heap);
    maker_add(m, GOMALLOC_SECTION_MEMSTAT, &recorder);
    add_transition(m, "heap", "sysReserve", 0, 1, a->reserved_bytes + mapped);
    add_transition(m, "heap", "sysMap", 1, 2, mapped);
    add_transition(m, "heap", "sysUsed", 2, 3, a->ready_bytes + MOVED_TWICE);
    add_transition(m, "heap", "sysUnused", 3, 2, MOVED_TWICE);
    add_transition(m, "recorder", "sysAlloc", 0, 3, 65536);
}

void demo_make_heap(struct maker *m, uint64_t used, uint64_t grown) {
    struct gomalloc_mcentral c = {.span_class = 3 << 1, .ncache = 2, .nuncache = 2};
    add_caches(m, grown);
    for (uint16_t span_class = 0; span_class < 136; span_class++)
        add_class(m, span_class);
    maker_add(m, GOMALLOC_SECTION_MCENTRAL, &c);
    add_mheap(m, used, grown);
    add_memory(m);
}
