/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap that the tests know: see maker.h.
 *
 * Pages, from DEMO_ARENA on: 0 nodes, 1 tables and buffers, 2 unrecorded, 3-7 the large object,
 * 8-11 a manual span, then more_spans; after them 10 free pages, of which 4 are given back and 2
 * are in a page cache.
 */
#include "maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE        8192u
#define FIRST_MORE  12u /* page of the first of more_spans */
#define FREE_PAGES  10u
#define NSIZES      68u
#define FIRST_SITE  100u /* number of the first of more_sites */
#define CHUNK_PAGES 512u

const struct demo demo_default = {.pid = 4711,
                                  .start_ticks = 123456,
                                  .captured_ns = UINT64_C(1700000000000000000),
                                  .rate = 1,
                                  .id = 1,
                                  .text = DEMO_TEXT,
                                  .nodes = 100,
                                  .tables = 20,
                                  .buffers = 7,
                                  .unrecorded = 50};

/* Numbers of the demo's sites. */
struct sites {
    uint32_t node;
    uint32_t table;
    uint32_t buffer;
};

static void add_process(struct maker *m, const struct demo *d) {
    struct gomalloc_process p = {.pid = d->pid,
                                 .ppid = 1,
                                 .uid = 1000,
                                 .nthreads = 3,
                                 .start_ticks = d->start_ticks,
                                 .start_ns = d->captured_ns - 1000000000,
                                 .rate = d->rate,
                                 .rss_bytes = 7 << 20,
                                 .page_size = PAGE,
                                 .os_page_size = 4096};
    memcpy(p.boot_id, "0123456789abcdef", 16);
    p.host_str = maker_string(m, "box");
    p.exe_str = maker_string(m, DEMO_MODULE);
    p.cmdline_str = maker_string(m, "demo --fast");
    p.comm_str = maker_string(m, "demo");
    p.version_str = maker_string(m, "0.1.0");
    p.unwinder_str = maker_string(m, "libunwind");
    maker_add(m, GOMALLOC_SECTION_PROCESS, &p);
}

static void add_mappings(struct maker *m, const struct demo *d) {
    struct gomalloc_mapping text = {.start = d->text + 0x1000,
                                    .end = d->text + 0x3000 + d->more_sites * 0x10,
                                    .file_offset = 0x1000,
                                    .inode = 77,
                                    .prot = 5,
                                    .build_id_len = 20};
    memcpy(text.build_id, "ABCDEFGHIJKLMNOPQRST", 20);
    text.path_str = maker_string(m, DEMO_MODULE);
    maker_add(m, GOMALLOC_SECTION_MAPPING, &text);
    struct gomalloc_mapping vsyscall = {
        .start = UINT64_C(0xffffffffff600000), .end = UINT64_C(0xffffffffff601000), .prot = 4};
    vsyscall.path_str = maker_string(m, "[vsyscall]");
    maker_add(m, GOMALLOC_SECTION_MAPPING, &vsyscall);
}

static void add_threads(struct maker *m) {
    struct gomalloc_thread main_thread = {.mcache = 0, .tid = 4711, .comm = "demo", .nspans = 2};
    struct gomalloc_thread idle = {.mcache = 1};
    maker_add(m, GOMALLOC_SECTION_THREAD, &main_thread);
    maker_add(m, GOMALLOC_SECTION_THREAD, &idle);
}

static void add_size_classes(struct maker *m) {
    for (uint32_t i = 0; i < NSIZES; i++) {
        static const uint32_t first[] = {0, 8, 16, 24, 32, 48};
        uint32_t bytes = i < 6 ? first[i] : 64 + 16 * (i - 6);
        struct gomalloc_size_class c = {i, bytes, i > 0, bytes ? PAGE / bytes : 0};
        maker_add(m, GOMALLOC_SECTION_SIZE_CLASS, &c);
    }
}

/* add_frame returns the number of the new node. */
static uint32_t add_frame(struct maker *m, uint64_t pc, uint32_t parent, uint32_t depth) {
    struct gomalloc_frame f = {pc, parent, depth};
    return (uint32_t)maker_add(m, GOMALLOC_SECTION_FRAME, &f) + 1;
}

static void add_site(struct maker *m, uint32_t site, uint32_t frame, uint64_t samples,
                     uint64_t bytes) {
    struct gomalloc_site s = {.site = site,
                              .frame = frame,
                              .samples = samples,
                              .sample_bytes = bytes,
                              .alloc_objects = (double)samples,
                              .alloc_bytes = (double)bytes};
    maker_add(m, GOMALLOC_SECTION_SITE, &s);
}

static struct sites add_sites(struct maker *m, const struct demo *d) {
    struct sites s = {1, 2, 3};
    if (d->other_numbers) {
        s = (struct sites){30, 20, 10};
        add_frame(m, d->text + 0x2000, 0, 1); /* a frame that no site is at */
    }
    uint32_t top = add_frame(m, d->text + DEMO_MAIN_OFFSET, 0, 1);
    uint32_t buffer = add_frame(m, d->text + DEMO_BUFFER_OFFSET, top, 2);
    uint32_t build = add_frame(m, d->text + DEMO_BUILD_OFFSET, top, 2);
    uint32_t node = add_frame(m, d->text + DEMO_NODE_OFFSET, build, 3);
    uint32_t table = add_frame(m, d->text + DEMO_TABLE_OFFSET, build, 3);
    add_site(m, s.node, node, d->nodes + 1000, (d->nodes + 1000) * 20u);
    add_site(m, s.table, table, d->tables + 1, d->tables * 40u + DEMO_LARGE_BYTES);
    add_site(m, s.buffer, buffer, d->buffers, d->buffers * 33u);
    for (uint32_t i = 0; i < d->more_sites; i++)
        add_site(m, FIRST_SITE + i, add_frame(m, d->text + 0x3000 + i * 0x10, build, 3), 1, 8);
    return s;
}

/* add_span adds a span at a page with `live` objects in its first slots, and their bitmap. */
static struct gomalloc_span *add_span(struct maker *m, uint32_t page, uint32_t npages,
                                      uint32_t elem_size, uint16_t span_class, uint32_t live) {
    uint32_t nelems = span_class < 2 ? 1 : npages * PAGE / elem_size;
    struct maker_section *bitmap = &m->sections[GOMALLOC_SECTION_BITMAP];
    struct gomalloc_span s = {.base = DEMO_ARENA + (uint64_t)page * PAGE,
                              .npages = npages,
                              .elem_size = elem_size,
                              .nelems = nelems,
                              .live = live,
                              .owner = span_class < 2 ? GOMALLOC_OWNER_HEAP : 0,
                              .span_class = span_class,
                              .state = GOMALLOC_SPAN_IN_USE,
                              .place = span_class < 2 ? GOMALLOC_PLACE_NONE : GOMALLOC_PLACE_LISTED,
                              .sweepgen = 2,
                              .freeindex = live < nelems ? live : nelems,
                              .bitmap_index = bitmap->size / 8,
                              .slot_index = GOMALLOC_NO_SLOTS};
    for (uint32_t w = 0; w < (nelems + 63) / 64; w++) {
        uint32_t left = live > w * 64 ? live - w * 64 : 0;
        uint64_t word = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
        maker_add(m, GOMALLOC_SECTION_BITMAP, &word);
    }
    return maker_record(m, GOMALLOC_SECTION_SPAN, maker_add(m, GOMALLOC_SECTION_SPAN, &s));
}

/* record makes the slots of a span: the first `a` of one site, the others of another. */
static void record(struct maker *m, struct gomalloc_span *s, uint32_t a, struct gomalloc_slot first,
                   struct gomalloc_slot second) {
    s->slot_index = m->sections[GOMALLOC_SECTION_SLOT].size / sizeof first;
    for (uint32_t i = 0; i < s->nelems; i++)
        maker_add(m, GOMALLOC_SECTION_SLOT, i < a ? &first : &second);
}

static void record_more(struct maker *m, struct gomalloc_span *s, const struct demo *d,
                        uint32_t nth, struct gomalloc_slot slot) {
    s->slot_index = m->sections[GOMALLOC_SECTION_SLOT].size / sizeof slot;
    for (uint32_t i = 0; i < s->nelems; i++) {
        if (d->more_sites)
            slot.site = FIRST_SITE + (nth * s->nelems + i) % d->more_sites;
        maker_add(m, GOMALLOC_SECTION_SLOT, &slot);
    }
}

static void add_spans(struct maker *m, const struct demo *d, struct sites sites) {
    struct gomalloc_slot node = {.site = sites.node, .slack = 4};
    struct gomalloc_slot table = {.site = sites.table, .slack = 8};
    struct gomalloc_slot buffer = {.site = sites.buffer, .slack = 15};
    struct gomalloc_slot large = {.site = sites.table,
                                  .slack = DEMO_LARGE_PAGES * PAGE - DEMO_LARGE_BYTES};
    struct gomalloc_slot small = {.site = sites.node};
    record(m, add_span(m, 0, 1, 24, 3 << 1, d->nodes), d->nodes, node, node);
    record(m, add_span(m, 1, 1, 48, 5 << 1, d->tables + d->buffers), d->tables, table, buffer);
    add_span(m, 2, 1, 16, 2 << 1 | 1, d->unrecorded);
    struct gomalloc_span *big = add_span(m, 3, DEMO_LARGE_PAGES, DEMO_LARGE_PAGES * PAGE, 0, 1);
    big->large_requested = DEMO_LARGE_BYTES;
    record(m, big, 1, large, large);
    struct gomalloc_span manual = {.base = DEMO_ARENA + 8 * PAGE,
                                   .npages = DEMO_MANUAL_PAGES,
                                   .owner = GOMALLOC_OWNER_HEAP,
                                   .state = GOMALLOC_SPAN_MANUAL,
                                   .slot_index = GOMALLOC_NO_SLOTS};
    maker_add(m, GOMALLOC_SECTION_SPAN, &manual);
    for (uint32_t i = 0; i < d->more_spans; i++)
        record_more(m, add_span(m, FIRST_MORE + i, 1, 8, 1 << 1, 1024), d, i, small);
}

static void set_bit(uint64_t words[8], uint32_t page) {
    words[page / 64] |= UINT64_C(1) << (page % 64);
}

/* set_page describes a page of the arena in its chunk. */
static void set_page(struct gomalloc_chunk *c, uint32_t page, uint32_t used, uint32_t grown) {
    uint32_t bit = page % CHUNK_PAGES;
    bool cached = page >= grown - 2 && page < grown;
    if (page < grown)
        set_bit(c->grown, bit);
    if (page < used || cached || page >= grown)
        set_bit(c->alloc, bit);
    if (cached)
        set_bit(c->cached, bit);
    if (page >= used && page < used + 4)
        set_bit(c->scavenged, bit);
}

static void add_pages(struct maker *m, const struct demo *d) {
    uint32_t used = FIRST_MORE + d->more_spans, grown = used + FREE_PAGES;
    for (uint32_t first = 0; first < grown; first += CHUNK_PAGES) {
        struct gomalloc_chunk c = {.base = DEMO_ARENA + (uint64_t)first * PAGE};
        c.index = c.base >> 22;
        for (uint32_t page = first; page < first + CHUNK_PAGES; page++)
            set_page(&c, page, used, grown);
        maker_add(m, GOMALLOC_SECTION_CHUNK, &c);
        struct gomalloc_summary leaf = {.level = 4,
                                        .index = c.index,
                                        .base = c.base,
                                        .npages = CHUNK_PAGES,
                                        .max = FREE_PAGES - 2};
        if (first + CHUNK_PAGES >= grown)
            maker_add(m, GOMALLOC_SECTION_SUMMARY, &leaf);
    }
    struct gomalloc_arena a = {.base = DEMO_ARENA,
                               .size = 64 << 20,
                               .in_use_pages = used,
                               .free_pages = FREE_PAGES,
                               .scavenged_pages = 4,
                               .zeroed_base = (uint64_t)grown * PAGE};
    a.ready_bytes = (uint64_t)(grown - 4) * PAGE;
    a.prepared_bytes = 4 * PAGE;
    a.reserved_bytes = a.size - a.ready_bytes - a.prepared_bytes;
    maker_add(m, GOMALLOC_SECTION_ARENA, &a);
}

static void add_figures(struct maker *m) {
    struct gomalloc_counter grow = {"heap.grow", "calls", 3};
    maker_add(m, GOMALLOC_SECTION_COUNTER, &grow);
}

void demo_make(struct maker *m, const struct demo *d) {
    m->header.captured_ns = d->captured_ns;
    m->header.capture_time_ns = 250000;
    memcpy(m->header.image_id, "?demo-image-0001", 16);
    m->header.image_id[0] = d->id;
    add_process(m, d);
    add_threads(m);
    add_mappings(m, d);
    add_size_classes(m);
    struct sites sites = add_sites(m, d);
    add_spans(m, d, sites);
    add_pages(m, d);
    demo_make_heap(m, FIRST_MORE + d->more_spans, FIRST_MORE + d->more_spans + FREE_PAGES);
    add_figures(m);
    demo_make_escape(m, d, sites.node, sites.table);
    if (d->leaks || d->why)
        demo_make_leak(m, sites.node, sites.table);
    if (d->why)
        demo_make_why(m, sites.node, sites.table);
    for (int id = GOMALLOC_SECTION_LEAK; id <= GOMALLOC_SECTION_ROOT && !d->leaks && !d->why; id++)
        m->sections[id].absent = true;
    for (int id = GOMALLOC_SECTION_MCACHE; id < GOMALLOC_NSECTIONS && d->old; id++) {
        m->sections[id].absent = true;
        m->sections[id].size = 0;
    }
}

unsigned char *demo_image(const struct demo *demo, size_t *ret_size) {
    struct maker m;
    maker_init(&m);
    demo_make(&m, demo);
    unsigned char *bytes = maker_finish(&m, ret_size);
    maker_free(&m);
    return bytes;
}

bool demo_write(const struct demo *demo, const char *path) {
    size_t size;
    unsigned char *bytes = demo_image(demo, &size);
    FILE *f = fopen(path, "we");
    bool ok = f && fwrite(bytes, 1, size, f) == size;
    if (f && fclose(f))
        ok = false;
    free(bytes);
    return ok;
}
