/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The schema: tables over an image and in a file are the same, and the v1 views say of a known heap
 * what is known of it, add up, and estimate without bias.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "db/db.h"
#include "maker.h"
#include "query.h"

static char err[512];

/* A heap, twice: queried as an image, and imported into a file. */
struct world {
    char dir[32];
    char path[48];
    struct image *im;
    sqlite3 *live;
    sqlite3 *file;
};

static struct image *open_maker(struct maker *m) {
    size_t size;
    struct image *im = NULL;
    unsigned char *bytes = maker_finish(m, &size);
    if (image_open_memory(bytes, size, &im, err, sizeof err))
        fail_msg("%s", err);
    free(bytes);
    return im;
}

static void world_open(struct world *w, struct maker *m) {
    const struct db_import_options all = {.objects = DB_OBJECTS_ALL};
    strcpy(w->dir, "/tmp/view-test.XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof w->path, "%s/s.db", w->dir);
    w->im = open_maker(m);
    if (db_open_image(w->im, &w->live, err, sizeof err) ||
        db_import(w->path, w->im, &all, NULL, err, sizeof err) ||
        db_open_file(w->path, &w->file, err, sizeof err))
        fail_msg("%s", err);
}

static void world_close(struct world *w) {
    db_close(w->live);
    db_close(w->file);
    image_close(w->im);
    unlink(w->path);
    rmdir(w->dir);
}

static void world_demo(struct world *w, const struct demo *d) {
    struct maker m;
    maker_init(&m);
    demo_make(&m, d);
    world_open(w, &m);
    maker_free(&m);
}

/* add imports another demo into the world's file. */
static void world_add(struct world *w, const struct demo *d) {
    struct maker m;
    maker_init(&m);
    demo_make(&m, d);
    struct image *im = open_maker(&m);
    db_close(w->file);
    if (db_import(w->path, im, NULL, NULL, err, sizeof err) ||
        db_open_file(w->path, &w->file, err, sizeof err))
        fail_msg("%s", err);
    image_close(im);
    maker_free(&m);
}

static int set_up(void **state) {
    static struct world w;
    world_demo(&w, &demo_default);
    *state = &w;
    return 0;
}

static int tear_down(void **state) {
    world_close(*state);
    return 0;
}

/* both asserts that a query says the same over the image and over the file. */
#define both(w, sql, expected)                                                                     \
    do {                                                                                           \
        query_assert((w)->live, sql, expected);                                                    \
        query_assert((w)->file, sql, expected);                                                    \
    } while (0)

/* The two faces. */

static void test_tables_of_file_and_image_have_the_same_columns(void **state) {
    const struct world *w = *state;
    static const char sql[] =
        "SELECT m.name, p.name FROM sqlite_schema m, pragma_table_info(m.name) p"
        " WHERE m.name NOT LIKE 'image@_%' ESCAPE '@' AND m.name NOT LIKE 'sqlite@_%' ESCAPE '@'"
        " AND m.type IN ('table', 'view') ORDER BY m.name, p.cid";
    char live[65536];
    strcpy(live, query_text(w->live, sql));
    assert_true(strlen(live) > 1000);
    query_assert(w->file, sql, live);
}

/* For every table and view, the rows: what a snapshot holds is what the image shows. */
static void test_every_view_says_the_same_over_file_and_image(void **state) {
    const struct world *w = *state;
    char names[8192];
    strcpy(names, query_text(w->file, "SELECT name FROM sqlite_schema WHERE type = 'view'"
                                      " AND name <> 'v1_balance'"));
    assert_non_null(strstr(names, "v1_site_growth"));
    for (char *save, *name = strtok_r(names, "\n", &save); name;
         name = strtok_r(NULL, "\n", &save)) {
        char sql[256], live[65536];
        /* Stacks and frames are numbered in another order; this heap's order is the same but for
         * the frames'. */
        snprintf(sql, sizeof sql, "SELECT * FROM %s ORDER BY 1, 2, 3", name);
        if (strcmp(name, "stack_name") == 0)
            strcpy(sql, "SELECT stack_id, function, location FROM stack_name ORDER BY 1");
        if (strcmp(name, "balance_pair") == 0)
            strcpy(sql, "SELECT * FROM balance_pair");
        if (strcmp(name, "v1_object") == 0)
            strcpy(sql, "SELECT count(*), sum(given), max(address) FROM v1_object");
        strcpy(live, query_text(w->live, sql));
        if (strncmp(live, "error", 5) == 0)
            fail_msg("%s: %s", name, live);
        query_assert(w->file, sql, live);
    }
}

static void test_what_a_plain_sqlite3_needs_is_in_the_file(void **state) {
    const struct world *w = *state;
    sqlite3 *plain;
    assert_int_equal(sqlite3_open_v2(w->path, &plain, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    query_assert(plain, "SELECT function, location FROM v1_site WHERE site_id = 2",
                 "make_table|table.c:9");
    query_assert(plain, "SELECT count(*) FROM v1_balance WHERE NOT holds", "0");
    sqlite3_close(plain);
}

/* A known heap. */

static void test_sites_have_the_counts_that_were_made(void **state) {
    both((const struct world *)*state,
         "SELECT site_id, function, location, live_objects, live_bytes, alloc_objects, alloc_bytes,"
         " live_given_bytes FROM v1_site ORDER BY site_id",
         "0|(not recorded)|-|50|800|0|0|800\n"
         "1|make_node|node.c:88|100|2000|1100|22000|2400\n"
         "2|make_table|table.c:9|21|40800|21|40800|41920\n"
         "3|main|main.c:5|7|231|7|231|336");
}

static void test_a_site_is_named_by_its_first_function_outside_of_the_allocator(void **state) {
    both((const struct world *)*state,
         "SELECT frame, inline_depth, allocator, function FROM v1_stack WHERE site_id = 1",
         "0|0|1|std::allocator<node>::allocate(unsigned long)\n0|1|0|make_node\n1|0|0|build\n"
         "2|0|0|main");
}

static void test_frames_of_the_library_itself_are_not_callers(void **state) {
    (void)state;
    struct world w;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    /* make_node and build lie in the library: the caller is main. */
    struct gomalloc_mapping lib =
        *(struct gomalloc_mapping *)maker_record(&m, GOMALLOC_SECTION_MAPPING, 0);
    lib.start = DEMO_TEXT + 0x10000;
    lib.end = lib.start + 0x1000;
    lib.path_str = maker_string(&m, "/usr/lib/libgomalloc.so.0.1");
    maker_add(&m, GOMALLOC_SECTION_MAPPING, &lib);
    for (size_t i = 2; i < 4; i++)
        ((struct gomalloc_frame *)maker_record(&m, GOMALLOC_SECTION_FRAME, i))->pc =
            lib.start + 0x300 + 0x200 * i;
    world_open(&w, &m);
    both(&w, "SELECT function, location FROM v1_site WHERE site_id = 1", "main|main.c:5");
    both(&w, "SELECT text FROM v1_stack WHERE site_id = 1",
         "#0 ?? (libgomalloc.so.0.1+0x1900)\n#1 ?? (libgomalloc.so.0.1+0x1700)\n"
         "#2 main at main.c:5 (demo+0x1400)");
    world_close(&w);
    maker_free(&m);
}

static void test_classes(void **state) {
    both((const struct world *)*state,
         "SELECT size_class, slot_bytes, spans, live_objects, live_bytes, free_objects, free_bytes,"
         " tail_bytes, span_bytes FROM v1_class WHERE spans > 0",
         "0|0|1|1|40960|0|0|0|40960\n"
         "2|16|1|50|800|462|7392|0|8192\n"
         "3|24|1|100|2400|241|5784|8|8192\n"
         "5|48|1|27|1296|143|6864|32|8192");
    both((const struct world *)*state, "SELECT count(*) FROM v1_class", "68");
}

/* steps runs a statement to its end and returns how many instructions that took SQLite. */
static int steps(sqlite3 *db, const char *sql) {
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        ;
    int ret = sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
    assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
    return ret;
}

/* Not once for each of the 68 classes. */
static void test_views_of_classes_read_the_spans_a_few_times(void **state) {
    static const char *const views[] = {"v1_class", "v1_fragmentation"};
    int took[2][2];
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct world w;
        struct demo d = demo_default;
        char sql[64];
        d.more_spans = k * 200;
        world_demo(&w, &d);
        for (int i = 0; i < 2; i++) {
            snprintf(sql, sizeof sql, "SELECT * FROM %s", views[i]);
            took[k][i] = steps(w.live, sql);
        }
        world_close(&w);
    }
    for (int i = 0; i < 2; i++)
        if (took[1][i] - took[0][i] > 200 * 300)
            fail_msg("%s: %d steps a span", views[i], (took[1][i] - took[0][i]) / 200);
}

static void test_spans(void **state) {
    both((const struct world *)*state,
         "SELECT address, npages, size_class, noscan, live_objects, live_bytes, state, owner, place"
         " FROM v1_span ORDER BY base",
         "0xc000000000|1|3|0|100|2400|in use|thread 4711|listed\n"
         "0xc000002000|1|5|0|27|1296|in use|thread 4711|listed\n"
         "0xc000004000|1|2|1|50|800|in use|thread 4711|listed\n"
         "0xc000006000|5|0|0|1|40960|in use|heap|-\n"
         "0xc000010000|4|0|0|0|0|manual|heap|-");
}

static void test_arenas_and_pages(void **state) {
    both((const struct world *)*state,
         "SELECT address, in_use_pages, free_pages, scavenged_pages, span_pages, live_bytes"
         " FROM v1_arena",
         "0xc000000000|12|10|4|12|45456");
    both((const struct world *)*state,
         "SELECT address, in_use_pages, free_pages, scavenged_pages, cached_pages FROM v1_chunk",
         "0xc000000000|12|10|4|2");
    both((const struct world *)*state, "SELECT level, entries, max_free FROM v1_page_level",
         "4|1|8");
}

static void test_status(void **state) {
    both((const struct world *)*state,
         "SELECT item, value FROM v1_status WHERE item LIKE 'objects.%' OR item LIKE 'heap.%'"
         " OR item LIKE 'spans.%' ORDER BY ord",
         "heap.reserved|66928640\nheap.prepared|32768\nheap.ready|147456\nheap.spans|98304\n"
         "heap.free|81920\nheap.scavenged|32768\nobjects.live|178\nobjects.live_bytes|45456\n"
         "objects.recorded|128\nobjects.recorded_bytes|44656\nobjects.recorded_requested|43031\n"
         "spans.count|4\nspans.free_slots|846\nspans.free_bytes|20040\nspans.unswept_slots|0\n"
         "spans.cached_bytes|0\nspans.tail_bytes|40\nspans.manual_bytes|32768");
}

static void test_figures_add_up(void **state) {
    both((const struct world *)*state, "SELECT what, holds FROM v1_balance",
         "live objects: bitmaps, spans|1\nlive objects: classes, spans|1\n"
         "live bytes: classes, spans|1\nlive objects: sites, spans|1\n"
         "live bytes: sites, spans|1\npages: arenas, spans|1\npages: chunks in use, spans|1\n"
         "free pages: arenas, chunks|1\nscavenged pages: arenas, chunks|1\n"
         "current spans: caches, spans|1\nlisted spans: caches, spans|1\n"
         "partial swept spans: central lists, spans|1\n"
         "partial unswept spans: central lists, spans|1\n"
         "full swept spans: central lists, spans|1\nfull unswept spans: central lists, spans|1\n"
         "spans: caches, central lists and heap, all|1\n"
         "free slots: caches, central lists and heap, spans|1\n"
         "large spans kept: caches, spans|1\nlarge bytes kept: caches, spans|1\n"
         "cached pages: caches, chunks|1\npages in use: heap, spans|1\n"
         "pages taken: heap, spans and page caches|1\n"
         "free pages below the search address: chunks, none|1\n"
         "reserved bytes: transitions, purposes|1\nprepared bytes: transitions, purposes|1\n"
         "ready bytes: transitions, purposes|1\nreserved bytes: arenas, heap|1\n"
         "prepared bytes: arenas, heap|1\nready bytes: arenas, heap|1");
}

/* A balance that can't fail would be none. */
static void test_figures_that_do_not_add_up_are_shown(void **state) {
    (void)state;
    struct world w;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    struct gomalloc_arena *a = maker_record(&m, GOMALLOC_SECTION_ARENA, 0);
    a->in_use_pages++;
    a->free_pages--;
    world_open(&w, &m);
    both(&w, "SELECT what, a, b FROM v1_balance WHERE NOT holds",
         "pages: arenas, spans|13|12\nfree pages: arenas, chunks|9|10");
    world_close(&w);
    maker_free(&m);
}

/* One figure of each structure is wrong by one, and its line, and only that, says so. */
static void test_structures_that_do_not_add_up_are_shown(void **state) {
    (void)state;
    static const struct {
        enum gomalloc_section_id id;
        size_t nth, offset;
        const char *expected;
    } cases[] = {
#define WRONG(section, type, nth, field, expected)                                                 \
    {GOMALLOC_SECTION_##section, nth, offsetof(struct type, field), expected}
        WRONG(MCACHE_CLASS, gomalloc_mcache_class, 0, current,
              "current spans: caches, spans\nspans: caches, central lists and heap, all"),
        WRONG(MCACHE_CLASS, gomalloc_mcache_class, 1, nlisted,
              "listed spans: caches, spans\nspans: caches, central lists and heap, all"),
        WRONG(MCACHE_CLASS, gomalloc_mcache_class, 2, held_free,
              "free slots: caches, central lists and heap, spans"),
        WRONG(MCENTRAL, gomalloc_mcentral, 0, partial_swept,
              "partial swept spans: central lists, spans\n"
              "spans: caches, central lists and heap, all"),
        WRONG(MCENTRAL, gomalloc_mcentral, 0, full_unswept,
              "full unswept spans: central lists, spans\n"
              "spans: caches, central lists and heap, all"),
        WRONG(MCACHE, gomalloc_mcache, 1, large_bytes, "large bytes kept: caches, spans"),
        WRONG(MHEAP, gomalloc_mheap, 0, pages_in_use, "pages in use: heap, spans"),
        WRONG(MHEAP, gomalloc_mheap, 0, pages_taken, "pages taken: heap, spans and page caches"),
        WRONG(TRANSITION, gomalloc_transition, 4, bytes, "ready bytes: transitions, purposes"),
        WRONG(ARENA, gomalloc_arena, 0, reserved_bytes, "reserved bytes: arenas, heap"),
#undef WRONG
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world w;
        struct maker m;
        maker_init(&m);
        demo_make(&m, &demo_default);
        ++*((unsigned char *)maker_record(&m, cases[i].id, cases[i].nth) + cases[i].offset);
        world_open(&w, &m);
        both(&w, "SELECT what FROM v1_balance WHERE NOT holds", cases[i].expected);
        world_close(&w);
        maker_free(&m);
    }
}

static void test_free_pages_below_the_search_address_are_noticed(void **state) {
    (void)state;
    struct world w;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    struct gomalloc_mheap *h = maker_record(&m, GOMALLOC_SECTION_MHEAP, 0);
    h->search_addr += 3 * 8192;
    world_open(&w, &m);
    both(&w, "SELECT what, a, b FROM v1_balance WHERE NOT holds",
         "free pages below the search address: chunks, none|3|0");
    world_close(&w);
    maker_free(&m);
}

/* The allocator's structures. */

static void test_caches(void **state) {
    both((const struct world *)*state,
         "SELECT mcache, tid, name, state, spans, listed_spans, hints, page_cache_pages,"
         " page_cache, page_cache_free, cycles_behind, tiny_block, next_sample FROM v1_cache",
         "0|4711|demo|attached|2|3|9|2|0xc000000000|0000000000300000|1|0xc000004010|123456\n"
         "1|0|(idle)|idle|0|0|0|0|-|0000000000000000|2|-|-");
    both((const struct world *)*state,
         "SELECT mcache, size_class, noscan, current, listed_spans, free_slots, free_bytes"
         " FROM v1_cache_class ORDER BY size_class",
         "0|2|1|-|1|462|7392\n0|3|0|-|1|241|5784\n0|5|0|-|1|143|6864");
}

static void test_central_lists_and_the_heap(void **state) {
    both((const struct world *)*state,
         "SELECT size_class, slot_bytes, spans, free_bytes, spans_given, spans_taken, sweepgen"
         " FROM v1_central",
         "3|24|0|0|2|2|6");
    both((const struct world *)*state,
         "SELECT sweep_cycles, search_address, grows_from, pages_in_use, pages_taken FROM v1_heap",
         "2|0xc000018000|0xc00002c000|12|14");
    both((const struct world *)*state,
         "SELECT goal_bytes, surplus_bytes, released_bytes, reused_bytes, windows, regrets,"
         " time_percent, regretful FROM v1_scavenger",
         "98304|49152|16384|16384|5|1|0.1|1");
    both((const struct world *)*state,
         "SELECT purpose, name, from_state, to_state, bytes FROM v1_transition"
         " WHERE purpose = 'recorder' OR name = 'sysUnused' ORDER BY 1",
         "heap|sysUnused|Ready|Prepared|16384\nrecorder|sysAlloc|None|Ready|65536");
}

/* Verdicts. */

static void test_an_escape_is_told_with_its_numbers(void **state) {
    both((const struct world *)*state,
         "SELECT verdict, judged, freed, escaped, outlived, calls_up, calls_up_objects,"
         " owner_function, owner_location, thread, within, within_proved, unknown, suggestion"
         " FROM v1_escape WHERE site_id = 1",
         "escapes|1100|1000|940|900|1|890|build|build.c:30|thread \"io-2\"|50|1|10|"
         "one arena per build would do (proved of 3)");
    both((const struct world *)*state,
         "SELECT location, function, text FROM v1_escape ORDER BY site_id",
         "node.c:88:14|make_node|1,100 objects, 20 B: escapes 1 call up, to build (build.c:30), in "
         "890"
         " of 1,000 (10 to other callers, 30 to thread \"io-2\", 10 freed by a later call, 50 not"
         " seen to escape (1 proved), 10 not told, 100 live)\n"
         "table.c:9|make_table|21 objects, ~1.9 KiB: never freed: live for up to 1.0 s");
    both((const struct world *)*state,
         "SELECT calls_up, objects, proved, function FROM v1_outlived ORDER BY objects",
         "-|10|0|-\n0|50|1|make_node\n1|890|3|build");
}

/* judge adds verdicts on the seven objects that main allocated by xmalloc, of which six are freed:
 * two where xmalloc had been called again, three within main, one after a number of frames that has
 * no record. */
static void judge(struct maker *m, bool also_none) {
    struct gomalloc_escape e = {.site = 3, .judged = 7, .freed = 6, .reentered = 2};
    struct gomalloc_outlived within = {3, 1, 3, 2}, more = {3, GOMALLOC_OUTLIVED_MORE, 1, 0},
                             none = {3, 0, 0, 0};
    maker_init(m);
    demo_make(m, &demo_default);
    maker_add(m, GOMALLOC_SECTION_ESCAPE, &e);
    maker_add(m, GOMALLOC_SECTION_OUTLIVED, &within);
    maker_add(m, GOMALLOC_SECTION_OUTLIVED, &more);
    if (also_none)
        maker_add(m, GOMALLOC_SECTION_OUTLIVED, &none);
}

/* That xmalloc was called again proves nothing of main; and a number without a record may be 0. */
static void test_what_is_proved_of_a_wrapper_is_not_of_its_caller(void **state) {
    (void)state;
    struct world w;
    struct maker m;
    judge(&m, false);
    world_open(&w, &m);
    both(&w,
         "SELECT wrappers, function, verdict, escaped, within, within_proved, unknown, calls_up"
         " FROM v1_escape WHERE site_id = 3",
         "1|main|no escape observed|0|3|2|3|-");
    both(&w, "SELECT at_most_percent, text, suggestion FROM v1_escape WHERE site_id = 3",
         "100.0|no escape observed in 3 objects (2 proved; <= 100 % at 95 %), 3 not told, 1 live|"
         "could be a local of 33 B in main");
    world_close(&w);
    maker_free(&m);
}

static void test_other_numbers_have_escaped_if_the_low_ones_are_counted(void **state) {
    (void)state;
    struct world w;
    struct maker m;
    judge(&m, true);
    world_open(&w, &m);
    both(&w,
         "SELECT verdict, escaped, within, unknown, calls_up, suggestion FROM v1_escape"
         " WHERE site_id = 3",
         "escapes|1|3|2|-|-");
    world_close(&w);
    maker_free(&m);
}

static void test_spans_are_empty_partial_or_full(void **state) {
    both((const struct world *)*state, "SELECT size_class, state, fill FROM v1_span ORDER BY base",
         "3|in use|partial\n5|in use|partial\n2|in use|partial\n0|in use|full\n0|manual|-");
}

static void test_an_older_image_has_no_structures_and_nothing_wrong(void **state) {
    (void)state;
    struct world w;
    struct demo d = demo_default;
    d.old = true;
    world_demo(&w, &d);
    both(&w, "SELECT count(*) FROM v1_cache", "0");
    both(&w, "SELECT count(*) FROM v1_heap", "0");
    both(&w, "SELECT count(*), sum(holds) FROM v1_balance", "9|9");
    both(&w, "SELECT count(*) FROM v1_status WHERE item LIKE 'scavenger%'", "0");
    world_close(&w);
}

static void test_a_span_over_several_arenas_is_counted_in_each(void **state) {
    (void)state;
    struct world w;
    struct maker m;
    maker_init(&m);
    demo_make(&m, &demo_default);
    struct gomalloc_arena a = *(struct gomalloc_arena *)maker_record(&m, GOMALLOC_SECTION_ARENA, 0);
    struct gomalloc_span big = *(struct gomalloc_span *)maker_record(&m, GOMALLOC_SECTION_SPAN, 3);
    for (uint64_t i = 1; i <= 3; i++) {
        a.base = DEMO_ARENA + i * a.size;
        maker_add(&m, GOMALLOC_SECTION_ARENA, &a);
    }
    big.base = DEMO_ARENA + a.size - 2 * 8192;
    big.npages = 2 + 8192 + 3; /* the end of the first, all of the second, 3 of the third */
    big.elem_size = big.npages * 8192;
    big.large_requested = 0;
    big.slot_index = GOMALLOC_NO_SLOTS;
    uint64_t word = 1;
    big.bitmap_index = maker_add(&m, GOMALLOC_SECTION_BITMAP, &word);
    maker_add(&m, GOMALLOC_SECTION_SPAN, &big);
    world_open(&w, &m);
    both(&w, "SELECT span_pages FROM v1_arena ORDER BY base", "14\n8192\n3\n0");
    world_close(&w);
    maker_free(&m);
}

/* Estimates. */

static void test_sampled_objects_stand_for_the_inverse_of_their_probability(void **state) {
    (void)state;
    struct world w;
    struct demo d = demo_default;
    d.rate = 1000;
    world_demo(&w, &d);
    double weight = 1 / (1 - exp(-20.0 / 1000)); /* of a node */
    char expected[96];
    snprintf(expected, sizeof expected, "%.0f|%.0f|100", 100 * weight, 100 * 20 * weight);
    both(&w, "SELECT live_objects, live_bytes, recorded_objects FROM v1_site WHERE site_id = 1",
         expected);
    /* 20 tables of 40 bytes, and a large one that is all but certain to be recorded. */
    snprintf(expected, sizeof expected, "%.0f",
             20 / (1 - exp(-40.0 / 1000)) + 1 / (1 - exp(-40000.0 / 1000)));
    both(&w, "SELECT live_objects FROM v1_site WHERE site_id = 2", expected);
    /* What is not recorded is what the estimates are of. */
    both(&w, "SELECT count(*) FROM v1_site WHERE site_id = 0", "0");
    both(&w, "SELECT count(*) FROM v1_balance WHERE what LIKE '%sites%'", "0");
    both(&w, "SELECT value FROM v1_status WHERE item = 'objects.live'", "178");
    world_close(&w);
}

static void test_without_a_recorder_everything_is_not_recorded(void **state) {
    (void)state;
    struct world w;
    struct demo d = demo_default;
    d.rate = 0;
    d.nodes = d.tables = d.buffers = 0;
    world_demo(&w, &d);
    both(&w, "SELECT function, live_objects FROM v1_site WHERE live_objects > 0 ORDER BY site_id",
         "(not recorded)|50\nmake_table|1");
    both(&w, "SELECT count(*) FROM v1_balance WHERE NOT holds", "0");
    world_close(&w);
}

/* Several snapshots. */

static void test_growth_matches_sites_by_stack(void **state) {
    (void)state;
    struct world w;
    struct demo later = demo_default, elsewhere = demo_default;
    later.id = 2;
    later.captured_ns++;
    later.nodes = 150;
    later.buffers = 2;
    later.other_numbers = true;
    elsewhere = later;
    elsewhere.id = 3;
    elsewhere.pid++;
    elsewhere.text = 0x7f1234560000;
    elsewhere.tables = 30;
    world_demo(&w, &demo_default);
    world_add(&w, &later);
    world_add(&w, &elsewhere);
    query_assert(w.file,
                 "SELECT function, grown_objects, grown_bytes, alloc_objects, site_a, site_b"
                 " FROM v1_site_growth WHERE snapshot_a = 1 AND snapshot_b = 2"
                 " ORDER BY grown_bytes DESC, site_a",
                 "make_node|50|1000|50|1|30\n(not recorded)|0|0|0|0|0\nmake_table|0|0|0|2|20\n"
                 "main|-5|-165|-5|3|10");
    query_assert(w.file,
                 "SELECT function, live_objects_a, live_objects_b FROM v1_site_growth"
                 " WHERE snapshot_a = 3 AND snapshot_b = 1 AND grown_objects <> 0 ORDER BY 1",
                 "main|2|7\nmake_node|150|100\nmake_table|31|21");
    query_assert(w.file, "SELECT count(*) FROM v1_balance WHERE NOT holds", "0");
    query_assert(w.file, "SELECT snapshot_id, sum(live_objects) FROM v1_class GROUP BY 1",
                 "1|178\n2|223\n3|233");
    world_close(&w);
}

static void test_a_site_in_one_snapshot_only_grows_from_nothing(void **state) {
    (void)state;
    struct world w;
    struct demo later = demo_default;
    later.id = 2;
    later.more_sites = 2;
    later.more_spans = 1;
    world_demo(&w, &demo_default);
    world_add(&w, &later);
    query_assert(w.file,
                 "SELECT live_objects_a, live_objects_b, site_a FROM v1_site_growth"
                 " WHERE snapshot_a = 1 AND snapshot_b = 2 AND grown_objects > 0",
                 "0|512|-\n0|512|-");
    query_assert(w.file,
                 "SELECT grown_objects, site_b FROM v1_site_growth"
                 " WHERE snapshot_a = 2 AND snapshot_b = 1 AND grown_objects < 0",
                 "-512|-\n-512|-");
    world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tables_of_file_and_image_have_the_same_columns),
        cmocka_unit_test(test_every_view_says_the_same_over_file_and_image),
        cmocka_unit_test(test_what_a_plain_sqlite3_needs_is_in_the_file),
        cmocka_unit_test(test_sites_have_the_counts_that_were_made),
        cmocka_unit_test(test_a_site_is_named_by_its_first_function_outside_of_the_allocator),
        cmocka_unit_test(test_frames_of_the_library_itself_are_not_callers),
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_views_of_classes_read_the_spans_a_few_times),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_arenas_and_pages),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_figures_add_up),
        cmocka_unit_test(test_figures_that_do_not_add_up_are_shown),
        cmocka_unit_test(test_structures_that_do_not_add_up_are_shown),
        cmocka_unit_test(test_free_pages_below_the_search_address_are_noticed),
        cmocka_unit_test(test_caches),
        cmocka_unit_test(test_central_lists_and_the_heap),
        cmocka_unit_test(test_an_escape_is_told_with_its_numbers),
        cmocka_unit_test(test_what_is_proved_of_a_wrapper_is_not_of_its_caller),
        cmocka_unit_test(test_other_numbers_have_escaped_if_the_low_ones_are_counted),
        cmocka_unit_test(test_spans_are_empty_partial_or_full),
        cmocka_unit_test(test_an_older_image_has_no_structures_and_nothing_wrong),
        cmocka_unit_test(test_a_span_over_several_arenas_is_counted_in_each),
        cmocka_unit_test(test_sampled_objects_stand_for_the_inverse_of_their_probability),
        cmocka_unit_test(test_without_a_recorder_everything_is_not_recorded),
        cmocka_unit_test(test_growth_matches_sites_by_stack),
        cmocka_unit_test(test_a_site_in_one_snapshot_only_grows_from_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
