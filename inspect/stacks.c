/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sites --stacks: call stacks, the biggest first, from malloc's caller outwards.
 *
 * For people a stack is a paragraph: its figures, then a line a function.  For programs it is rows,
 * one for each function, which repeat the figures of their site.
 */
#include <stdlib.h>
#include <string.h>

#include "gomalloc/image.h"
#include "progress.h"
#include "stacks.h"
#include "text.h"

static const struct column columns[] = {
    {"site", "site_id", KIND_NUMBER, 0, "number of the call stack"},
    {"live", "live_bytes", KIND_BYTES, 0, "bytes asked for by live objects"},
    {"objects", "live_objects", KIND_COUNT, 0, "live objects"},
    {"total", "alloc_bytes", KIND_BYTES, 0, "bytes asked for since the start"},
    {"total_objects", "alloc_objects", KIND_COUNT, 0, "objects since the start"},
    {"frame", NULL, KIND_NUMBER, 0, "0 = innermost"},
    {"inline_depth", NULL, KIND_NUMBER, 0, "0 = innermost of those inlined into one frame"},
    {"function", NULL, KIND_TEXT, 0, "demangled"},
    {"file", NULL, KIND_TEXT, 0, "source file"},
    {"line", NULL, KIND_NUMBER, 0, "in this file"},
    {"module", NULL, KIND_TEXT, 0, "program or library"},
    {"module_offset", NULL, KIND_ADDRESS, 0, "of the return address in its file"},
    {"inlined", NULL, KIND_NUMBER, 0, "1: into the function that follows"},
    {"truncated", NULL, KIND_NUMBER, 0, "1: deeper than the bound, frames are missing"},
    {"stopped", NULL, KIND_NUMBER, 0, "1: the unwinder gave up before the end"},
};
#define TERMINAL_STACKS 5 /* shown on a terminal unless --limit says otherwise */
#define NCOLUMNS        (sizeof(columns) / sizeof(*columns))

/* The columns that text for people is made from. */
enum { SITE, LIVE, OBJECTS, TOTAL, TOTAL_OBJECTS, FUNCTION = 7, FILE_, LINE, MODULE, OFFSET };
enum { INLINED = 12, TRUNCATED, STOPPED };

/* The rows of query joined with their stacks; the limit counts sites, not functions. */
static char *statement(const struct view_query *query, int64_t limit) {
    return must_format(
        "WITH chosen AS MATERIALIZED (SELECT * FROM %s WHERE snapshot_id = :snapshot%s%s"
        " ORDER BY %s LIMIT %lld), "
        "lines AS MATERIALIZED (SELECT * FROM v1_stack WHERE +snapshot_id = :snapshot"
        " AND site_id IN (SELECT site_id FROM chosen)) "
        "SELECT c.site_id, live_bytes, live_objects, alloc_bytes, alloc_objects, s.frame,"
        " s.inline_depth, coalesce(s.function, CASE WHEN s.frame IS NULL THEN c.function END),"
        " s.file, s.line, s.module, s.module_offset, s.inlined, truncated, stopped"
        " FROM chosen c LEFT JOIN lines s ON s.site_id = c.site_id"
        " ORDER BY live_bytes DESC, alloc_bytes DESC, c.site_id, s.frame, s.inline_depth",
        query->from, query->where ? " AND " : "", query->where ? query->where : "", query->order,
        (long long)limit);
}

/* print_clean writes a column's text without controls, or other if it is NULL. */
static void print_clean(FILE *out, sqlite3_stmt *stmt, int column, const char *other) {
    const char *s = (const char *)sqlite3_column_text(stmt, column);
    char *clean = text_clean(s ? s : other, strlen(s ? s : other), text_utf8_locale());
    fputs(clean, out);
    free(clean);
}

static void print_site(const struct command_line *line, sqlite3_stmt *stmt) {
    progress_clear();
    char live[TEXT_NUMBER_SIZE], objects[TEXT_NUMBER_SIZE], total[TEXT_NUMBER_SIZE],
        total_objects[TEXT_NUMBER_SIZE];
    bool bold = output_has_color(&line->output);
    if (line->output.raw_bytes) {
        snprintf(live, sizeof(live), "%lld bytes", sqlite3_column_int64(stmt, LIVE));
        snprintf(total, sizeof(total), "%lld bytes", sqlite3_column_int64(stmt, TOTAL));
    } else {
        text_bytes_plain(live, sqlite3_column_double(stmt, LIVE));
        text_bytes_plain(total, sqlite3_column_double(stmt, TOTAL));
    }
    text_count(objects, sqlite3_column_int64(stmt, OBJECTS));
    text_count(total_objects, sqlite3_column_int64(stmt, TOTAL_OBJECTS));
    fprintf(line->output.out, "%s%s in %s objects%s  (since the start %s in %s)  site %lld\n",
            bold ? "\033[1m" : "", live, objects, bold ? "\033[0m" : "", total, total_objects,
            sqlite3_column_int64(stmt, SITE));
}

static void print_frame(FILE *out, sqlite3_stmt *stmt) {
    const char *file = (const char *)sqlite3_column_text(stmt, FILE_);
    const char *module = (const char *)sqlite3_column_text(stmt, MODULE);
    fputs("    ", out);
    print_clean(out, stmt, FUNCTION, "??");
    if (file) {
        fputs("  ", out);
        print_clean(out, stmt, FILE_, "");
        fprintf(out, ":%lld", sqlite3_column_int64(stmt, LINE));
    } else if (module && module[0]) {
        fputs("  ", out);
        print_clean(out, stmt, MODULE, "");
        fprintf(out, "+0x%llx", sqlite3_column_int64(stmt, OFFSET));
    } else if (module && sqlite3_column_int64(stmt, OFFSET) < (int64_t)GOMALLOC_FRAME_OMITTED)
        fprintf(out, "  0x%llx", sqlite3_column_int64(stmt, OFFSET));
    fputs(sqlite3_column_int(stmt, INLINED) ? "  (inlined)\n" : "\n", out);
}

static void print_end(FILE *out, int truncated, int stopped) {
    if (truncated)
        fputs("    ... not all frames are kept: deeper than the bound\n", out);
    if (stopped)
        fputs("    ... outermost frames are missing: the unwinder gave up\n", out);
}

static enum status print_stacks(const struct command_line *line, sqlite3_stmt *stmt,
                                struct failure *failure) {
    FILE *out = line->output.out;
    sqlite3_int64 site = -1;
    int truncated = 0, stopped = 0, step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (sqlite3_column_int64(stmt, SITE) != site) {
            print_end(out, truncated, stopped);
            fputs(site >= 0 ? "\n" : "", out);
            print_site(line, stmt);
            site = sqlite3_column_int64(stmt, SITE);
        }
        truncated = sqlite3_column_int(stmt, TRUNCATED);
        stopped = sqlite3_column_int(stmt, STOPPED);
        print_frame(out, stmt);
    }
    print_end(out, truncated, stopped);
    if (step == SQLITE_DONE)
        return STATUS_DONE;
    return fail(failure, STATUS_FAILURE, "%s", sqlite3_errmsg(sqlite3_db_handle(stmt)));
}

static enum status print_rows(const struct command_line *line, sqlite3_stmt *stmt,
                              struct failure *failure) {
    struct output_options options = line->output;
    options.limit = -1; /* counted in sites, by the statement */
    struct output *output = output_open(&options, "sites", columns, NCOLUMNS, failure);
    if (!output)
        return failure->status;
    enum status status = view_rows(stmt, output, NCOLUMNS, failure);
    output_close(output);
    return status;
}

enum status stacks_show(const struct command_line *line, const struct target *target,
                        const struct view_query *query, struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    bool people = line->output.format == OUTPUT_TABLE && !line->output.columns;
    int64_t limit = line->output.limit;
    if (limit < 0 && people && output_is_terminal(&line->output))
        limit = TERMINAL_STACKS;
    char *sql = statement(query, limit);
    enum status status = view_prepare(target, sql, query, &stmt, failure);
    if (status == STATUS_DONE)
        status = people ? print_stacks(line, stmt, failure) : print_rows(line, stmt, failure);
    sqlite3_finalize(stmt);
    free(sql);
    return status;
}
