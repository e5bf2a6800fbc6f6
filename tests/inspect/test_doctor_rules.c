/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The doctor's rules: their texts and queries fit together; and the two modules that write texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/cgroup.h"
#include "db/db.h"
#include "report/doctor.h"
#include "maker.h"
#include "base/say.h"
#include "base/wrap.h"

#include <cmocka.h> /* last: its fail() is a macro, ours a function */

static const struct doctor_family *const families[] = {&doctor_leaks,    &doctor_fragments,
                                                       &doctor_kept,     &doctor_process,
                                                       &doctor_recorder, &doctor_advice};
#define NFAMILIES (sizeof(families) / sizeof(*families))

struct world {
    struct image *im;
    sqlite3 *db;
};

static int set_up(void **state) {
    static struct world w;
    char err[256];
    size_t size;
    struct demo d = demo_default;
    d.more_sites = 3000; /* what has few rows may be read whole */
    unsigned char *bytes = demo_image(&d, &size);
    if (image_open_memory(bytes, size, &w.im, err, sizeof err) ||
        db_open_image(w.im, &w.db, err, sizeof err) || cgroup_create(w.db, 0) != SQLITE_OK)
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

static bool has_column(sqlite3_stmt *stmt, const char *name, size_t n) {
    static const char *const given[] = {"rows", "target", "process"};
    for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++)
        if (strlen(given[i]) == n && strncmp(given[i], name, n) == 0)
            return true;
    for (int i = 0; i < sqlite3_column_count(stmt); i++)
        if (strlen(sqlite3_column_name(stmt, i)) == n &&
            strncmp(sqlite3_column_name(stmt, i), name, n) == 0)
            return true;
    return false;
}

/* Gaps are columns, have two words or none, and brackets do not nest. */
static void assert_fits(const struct doctor_rule *rule, sqlite3_stmt *stmt, const char *text) {
    int depth = 0;
    for (const char *p = text; p && *p; p++) {
        depth += (*p == '[') - (*p == ']');
        if (depth < 0 || depth > 1)
            fail_msg("%s: brackets in \"%s\"", rule->kind, text);
        if (*p != '{')
            continue;
        size_t n = strcspn(p, "}"), name = strcspn(p + 1, "|}"), bars = 0;
        for (size_t i = 0; i < n; i++)
            bars += p[i] == '|';
        if (!has_column(stmt, p + 1, name))
            fail_msg("%s: {%.*s} is no column of its query", rule->kind, (int)name, p + 1);
        if (p[n] != '}' || (bars != 0 && bars != 2))
            fail_msg("%s: \"%.*s\"", rule->kind, (int)n, p);
    }
    assert_int_equal(depth, 0);
}

static void test_texts_fit_their_queries(void **state) {
    const struct world *w = *state;
    for (size_t i = 0; i < NFAMILIES; i++)
        for (size_t k = 0; k < families[i]->n; k++) {
            const struct doctor_rule *rule = &families[i]->rules[k];
            sqlite3_stmt *stmt;
            if (sqlite3_prepare_v2(w->db, rule->query, -1, &stmt, NULL) != SQLITE_OK)
                fail_msg("%s: %s", rule->kind, sqlite3_errmsg(w->db));
            assert_string_equal(sqlite3_column_name(stmt, 0), "bytes");
            assert_int_equal(sqlite3_step(stmt) == SQLITE_ERROR, 0);
            assert_fits(rule, stmt, rule->sentence);
            assert_fits(rule, stmt, rule->row);
            assert_fits(rule, stmt, rule->advice);
            assert_true((strstr(rule->sentence, "{rows}") != NULL) == (rule->row != NULL));
            sqlite3_finalize(stmt);
        }
}

/* To name all code that an image has takes many seconds; a finding names three places. */
static void test_names_are_looked_up_for_what_is_found_only(void **state) {
    const struct world *w = *state;
    for (size_t i = 0; i < NFAMILIES; i++)
        for (size_t k = 0; k < families[i]->n; k++) {
            const struct doctor_rule *rule = &families[i]->rules[k];
            char *sql = must_format("EXPLAIN QUERY PLAN %s", rule->query);
            sqlite3_stmt *stmt;
            assert_int_equal(sqlite3_prepare_v2(w->db, sql, -1, &stmt, NULL), SQLITE_OK);
            while (sqlite3_step(stmt) == SQLITE_ROW) {
                const char *step = (const char *)sqlite3_column_text(stmt, 3);
                if (strstr(step, "SCAN image_symbol VIRTUAL TABLE INDEX 0"))
                    fail_msg("%s: %s", rule->kind, step);
            }
            sqlite3_finalize(stmt);
            free(sql);
        }
}

static void test_kinds_are_told_apart(void **state) {
    const char *kinds[64];
    size_t n = 0;
    (void)state;
    for (size_t i = 0; i < NFAMILIES; i++)
        for (size_t k = 0; k < families[i]->n; k++) {
            for (size_t j = 0; j < n; j++)
                assert_string_not_equal(kinds[j], families[i]->rules[k].kind);
            kinds[n++] = families[i]->rules[k].kind;
        }
    assert_in_range(n, 20, 64);
}

static void test_gaps(void **state) {
    static const struct {
        const char *query, *text, *want;
    } cases[] = {
        {"SELECT 1536 AS bytes", "{bytes} of it", "1.5 KiB of it"},
        {"SELECT 1.5e6 AS high_bytes", "{high_bytes}", "1.4 MiB"},
        {"SELECT 12031 AS n", "{n} object{n||s}", "12,031 objects"},
        {"SELECT 1 AS n", "{n} object{n||s} {n|is|are}", "1 object is"},
        {"SELECT 12031 AS tid", "thread {tid}", "thread 12031"},
        {"SELECT 9.94 AS a_percent, 9.96 AS b_percent", "{a_percent} {b_percent}", "9.9 % 10 %"},
        {"SELECT 125 AS old_s, 0 AS new_s", "{old_s}, {new_s}", "2m 5s, 0s"},
        {"SELECT 'f' AS name, NULL AS place", "{name}[ ({place})] x", "f x"},
        {"SELECT 'f' AS name, 'a.c:1' AS place", "{name}[ ({place})] x", "f (a.c:1) x"},
        {"SELECT NULL AS a, 2 AS b", "[{a} and {b}][, {b}]", ", 2"},
        {"SELECT '{b}[x]' AS a, 1 AS b", "{a}", "{b}[x]"},
        {"SELECT 1 AS n", "{rows} of {target}, {process}", "LIST of a.gmi, PID"},
        {"SELECT 1 AS n", "", ""},
    };
    const struct world *w = *state;
    const struct target target = {.word = "a.gmi", .kind = TARGET_IMAGE};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        sqlite3_stmt *stmt;
        assert_int_equal(sqlite3_prepare_v2(w->db, cases[i].query, -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        char *text = doctor_text(&target, stmt, cases[i].text, "LIST");
        assert_string_equal(text, cases[i].want);
        free(text);
        sqlite3_finalize(stmt);
    }
}

static void test_wrapping(void **state) {
    static const struct {
        const char *text;
        size_t width, first, others;
        const char *want;
    } cases[] = {
        {"one two three", 80, 0, 0, "one two three\n"},
        {"one two three", 7, 0, 0, "one two\nthree\n"},
        {"one two three", 9, 2, 4, "  one two\n    three\n"},
        {"incomprehensible a", 6, 0, 0, "incomprehensible\na\n"},
        {"it takes 12.5 MiB, 37 % of it", 14, 0, 0, "it takes\n12.5 MiB, 37 %\nof it\n"},
        {"of map<int, char> <= 5 s", 12, 0, 0, "of\nmap<int, char>\n<= 5 s\n"},
        {"\033[1m12 of\033[0m 34", 8, 0, 0, "\033[1m12 of\033[0m 34\n"}, /* colours are no text */
        {"x operator< and more", 12, 0, 0, "x operator<\nand more\n"},
        {"", 10, 3, 3, "   \n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        wrap_print(out, cases[i].text, cases[i].width, cases[i].first, cases[i].others);
        fclose(out);
        assert_string_equal(text, cases[i].want);
        free(text);
    }
}

static void test_no_process_has_no_cgroup(void **state) {
    struct cgroup_memory m;
    (void)state;
    assert_false(cgroup_read("/nowhere", getpid(), &m));
    assert_false(cgroup_read("/sys/fs/cgroup", 0x7ffffff0, &m));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_fit_their_queries),
        cmocka_unit_test(test_names_are_looked_up_for_what_is_found_only),
        cmocka_unit_test(test_kinds_are_told_apart),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_wrapping),
        cmocka_unit_test(test_no_process_has_no_cgroup),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
