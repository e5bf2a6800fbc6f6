/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two heaps side by side.
 *
 * The views that compare snapshots of one file work on a few tables: this makes these tables in
 * memory and copies into them what two targets have, so that an image, a process and a file can be
 * compared with each other, and there is one piece of SQL that says what has grown.  Only sums go
 * in, never objects: a heap of 10^7 objects is some thousand rows.
 *
 * Call stacks get numbers that both sides share, in diff_stack.c.
 */
#include <stdlib.h>
#include <string.h>

#include "report/chance.h"
#include "report/diff.h"
#include "schema_sql.h"
#include "cli/view.h"

/* The tables and views of schema/ that views_diff.sql reads, as far as it reads them. */
static const char tables_sql[] =
    "CREATE TABLE snapshot (snapshot_id INTEGER PRIMARY KEY, process_id INTEGER, start_ns INTEGER,"
    " rate INTEGER, rss_bytes INTEGER);"
    "CREATE TABLE site (snapshot_id INTEGER, site_id INTEGER, stack_id INTEGER, samples INTEGER,"
    " own_stack INTEGER, PRIMARY KEY (snapshot_id, site_id));"
    "CREATE TABLE site_live (snapshot_id INTEGER, site_id INTEGER, given INTEGER,"
    " requested REAL, objects INTEGER, weight REAL);"
    "CREATE INDEX site_live_site ON site_live (snapshot_id, site_id);"
    "CREATE TABLE stack (stack_id INTEGER PRIMARY KEY, parent_id INTEGER, frame TEXT,"
    " caller_id INTEGER AS (stack_id), UNIQUE (parent_id, frame));"
    "INSERT INTO stack VALUES (0, NULL, '');"
    "CREATE TABLE stack_name (stack_id INTEGER PRIMARY KEY, function TEXT, location TEXT, file "
    "TEXT,"
    " line INTEGER, module TEXT, module_offset INTEGER, callers TEXT);"
    "INSERT INTO stack_name (stack_id) VALUES (0);"
    "CREATE TABLE v1_class (snapshot_id INTEGER, size_class INTEGER, slot_bytes INTEGER,"
    " live_objects INTEGER, live_bytes INTEGER, free_bytes INTEGER, spans INTEGER,"
    " span_bytes INTEGER);"
    "CREATE TABLE own_stack (stack_id INTEGER PRIMARY KEY, number INTEGER);"
    "BEGIN;";

enum status diff_prepare(sqlite3 *db, const char *word, const char *sql, sqlite3_stmt **ret,
                         struct failure *failure) {
    *ret = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, ret, NULL) == SQLITE_OK)
        return STATUS_DONE;
    return fail(failure, STATUS_FAILURE, "%s: %s", word, sqlite3_errmsg(db));
}

enum status diff_exec(const struct diff *d, const char *sql, struct failure *failure) {
    if (sqlite3_exec(d->target.db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return STATUS_DONE;
    return fail(failure, STATUS_FAILURE, "cannot compare: %s", sqlite3_errmsg(d->target.db));
}

enum status diff_open(enum diff_match match, struct diff *ret, struct failure *failure) {
    *ret = (struct diff){.target = {.word = "diff", .kind = TARGET_DATABASE, .snapshot = DIFF_B},
                         .match = match};
    if (sqlite3_open(":memory:", &ret->target.db) != SQLITE_OK ||
        chance_create(ret->target.db) != SQLITE_OK)
        return fail(failure, STATUS_FAILURE, "not enough memory");
    enum status status = diff_exec(ret, tables_sql, failure);
    if (status == STATUS_DONE)
        status = diff_exec(ret, schema_views_diff_sql, failure);
    if (status == STATUS_DONE)
        status = diff_prepare(ret->target.db, "diff",
                              "SELECT stack_id FROM stack WHERE parent_id = ? AND frame = ?",
                              &ret->find, failure);
    if (status == STATUS_DONE)
        status = diff_prepare(ret->target.db, "diff",
                              "INSERT INTO stack (parent_id, frame) VALUES (?, ?)", &ret->insert,
                              failure);
    if (status != STATUS_DONE)
        diff_close(ret);
    return status;
}

void diff_close(struct diff *d) {
    sqlite3_finalize(d->find);
    sqlite3_finalize(d->insert);
    sqlite3_close(d->target.db);
    *d = (struct diff){.find = NULL};
}

static sqlite3_stmt *first_row(const struct diff *d, const char *sql) {
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(d->target.db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        return stmt;
    sqlite3_finalize(stmt);
    return NULL;
}

int64_t diff_integer(const struct diff *d, const char *sql, int64_t missing) {
    sqlite3_stmt *stmt = first_row(d, sql);
    int64_t n = stmt ? sqlite3_column_int64(stmt, 0) : missing;
    sqlite3_finalize(stmt);
    return n;
}

double diff_real(const struct diff *d, const char *sql, double missing) {
    sqlite3_stmt *stmt = first_row(d, sql);
    double x = stmt ? sqlite3_column_double(stmt, 0) : missing;
    sqlite3_finalize(stmt);
    return x;
}

/* ---- what a side has ---------------------------------------------------------------------- */

/* What is copied, by the tables of the target, which every version of a snapshot file has.  ?9 is
 * the number of the snapshot here. */
static const struct {
    const char *select, *insert;
} copies[] = {
    {"SELECT start_ns, rate, rss_bytes, p.boot_id || ' ' || p.pid || ' ' || p.start_ticks"
     " FROM snapshot s JOIN process p ON p.process_id = s.process_id"
     " WHERE s.snapshot_id = :snapshot",
     "INSERT INTO snapshot SELECT ?9, ?4, ?1, ?2, ?3"},
    {"SELECT s.site_id, s.samples, CASE k.caller_id WHEN 0 THEN k.stack_id ELSE k.caller_id END"
     " FROM site s CROSS JOIN stack k ON k.stack_id = s.stack_id WHERE s.snapshot_id = :snapshot",
     "INSERT INTO site SELECT ?9, ?1,"
     " coalesce((SELECT number FROM own_stack WHERE stack_id = ?3), 0), ?2, ?3"},
    {"SELECT site_id, given, requested, objects, weight FROM site_live"
     " WHERE snapshot_id = :snapshot",
     "INSERT INTO site_live SELECT ?9, ?1, ?2, ?3, ?4, ?5"},
    {"SELECT c.size_class, c.bytes, coalesce(s.objects, 0), coalesce(s.bytes, 0),"
     " coalesce(s.free, 0), coalesce(s.spans, 0), coalesce(s.pages, 0) * p.page_size"
     " FROM snapshot p CROSS JOIN size_class c ON c.snapshot_id = p.snapshot_id"
     " LEFT JOIN (SELECT size_class, sum(live) AS objects, sum(live * elem_size) AS bytes,"
     " sum((nelems - live) * elem_size) AS free, count(*) AS spans, sum(npages) AS pages"
     " FROM span WHERE snapshot_id = :snapshot AND state = 1 GROUP BY size_class) s"
     " ON s.size_class = c.size_class WHERE p.snapshot_id = :snapshot",
     "INSERT INTO v1_class SELECT ?9, ?1, ?2, ?3, ?4, ?5, ?6, ?7"},
};

/* copy_rows inserts each row of a query. */
static enum status copy_rows(sqlite3_stmt *from, sqlite3_stmt *to, const char *word,
                             struct failure *failure) {
    int step;
    while ((step = sqlite3_step(from)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(from); i++)
            sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
        sqlite3_step(to);
        if (sqlite3_reset(to) != SQLITE_OK)
            return fail(failure, STATUS_FAILURE, "cannot compare: %s",
                        sqlite3_errmsg(sqlite3_db_handle(to)));
    }
    if (step == SQLITE_DONE)
        return STATUS_DONE;
    return fail(failure, STATUS_FAILURE, "%s: %s", word, sqlite3_errmsg(sqlite3_db_handle(from)));
}

static enum status copy(struct diff *d, enum diff_side side, const struct target *target,
                        const char *select, const char *insert, struct failure *failure) {
    sqlite3_stmt *from = NULL, *to = NULL;
    enum status status = view_prepare(target, select, NULL, &from, failure);
    if (status == STATUS_DONE)
        status = diff_prepare(d->target.db, "diff", insert, &to, failure);
    if (status == STATUS_DONE) {
        sqlite3_bind_int(to, 9, side);
        status = copy_rows(from, to, target->word, failure);
    }
    sqlite3_finalize(from);
    sqlite3_finalize(to);
    return status;
}

enum status diff_add(struct diff *d, enum diff_side side, const struct target *target,
                     struct failure *failure) {
    enum status status = diff_exec(d, "DELETE FROM own_stack", failure);
    d->sides[side] = target;
    if (status == STATUS_DONE)
        status = diff_stacks(d, target, failure);
    for (size_t i = 0; i < sizeof(copies) / sizeof(*copies) && status == STATUS_DONE; i++)
        status = copy(d, side, target, copies[i].select, copies[i].insert, failure);
    return status;
}

/* ---- names -------------------------------------------------------------------------------- */

#define CHANGED                                                                                    \
    "SELECT stack_id FROM diff_figure WHERE snapshot_a = 1 AND snapshot_b = 2 AND stack_id > 0"    \
    " AND (live_bytes_a <> live_bytes_b OR live_objects_a <> live_objects_b)"

/* name_side names, by one side, the call stacks that have changed and have no name yet. */
static enum status name_side(struct diff *d, const struct target *target, enum diff_side side,
                             struct failure *failure) {
    static const char which[] =
        "SELECT stack_id, min(own_stack) FROM site WHERE snapshot_id = :snapshot"
        " AND stack_id IN (SELECT stack_id FROM changed) GROUP BY stack_id";
    static const char name[] = "SELECT function, location, file, line, module, module_offset,"
                               " " VIEW_CALLERS " FROM stack_name WHERE stack_id = ?";
    static const char insert[] = "INSERT INTO stack_name (function, location, file, line, module,"
                                 " module_offset, callers, stack_id)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9)"
                                 " ON CONFLICT DO NOTHING";
    sqlite3_stmt *own = NULL, *from = NULL, *to = NULL;
    struct target as_side = d->target;
    as_side.snapshot = side;
    enum status status = view_prepare(&as_side, which, NULL, &own, failure);
    if (status == STATUS_DONE)
        status = diff_prepare(target->db, target->word, name, &from, failure);
    if (status == STATUS_DONE)
        status = diff_prepare(d->target.db, "diff", insert, &to, failure);
    while (status == STATUS_DONE && sqlite3_step(own) == SQLITE_ROW) {
        sqlite3_bind_int64(from, 1, sqlite3_column_int64(own, 1));
        sqlite3_bind_int64(to, 9, sqlite3_column_int64(own, 0));
        status = copy_rows(from, to, target->word, failure);
        sqlite3_reset(from);
    }
    sqlite3_finalize(own);
    sqlite3_finalize(from);
    sqlite3_finalize(to);
    return status;
}

enum status diff_name(struct diff *d, struct failure *failure) {
    enum status status = diff_exec(d, "CREATE TABLE changed AS " CHANGED, failure);
    for (int side = DIFF_B; side >= DIFF_A && status == STATUS_DONE; side--)
        if (d->sides[side])
            status = name_side(d, d->sides[side], (enum diff_side)side, failure);
    return status;
}

/* ---- builds ------------------------------------------------------------------------------- */

#define BASENAME(path) "replace(" path ", rtrim(" path ", replace(" path ", '/', '')), '')"

/* Modules of a snapshot by name, the program's being ''. */
#define MODULES                                                                                    \
    "(SELECT CASE m.path WHEN s.exe THEN '' ELSE " BASENAME(                                       \
        "m.path") " END AS name, m.build_id"                                                       \
                  " FROM snapshot s JOIN mapping m ON m.snapshot_id = s.snapshot_id"               \
                  " WHERE s.snapshot_id = :snapshot AND m.build_id <> '')"

bool diff_builds_differ(const struct target *a, const struct target *b) {
    sqlite3_stmt *modules = NULL, *same = NULL;
    struct failure ignored;
    bool differ = false;
    if (view_prepare(a, "SELECT DISTINCT name, build_id FROM " MODULES, NULL, &modules, &ignored) ==
            STATUS_DONE &&
        view_prepare(b, "SELECT max(build_id = ?2) FROM " MODULES " WHERE name = ?1", NULL, &same,
                     &ignored) == STATUS_DONE)
        while (!differ && sqlite3_step(modules) == SQLITE_ROW) {
            sqlite3_bind_value(same, 1, sqlite3_column_value(modules, 0));
            sqlite3_bind_value(same, 2, sqlite3_column_value(modules, 1));
            differ = sqlite3_step(same) == SQLITE_ROW &&
                     sqlite3_column_type(same, 0) != SQLITE_NULL && !sqlite3_column_int(same, 0);
            sqlite3_reset(same);
        }
    sqlite3_finalize(modules);
    sqlite3_finalize(same);
    return differ;
}
