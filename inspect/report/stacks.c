/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sites --stacks and the like: call stacks, the biggest first, from malloc's caller outwards.
 *
 * For people a stack is a paragraph: its figures, then a line a function.  For programs it is rows,
 * one for each function, which repeat the figures of their site.
 */
#include <stdlib.h>
#include <string.h>

#include "gomalloc/image.h"
#include "base/progress.h"
#include "report/stacks.h"
#include "base/elide.h"
#include "base/text.h"

static const struct column site_columns[] = {
    {"site", "site_id", KIND_NUMBER, 0, "number of the call stack"},
    {"live", "live_bytes", KIND_BYTES, 0, "bytes asked for by live objects"},
    {"objects", "live_objects", KIND_COUNT, 0, "live objects"},
    {"total", "alloc_bytes", KIND_BYTES, 0, "bytes asked for since the start"},
    {"total_objects", "alloc_objects", KIND_COUNT, 0, "objects since the start"},
};
enum { SITE, LIVE, OBJECTS, TOTAL, TOTAL_OBJECTS };

/* What follows the figures. */
static const struct column frame_columns[] = {
    {"frame", "s.frame", KIND_NUMBER, 0, "0 = innermost"},
    {"inline_depth", "s.inline_depth", KIND_NUMBER, 0,
     "0 = innermost of those inlined into one frame"},
    {"function", "coalesce(s.function, CASE WHEN s.frame IS NULL THEN c.function END)", KIND_TEXT,
     0, "demangled"},
    {"file", "s.file", KIND_TEXT, 0, "source file"},
    {"line", "s.line", KIND_NUMBER, 0, "in this file"},
    {"module", "s.module", KIND_TEXT, 0, "program or library"},
    {"module_offset", "s.module_offset", KIND_ADDRESS, 0, "of the return address in its file"},
    {"inlined", "s.inlined", KIND_NUMBER, 0, "1: into the function that follows"},
    {"truncated", "c.truncated", KIND_NUMBER, 0, "1: deeper than the bound, frames are missing"},
    {"stopped", "c.stopped", KIND_NUMBER, 0, "1: the unwinder gave up before the end"},
};
#define TERMINAL_STACKS 5 /* shown on a terminal unless --limit says otherwise */
#define NFRAME          (sizeof(frame_columns) / sizeof(*frame_columns))
#define MOST_COLUMNS    (STACKS_MOST_FIGURES + NFRAME)

/* Of frame_columns, those that text for people is made from. */
enum { FUNCTION = 2, FILE_, LINE, MODULE, OFFSET, INLINED, TRUNCATED, STOPPED };

/* The columns of one kind of figures. */
struct shape {
    const struct stacks_figures *figures;
    struct column columns[MOST_COLUMNS];
    size_t n;
};

static struct shape shape_of(const struct stacks_figures *figures) {
    struct shape s = {.figures = figures, .n = figures->n + NFRAME};
    memcpy(s.columns, figures->columns, figures->n * sizeof(*s.columns));
    memcpy(s.columns + figures->n, frame_columns, sizeof(frame_columns));
    return s;
}

/* at returns the number of a frame's column in a row. */
static int at(const struct shape *shape, int frame_column) {
    return (int)shape->figures->n + frame_column;
}

/* The rows of query joined with their stacks; the limit counts sites, not functions. */
static char *statement(const struct shape *shape, const struct view_query *query, int64_t limit) {
    char *list = NULL, *sql;
    size_t size;
    FILE *out = open_memstream(&list, &size);
    if (!out)
        return NULL;
    for (size_t i = 0; i < shape->n; i++)
        fprintf(out, "%s%s%s", i ? ", " : "", i < shape->figures->n ? "c." : "",
                shape->columns[i].sql ? shape->columns[i].sql : shape->columns[i].name);
    if (fclose(out) != 0)
        return NULL;
    sql = must_format(
        "WITH chosen AS MATERIALIZED (SELECT * FROM %s WHERE snapshot_id = :snapshot%s%s"
        " ORDER BY %s LIMIT %lld), "
        "lines AS MATERIALIZED (SELECT * FROM v1_stack WHERE +snapshot_id = :snapshot"
        " AND site_id IN (SELECT site_id FROM chosen)) "
        "SELECT %s FROM chosen c LEFT JOIN lines s ON s.site_id = c.site_id"
        " ORDER BY %s, c.site_id, s.frame, s.inline_depth",
        query->from, query->where ? " AND " : "", query->where ? query->where : "", query->order,
        (long long)limit, list, query->order);
    free(list);
    return sql;
}

void stacks_bytes(const struct command_line *line, char *buf, size_t size, sqlite3_int64 bytes) {
    if (line->output.raw_bytes)
        snprintf(buf, size, "%lld bytes", bytes);
    else
        text_bytes_plain(buf, (double)bytes);
}

static void site_heading(const struct command_line *line, sqlite3_stmt *row) {
    char live[TEXT_NUMBER_SIZE], objects[TEXT_NUMBER_SIZE], total[TEXT_NUMBER_SIZE],
        total_objects[TEXT_NUMBER_SIZE];
    bool bold = output_has_color(&line->output);
    stacks_bytes(line, live, sizeof(live), sqlite3_column_int64(row, LIVE));
    stacks_bytes(line, total, sizeof(total), sqlite3_column_int64(row, TOTAL));
    text_count(objects, sqlite3_column_int64(row, OBJECTS));
    text_count(total_objects, sqlite3_column_int64(row, TOTAL_OBJECTS));
    output_text(&line->output, "%s%s in %s objects%s  (since the start %s in %s)  site %lld\n",
                bold ? "\033[1m" : "", live, objects, bold ? "\033[0m" : "", total, total_objects,
                sqlite3_column_int64(row, SITE));
}

const struct stacks_figures stacks_of_sites = {
    site_columns, sizeof(site_columns) / sizeof(*site_columns), site_heading};

/* place_of returns where a frame is, to be freed: "file:line", or "module+0x12"; "": not known. */
static char *place_of(const struct shape *shape, sqlite3_stmt *stmt) {
    const char *file = (const char *)sqlite3_column_text(stmt, at(shape, FILE_));
    const char *module = (const char *)sqlite3_column_text(stmt, at(shape, MODULE));
    sqlite3_int64 offset = sqlite3_column_int64(stmt, at(shape, OFFSET));
    if (file)
        return must_format("%s:%lld", file, sqlite3_column_int64(stmt, at(shape, LINE)));
    if (module && module[0])
        return must_format("%s+0x%llx", module, (unsigned long long)offset);
    if (module && offset < (int64_t)GOMALLOC_FRAME_OMITTED)
        return must_format("0x%llx", (unsigned long long)offset);
    return must_dup("");
}

/* print_frame has two lines on a terminal that is too narrow for one, and shortens what is too long
 * even so. */
static void print_frame(const struct command_line *line, const struct shape *shape,
                        sqlite3_stmt *stmt) {
    size_t width = output_width(&line->output);
    const char *text = (const char *)sqlite3_column_text(stmt, at(shape, FUNCTION));
    char *raw = place_of(shape, stmt);
    char *function = text_clean(text ? text : "??", strlen(text ? text : "??"), text_utf8_locale());
    char *place = text_clean(raw, strlen(raw), text_utf8_locale());
    const char *inlined = sqlite3_column_int(stmt, at(shape, INLINED)) ? "  (inlined)" : "";
    if (width && 4 + text_width(function) + 2 + text_width(place) + strlen(inlined) > width) {
        char *name = elide_name(function, width > 24 ? width - 4 : 20);
        char *end = elide_begin(place, width > 36 ? width - 6 - strlen(inlined) : 20);
        fprintf(line->output.out, "    %s\n      %s%s\n", name, end, inlined);
        free(name);
        free(end);
    } else
        fprintf(line->output.out, "    %s%s%s%s\n", function, place[0] ? "  " : "", place, inlined);
    free(raw);
    free(function);
    free(place);
}

static void print_end(const struct command_line *line, int truncated, int stopped) {
    if (truncated)
        output_text(&line->output, "    ... not all frames are kept: deeper than the bound\n");
    if (stopped)
        output_text(&line->output, "    ... outermost frames are missing: the unwinder gave up\n");
}

static enum status print_stacks(const struct command_line *line, const struct shape *shape,
                                sqlite3_stmt *stmt, struct failure *failure) {
    FILE *out = line->output.out;
    sqlite3_int64 site = -1;
    int truncated = 0, stopped = 0, step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (sqlite3_column_int64(stmt, SITE) != site) {
            print_end(line, truncated, stopped);
            fputs(site >= 0 ? "\n" : "", out);
            progress_clear();
            shape->figures->heading(line, stmt);
            site = sqlite3_column_int64(stmt, SITE);
        }
        truncated = sqlite3_column_int(stmt, at(shape, TRUNCATED));
        stopped = sqlite3_column_int(stmt, at(shape, STOPPED));
        print_frame(line, shape, stmt);
    }
    print_end(line, truncated, stopped);
    if (step == SQLITE_DONE)
        return STATUS_DONE;
    return fail(failure, STATUS_FAILURE, "%s", sqlite3_errmsg(sqlite3_db_handle(stmt)));
}

static enum status print_rows(const struct command_line *line, const struct shape *shape,
                              sqlite3_stmt *stmt, struct failure *failure) {
    struct output_options options = line->output;
    options.limit = -1; /* counted in sites, by the statement */
    struct output *output =
        output_open(&options, line->command->name, shape->columns, shape->n, failure);
    if (!output)
        return failure->status;
    enum status status = view_rows(stmt, output, shape->n, failure);
    output_close(output);
    return status;
}

enum status stacks_show(const struct command_line *line, const struct target *target,
                        const struct stacks_figures *figures, const struct view_query *query,
                        struct failure *failure) {
    const struct shape shape = shape_of(figures);
    sqlite3_stmt *stmt = NULL;
    bool people = line->output.format == OUTPUT_TABLE && !line->output.columns;
    int64_t limit = line->output.limit;
    if (limit < 0 && people && output_is_terminal(&line->output))
        limit = TERMINAL_STACKS;
    char *sql = statement(&shape, query, limit);
    enum status status = view_prepare(target, sql, query, &stmt, failure);
    if (status == STATUS_DONE)
        status = people ? print_stacks(line, &shape, stmt, failure)
                        : print_rows(line, &shape, stmt, failure);
    sqlite3_finalize(stmt);
    free(sql);
    return status;
}
