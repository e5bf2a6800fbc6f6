/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect status: one page about one heap.
 */
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "base/text.h"
#include "cli/view.h"

static const struct column columns[] = {
    {"item", NULL, KIND_TEXT, 0, "stable name of the figure"},
    {"value", NULL, KIND_UNIT, 0, "in the unit that the next column names"},
    {"unit", NULL, KIND_TEXT, COLUMN_EXTRA, "bytes, objects, pages, ..."},
    {"meaning", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE | COLUMN_OPTIONAL, "the same in words"},
};

static const struct column resident_columns[] = {
    {"part", "item", KIND_TEXT, 0, "of the resident set: stable name"},
    {"bytes", NULL, KIND_BYTES, 0, "resident"},
    {"share", "share_percent", KIND_PERCENT, 0, "of the resident set"},
    {"meaning", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE | COLUMN_OPTIONAL, "the same in words"},
};

static const struct column_list lists[] = {{"Columns of what is resident", resident_columns,
                                            sizeof(resident_columns) / sizeof(*resident_columns)},
                                           {NULL, NULL, 0}};

static const struct view_query query = {.from = "v1_status", .order = "ord, item"};

/* People need not read which kinds of memory the library has none of. */
static const struct view_query table_query = {
    .from = "v1_status",
    .where = "(value <> 0 OR item NOT LIKE 'memory.%') AND item NOT LIKE 'rss.%'",
    .order = "ord, item"};

static const char *column_text(sqlite3_stmt *stmt, int i) {
    const char *s = (const char *)sqlite3_column_text(stmt, i);
    return s ? s : "";
}

/* print_headline writes what the figures are about. */
static void print_headline(const struct command_line *line, const struct target *target) {
    static const char sql[] =
        "SELECT comm, pid, kind, rate, CASE WHEN exact_since_ns > 0 THEN 1 ELSE 0 END, "
        "captured_ns, start_ns, cut, partial FROM v1_snapshot WHERE snapshot_id = :snapshot";
    char rate[TEXT_NUMBER_SIZE], when[TEXT_NUMBER_SIZE], up[TEXT_NUMBER_SIZE];
    struct failure failure;
    sqlite3_stmt *stmt = NULL;
    FILE *out = line->output.out;
    if (view_prepare(target, sql, NULL, &stmt, &failure) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        const char *comm = column_text(stmt, 0);
        char *name = text_clean(comm, strlen(comm), text_utf8_locale());
        int64_t captured = sqlite3_column_int64(stmt, 5), start = sqlite3_column_int64(stmt, 6);
        text_bytes_plain(rate, sqlite3_column_double(stmt, 3));
        text_moment(when, captured);
        text_duration(up, captured > start ? captured - start : 0);
        int64_t n = sqlite3_column_int64(stmt, 3);
        bool bold = output_has_color(&line->output);
        fprintf(out, "%s%s%s  pid %d  up %s\n%s %s\n", bold ? "\033[1m" : "", name,
                bold ? "\033[0m" : "", sqlite3_column_int(stmt, 1), up, column_text(stmt, 2), when);
        if (n == 0)
            fputs("nothing recorded\n", out);
        else if (n == 1)
            fputs(sqlite3_column_int(stmt, 4)
                      ? "every object recorded\n"
                      : "every allocation recorded, but not from the start\n",
                  out);
        else
            fprintf(out, "a sample every %s\n", rate);
        if (sqlite3_column_int(stmt, 7))
            fputs("Records are missing: the image met a bound.\n", out);
        view_warn_full(target, out);
        fputc('\n', out);
        free(name);
    }
    sqlite3_finalize(stmt);
}

/* print_stack writes the stack of the thread that it came to. */
static void print_stack(const struct target *target, bool stopped, FILE *out) {
    static const char sql[] = "SELECT text FROM v1_crash_stack WHERE snapshot_id = :snapshot"
                              " ORDER BY frame, inline_depth LIMIT 20";
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE)
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *text = column_text(stmt, 0);
            char *clean = text_clean(text, strlen(text), text_utf8_locale());
            fprintf(out, "  %s\n", clean);
            free(clean);
        }
    sqlite3_finalize(stmt);
    fputs(stopped ? "  (outer frames are not known)\n\n" : "\n", out);
}

/* print_crash says which signal ended the process, and where. */
static void print_crash(const struct command_line *line, const struct target *target) {
    static const char sql[] = "SELECT signal, reason, address, tid, comm, stopped FROM v1_crash"
                              " WHERE snapshot_id = :snapshot";
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    FILE *out = line->output.out;
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        const char *address = column_text(stmt, 2), *comm = column_text(stmt, 4);
        char *name = text_clean(comm, strlen(comm), text_utf8_locale());
        fprintf(out, "Ended by %s%s%s (%s) in thread %d, %s.\n", column_text(stmt, 0),
                *address ? " at " : "", address, column_text(stmt, 1), sqlite3_column_int(stmt, 3),
                name);
        free(name);
        print_stack(target, sqlite3_column_int(stmt, 5) != 0, out);
    }
    sqlite3_finalize(stmt);
}

/* show_resident shows what the resident set consists of, if the target tells. */
static enum status show_resident(const struct command_line *line, const struct target *target,
                                 struct failure *failure) {
    static const char sql[] =
        "SELECT 1 FROM resident WHERE snapshot_id = :snapshot AND name = 'kernel'";
    static const struct view_query parts = {
        .from = "v1_resident", .where = "(bytes <> 0 OR item = 'difference')", .order = "ord"};
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    bool told = view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
                sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    if (!told)
        return STATUS_DONE;
    enum status status = view_show_as(line, target, &lists[0], 0, &parts, failure);
    fputc('\n', line->output.out);
    return status;
}

static enum status run(struct command_line *line) {
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    enum status status =
        target_open_asking(line->words[0], line->snapshot, CLIENT_RESIDENT, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    if (line->output.format == OUTPUT_TABLE && !line->output.no_header)
        print_headline(line, &target);
    if (line->output.format == OUTPUT_TABLE && !line->output.no_header)
        print_crash(line, &target);
    bool table = line->output.format == OUTPUT_TABLE;
    if (table && !line->output.columns && !line->output.sort)
        status = show_resident(line, &target, &failure);
    if (status == STATUS_DONE)
        status = view_show(line, &target, table ? &table_query : &query, &failure);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_status = {
    .name = "status",
    .usage = "TARGET",
    .summary = "one page: resident, live, free, and what the library itself takes",
    .examples = "  goinspect status redis-server\n"
                "  goinspect status 1234 -o json | jq '.rows[] | {(.item): .value}'\n"
                "  goinspect status 1234 --watch\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
    .min_words = 1,
    .max_words = 1,
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .lists = lists,
    .run = run,
};
