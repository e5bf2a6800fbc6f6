/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sites --growth.
 *
 * Whether a site grows is said by the view v1_site_trend; here it becomes a table, and its points a
 * picture in a line of text: time goes from left to right in steps of one length, which the ticks
 * are not, and the highest block is the most that the site has held.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/trend.h"

#define PICTURE_CELLS 16
#define MIN_TICKS     6 /* below, no site can be said to grow: see v1_site_trend */

static const struct column columns[] = {
    {"live", "live_bytes", KIND_BYTES, 0, "bytes asked for by live objects, at the last tick"},
    {"grown", "grown_bytes", KIND_BYTES, 0, "so many more than at its first tick"},
    {"per_hour", "bytes_per_hour", KIND_BYTES, 0,
     "bytes: median slope over all pairs of ticks; NULL = it does not grow"},
    {"since", "since_ns", KIND_MOMENT, COLUMN_OPTIONAL, "the last tick at which it held least"},
    {"trend", "sparkline(points)", KIND_TEXT, COLUMN_OPTIONAL | COLUMN_LATE,
     "live bytes from its first tick to the last"},
    VIEW_FUNCTION_COLUMNS,
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = all others"},
    {"grows", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: it does, as far as can be said"},
    {"objects", "live_objects", KIND_COUNT, COLUMN_EXTRA, "live objects at the last tick"},
    {"alloc_per_second", "alloc_bytes_per_s", KIND_BYTES, COLUMN_EXTRA,
     "bytes asked for a second, from its first tick to the last"},
    {"ticks", NULL, KIND_COUNT, COLUMN_EXTRA, "that are kept of it"},
    {"from", "from_ns", KIND_MOMENT, COLUMN_EXTRA, "its first tick"},
    {"to", "when_ns", KIND_MOMENT, COLUMN_EXTRA, "the last tick"},
    {"points", NULL, KIND_TEXT, COLUMN_EXTRA, "SECONDS:BYTES ..., seconds from its first tick on"},
    VIEW_PLACE_COLUMNS,
};

const struct column_list trend_lists[] = {
    {"Columns of --growth", columns, sizeof(columns) / sizeof(*columns)}, {.title = NULL}};

/* ---- the picture -------------------------------------------------------------------------- */

struct point {
    double at; /* seconds */
    double bytes;
};

/* parse_points reads "SECONDS:BYTES ..."; returns how many, at most n. */
static size_t parse_points(const char *text, struct point *ret, size_t n) {
    size_t count = 0;
    while (*text && count < n) {
        char *end;
        ret[count].at = strtod(text, &end);
        if (end == text || *end != ':')
            break;
        ret[count++].bytes = strtod(end + 1, &end);
        text = end + strspn(end, " ");
    }
    return count;
}

/* draw writes a character for each of the PICTURE_CELLS: what was live at the end of its stretch of
 * time. */
static void draw(const struct point *p, size_t n, bool utf8, char *buf) {
    static const char *const blocks[] = {" ",
                                         "\xe2\x96\x81",
                                         "\xe2\x96\x82",
                                         "\xe2\x96\x83",
                                         "\xe2\x96\x84",
                                         "\xe2\x96\x85",
                                         "\xe2\x96\x86",
                                         "\xe2\x96\x87",
                                         "\xe2\x96\x88"};
    static const char *const ascii[] = {" ", ".", ":", "-", "=", "+", "*", "#", "@"};
    double most = 0, first = p[0].at, span = p[n - 1].at - first;
    size_t i = 0;
    *buf = '\0';
    for (size_t k = 0; k < n; k++)
        most = fmax(most, p[k].bytes);
    for (unsigned cell = 0; cell < PICTURE_CELLS; cell++) {
        double end = first + span * cell / (PICTURE_CELLS - 1);
        while (i + 1 < n && p[i + 1].at <= end)
            i++;
        int height = most > 0 && p[i].bytes > 0 ? 1 + (int)(7 * p[i].bytes / most) : 0;
        strcat(buf, (utf8 ? blocks : ascii)[height < 8 ? height : 8]);
    }
}

static void sparkline(sqlite3_context *ctx, int nvalues, sqlite3_value **values) {
    struct point points[128];
    char picture[PICTURE_CELLS * 3 + 1];
    const char *text = (const char *)sqlite3_value_text(values[0]);
    size_t n = text ? parse_points(text, points, sizeof(points) / sizeof(*points)) : 0;
    (void)nvalues;
    if (n == 0)
        return; /* NULL */
    draw(points, n, text_utf8_locale(), picture);
    sqlite3_result_text(ctx, picture, -1, SQLITE_TRANSIENT);
}

/* ---- the rows ----------------------------------------------------------------------------- */

/* What the target has of history. */
struct extent {
    int64_t ticks;
    int64_t first_ns;
    int64_t last_ns;
};

static enum status measure(const struct target *target, struct extent *ret,
                           struct failure *failure) {
    static const char sql[] = "SELECT count(*), coalesce(min(when_ns), 0),"
                              " coalesce(max(when_ns), 0) FROM tick WHERE snapshot_id = :snapshot";
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    *ret = (struct extent){0, 0, 0};
    /* A file of an old version has no such table. */
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW)
        *ret = (struct extent){sqlite3_column_int64(stmt, 0), sqlite3_column_int64(stmt, 1),
                               sqlite3_column_int64(stmt, 2)};
    sqlite3_finalize(stmt);
    if (ret->ticks > 0)
        return STATUS_DONE;
    return fail(failure, STATUS_NO_TARGET,
                "%s has no history: the first tick comes a minute after the start, or when "
                "GOMALLOC=interval= says so",
                target->word);
}

static void print_extent(const struct command_line *line, const struct extent *e) {
    char first[TEXT_NUMBER_SIZE], last[TEXT_NUMBER_SIZE];
    if (line->output.format != OUTPUT_TABLE || line->output.no_header)
        return;
    text_moment(first, e->first_ns);
    text_moment(last, e->last_ns);
    output_text(&line->output, "history: %lld tick%s, from %s to %s\n\n", (long long)e->ticks,
                e->ticks == 1 ? "" : "s", first, last);
}

enum status trend_show(const struct command_line *line, const struct target *target,
                       enum trend_rows rows, int64_t site, struct failure *failure) {
    struct extent extent;
    enum status status = measure(target, &extent, failure);
    if (status != STATUS_DONE)
        return status;
    if (sqlite3_create_function(target->db, "sparkline", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL,
                                sparkline, NULL, NULL) != SQLITE_OK)
        return fail(failure, STATUS_FAILURE, "%s", sqlite3_errmsg(target->db));
    print_extent(line, &extent);
    if (extent.ticks < MIN_TICKS && rows == TREND_GROWING)
        say("%s has %lld tick%s of history: which sites grow can be said from %d on", target->word,
            (long long)extent.ticks, extent.ticks == 1 ? "" : "s", MIN_TICKS);
    const struct view_binding bindings[] = {{":site", site, NULL}};
    const char *where = rows == TREND_GROWING ? "grows" : NULL;
    if (site)
        where = rows == TREND_GROWING ? "site_id = :site AND grows" : "site_id = :site";
    const char *none = rows == TREND_GROWING
                           ? "no site grows; --growth=all shows what each of them has done"
                           : "no site is followed: see interval= in gomalloc(7)";
    const struct view_query query = {.from = "v1_site_trend",
                                     .where = where,
                                     .order = "grows DESC, bytes_per_hour DESC, grown_bytes DESC",
                                     .bindings = bindings,
                                     .nbindings = 1,
                                     .none = extent.ticks < MIN_TICKS ? NULL : none};
    return view_show_as(line, target, trend_lists, line->command->terminal_rows, &query, failure);
}
