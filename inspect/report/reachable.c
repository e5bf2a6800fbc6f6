/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leaks --reachable: what is alive and no leak, by call site.
 *
 * Something leads to each of these objects; what it is, is asked about an example of them
 * ("goinspect why").  In a database there are ages of leaks only, as a row for each object is long
 * enough without.
 */
#include <stdlib.h>

#include "report/reachable.h"
#include "base/text.h"

const struct column reachable_columns[REACHABLE_COLUMNS] = {
    {"reachable", "bytes", KIND_BYTES, 0, "bytes asked for, or given, if that is not recorded"},
    {"objects", NULL, KIND_COUNT, 0, "these"},
    {"oldest", "oldest_s * 1000000000", KIND_DURATION, 0, "age of the oldest"},
    {"youngest", "youngest_s * 1000000000", KIND_DURATION, COLUMN_OPTIONAL, "and of the youngest"},
    {"example", NULL, KIND_ADDRESS, 0, "address of one of them, for \"goinspect why\""},
    VIEW_FUNCTION_COLUMNS,
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = not recorded"},
    VIEW_PLACE_COLUMNS,
};

/* Live objects that are no leaks, summed up by %s: their site; then when they were born, the table,
 * and what else holds. */
#define SUMS                                                                                       \
    "SELECT %s AS site_id, count(*) AS objects, sum(coalesce(o.requested, o.given)) AS bytes,"     \
    " min(o.address) AS example, min(%s) AS first_born, max(%s) AS last_born"                      \
    " FROM %s o WHERE %s AND NOT EXISTS (SELECT 1 FROM leak l"                                     \
    " WHERE l.snapshot_id = :snapshot AND l.address = o.address) GROUP BY 1"

static const char source[] =
    "(SELECT p.snapshot_id, f.*, n.function, n.location, n.file, n.line, n.module,"
    " n.module_offset, n.stack_id,"
    " max((p.captured_ns - p.start_ns) / 1000000000 - f.first_born, 0) AS oldest_s,"
    " max((p.captured_ns - p.start_ns) / 1000000000 - f.last_born, 0) AS youngest_s"
    " FROM (%s) f JOIN snapshot p ON p.snapshot_id = :snapshot"
    " JOIN leak_site_name n ON n.snapshot_id = p.snapshot_id AND n.site_id = f.site_id)";

static char *sums_of(const struct target *target) {
    if (target->kind == TARGET_DATABASE)
        return must_format(SUMS, "o.site_id", "NULL", "NULL", "object",
                           "o.snapshot_id = :snapshot");
    return must_format(SUMS, "o.site", "o.born", "o.born", "image_object", "1");
}

/* check makes sure that there is a row for each object. */
static enum status check(const struct target *target, int64_t objects, struct failure *failure) {
    static const char sql[] =
        "SELECT reached_objects FROM leak_check WHERE snapshot_id = :snapshot";
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW && objects == 0 &&
        sqlite3_column_int64(stmt, 0) > 0)
        status = fail(failure, STATUS_FAILURE,
                      "%s has no rows for objects; \"goinspect snapshot PID --leaks --objects all "
                      "-o FILE.db\" stores them",
                      target->word);
    sqlite3_finalize(stmt);
    return status;
}

/* add_up finds how many objects and bytes there are in all. */
static enum status add_up(const struct target *target, const char *sums, int64_t *ret_objects,
                          int64_t *ret_bytes, struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    char *sql =
        must_format("SELECT coalesce(sum(objects), 0), coalesce(sum(bytes), 0) FROM (%s)", sums);
    enum status status = view_prepare(target, sql, NULL, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        *ret_objects = sqlite3_column_int64(stmt, 0);
        *ret_bytes = sqlite3_column_int64(stmt, 1);
    } else if (status == STATUS_DONE) {
        status = fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    }
    sqlite3_finalize(stmt);
    free(sql);
    return status;
}

enum status reachable_show(const struct command_line *line, const struct target *target, int rows,
                           struct failure *failure) {
    char *sums = sums_of(target), *from = must_format(source, sums);
    const struct column_list list = {NULL, reachable_columns, REACHABLE_COLUMNS};
    const struct view_query query = {.from = from, .order = "bytes DESC, objects DESC, site_id"};
    char bytes[TEXT_NUMBER_SIZE], n[TEXT_NUMBER_SIZE];
    int64_t objects = 0, total = 0;
    enum status status = add_up(target, sums, &objects, &total, failure);
    if (status == STATUS_DONE)
        status = check(target, objects, failure);
    if (status == STATUS_DONE)
        status = view_show_as(line, target, &list, rows, &query, failure);
    if (status == STATUS_DONE && line->output.watch <= 0) {
        text_bytes_plain(bytes, (double)total);
        text_count(n, objects);
        say("still reachable: %s in %s object%s; \"goinspect why PID EXAMPLE\" says who points to "
            "one",
            bytes, n, objects == 1 ? "" : "s");
    }
    free(from);
    free(sums);
    return status;
}
