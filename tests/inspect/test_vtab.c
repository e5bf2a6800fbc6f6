/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The virtual tables: every field of every record is what SQL sees, by a walk and by key.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/column.h"
#include "db/db.h"
#include "maker.h"
#include "query.h"

struct world {
    struct image *im;
    sqlite3 *db;
};

static int set_up(void **state) {
    static struct world w;
    char err[256];
    size_t size;
    struct demo d = demo_default;
    d.other_numbers = true; /* so that keys are not in order */
    unsigned char *bytes = demo_image(&d, &size);
    if (image_open_memory(bytes, size, &w.im, err, sizeof err) ||
        db_open_image(w.im, &w.db, err, sizeof err))
        return -1;
    free(bytes);
    *state = &w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    db_close(w->db);
    image_close(w->im);
    return 0;
}

/* Every section, every unsigned field: the table against the bytes of the record. */
static void test_fields_are_those_of_the_records(void **state) {
    const struct world *w = *state;
    for (size_t t = 0; t < nimage_tables; t++) {
        const struct image_table *table = &image_tables[t];
        if (table->section == GOMALLOC_NSECTIONS)
            continue;
        size_t count, row = 0;
        const char *records = image_section(w->im, table->section, &count);
        char sql[64];
        snprintf(sql, sizeof sql, "SELECT * FROM %s", table->name);
        sqlite3_stmt *s;
        assert_int_equal(sqlite3_prepare_v2(w->db, sql, -1, &s, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_column_count(s), table->ncolumns);
        for (; sqlite3_step(s) == SQLITE_ROW; row++, records += table->record_size)
            for (size_t c = 0; c < table->ncolumns; c++) {
                const struct image_column *col = &table->columns[c];
                if (col->type == COLUMN_UINT || col->type == COLUMN_BITS)
                    assert_true((uint64_t)sqlite3_column_int64(s, (int)c) ==
                                column_uint(col, records));
            }
        sqlite3_finalize(s);
        assert_int_equal(row, count);
    }
}

/* The constraint with + before it can't use the key. */
static void test_a_key_finds_what_a_walk_finds(void **state) {
    const struct world *w = *state;
    static const struct {
        const char *table, *column;
    } keyed[] = {
        {"image_thread", "mcache"},  {"image_mapping", "start"}, {"image_size_class", "size_class"},
        {"image_arena", "base"},     {"image_span", "base"},     {"image_chunk", "base"},
        {"image_site", "site"},      {"image_frame", "rowid"},   {"image_slot", "rowid"},
        {"image_object", "address"}, {"image_object", "span"},   {"image_code", "code"},
        {"image_symbol", "code"},    {"image_stack", "stack"},   {"image_site_live", "site"},
        {"image_escape", "site"},    {"image_tick", "tick"},     {"image_pin", "unit"}};
    for (size_t i = 0; i < sizeof keyed / sizeof keyed[0]; i++) {
        const char *t = keyed[i].table, *c = keyed[i].column;
        char sql[512];
        snprintf(sql, sizeof sql,
                 "WITH k(v) AS MATERIALIZED (SELECT %s FROM %s UNION SELECT 0 UNION SELECT -1"
                 " UNION SELECT 1 << 40 UNION SELECT NULL) "
                 "SELECT count(*) FROM k CROSS JOIN %s t ON t.%s = k.v",
                 c, t, t, c);
        int64_t by_key = query_int(w->db, sql);
        snprintf(sql, sizeof sql, "SELECT count(%s) FROM %s", c, t);
        assert_int_equal(by_key, query_int(w->db, sql));
        snprintf(sql, sizeof sql, "EXPLAIN QUERY PLAN SELECT 1 FROM %s WHERE %s = 5", t, c);
        if (strstr(query_text(w->db, sql), "INDEX 0:"))
            fail_msg("%s.%s is not found by key", t, c);
    }
}

static void test_keys_of_other_types_find_the_same(void **state) {
    const struct world *w = *state;
    query_assert(w->db, "SELECT site FROM image_site WHERE site = 30.0", "30");
    query_assert(w->db, "SELECT count(*) FROM image_site WHERE site = NULL", "0");
    query_assert(w->db, "SELECT count(*) FROM image_site WHERE site = 30.5", "0");
    query_assert(w->db, "SELECT count(*) FROM image_site WHERE site IN (30, 20, 99)", "2");
}

static void test_texts(void **state) {
    const struct world *w = *state;
    query_assert(w->db, "SELECT host, exe, cmdline, comm, unwinder FROM image_process",
                 "box|" DEMO_MODULE "|demo --fast|demo|libunwind");
    query_assert(w->db, "SELECT boot_id FROM image_process", "30313233343536373839616263646566");
    query_assert(w->db, "SELECT length(build_id) FROM image_mapping", "40\n0");
    query_assert(w->db, "SELECT comm FROM image_thread", "demo\n");
    query_assert(w->db, "SELECT name, unit, value FROM image_counter", "heap.grow|calls|3");
}

static void test_bytes_that_are_no_text_become_question_marks(void **state) {
    (void)state;
    struct maker m;
    struct image *im;
    sqlite3 *db;
    char err[256];
    size_t size;
    maker_init(&m);
    demo_make(&m, &demo_default);
    struct gomalloc_process *p = maker_record(&m, GOMALLOC_SECTION_PROCESS, 0);
    p->cmdline_str = maker_string(&m, "a\xff\xc3\xa9\xed\xa0\x80\xe2\x82");
    unsigned char *bytes = maker_finish(&m, &size);
    assert_int_equal(image_open_memory(bytes, size, &im, err, sizeof err), 0);
    assert_int_equal(db_open_image(im, &db, err, sizeof err), 0);
    query_assert(db, "SELECT cmdline FROM image_process", "a?\xc3\xa9?????");
    db_close(db);
    image_close(im);
    free(bytes);
    maker_free(&m);
}

static void test_a_chunk_is_a_picture_of_its_pages(void **state) {
    const struct world *w = *state;
    query_assert(w->db, "SELECT substr(map, 1, 24), length(map) FROM image_chunk",
                 "############____....cc--|512");
}

static void test_a_bitmap_has_a_bit_for_each_slot(void **state) {
    const struct world *w = *state;
    query_assert(w->db,
                 "SELECT nelems, length(bitmap), substr(hex(bitmap), 1, 28) FROM image_span"
                 " WHERE elem_size = 24",
                 "341|43|FFFFFFFFFFFFFFFFFFFFFFFF0F00");
}

static void test_objects(void **state) {
    const struct world *w = *state;
    query_assert(w->db,
                 "SELECT site, given, requested, count(*) FROM image_object GROUP BY 1, 2, 3"
                 " ORDER BY 1, 2",
                 "0|16|-|50\n10|48|33|7\n20|48|40|20\n20|40960|40000|1\n30|24|20|100");
    query_assert(w->db,
                 "SELECT count(*) FROM image_object o JOIN image_span s ON s.base = o.span"
                 " WHERE o.address = s.base + o.slot * s.elem_size",
                 "178");
}

static void test_live_objects_by_site_and_size(void **state) {
    const struct world *w = *state;
    query_assert(w->db, "SELECT site, given, requested, objects, weight FROM image_site_live",
                 "0|16|-|50|1.0\n10|48|33|7|1.0\n20|48|40|20|1.0\n20|40960|40000|1|1.0\n"
                 "30|24|20|100|1.0");
}

static void test_names_of_inlined_functions(void **state) {
    const struct world *w = *state;
    query_assert(w->db,
                 "SELECT s.inline_depth, s.function, s.file, s.line, s.inlined, s.allocator"
                 " FROM image_code c JOIN image_symbol s ON s.code = c.code"
                 " WHERE c.module_offset = 0x1100",
                 "0|std::allocator<node>::allocate(unsigned long)|/usr/include/alloc.h|12|1|1\n"
                 "1|make_node|/src/demo/node.c|88|0|0");
}

static void test_stacks(void **state) {
    const struct world *w = *state;
    query_assert(w->db,
                 "SELECT k.stack, k.parent, printf('%x', c.module_offset), k.depth, k.caller"
                 " FROM image_stack k JOIN image_code c ON c.code = k.code",
                 "0|-|0|0|0\n1|0|2000|1|1\n2|0|1400|1|2\n3|2|1500|2|2\n4|2|1300|2|4\n"
                 "5|4|1100|3|5\n6|4|1200|3|6");
}

static void test_every_column_is_explained(void **state) {
    const struct world *w = *state;
    query_assert(w->db,
                 "SELECT s.name, p.name FROM sqlite_schema s, pragma_table_info(s.name) p"
                 " WHERE s.name LIKE 'image@_%' ESCAPE '@' AND s.name <> 'image_column'"
                 " AND NOT EXISTS (SELECT 1 FROM image_column c WHERE c.\"table\" = s.name"
                 " AND c.\"column\" = p.name AND c.comment <> '' AND c.type = p.type)",
                 "");
    assert_int_equal(query_int(w->db, "SELECT count(DISTINCT \"table\") FROM image_column"),
                     (int)nimage_tables + 9); /* derived ones */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_are_those_of_the_records),
        cmocka_unit_test(test_a_key_finds_what_a_walk_finds),
        cmocka_unit_test(test_keys_of_other_types_find_the_same),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_bytes_that_are_no_text_become_question_marks),
        cmocka_unit_test(test_a_chunk_is_a_picture_of_its_pages),
        cmocka_unit_test(test_a_bitmap_has_a_bit_for_each_slot),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_live_objects_by_site_and_size),
        cmocka_unit_test(test_names_of_inlined_functions),
        cmocka_unit_test(test_stacks),
        cmocka_unit_test(test_every_column_is_explained),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
