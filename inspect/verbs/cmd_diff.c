/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect diff: what one heap has more of than another, and how sure that is.
 *
 * The heaps may be two snapshots of a file, two files, or a file and a process; diff.h brings them
 * side by side.  Over the rows stand the figures of the whole, which are counted and not sampled.
 */
#include <stdlib.h>
#include <string.h>

#include "report/diff.h"
#include "report/pair.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/usage.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

enum by { BY_SITE, BY_CLASS, BY_SPAN, BY_TOTAL };

static const struct column columns[] = {
    {"growth", "grown_bytes", KIND_BYTES, 0, "live bytes in B less those in A"},
    {"error", "std_error(bytes_variance)", KIND_BYTES, COLUMN_OPTIONAL,
     "standard error of growth; - = exact"},
    {"p",
     "CASE WHEN bytes_variance > 0 THEN"
     " CAST(printf('%.2g', p_value(grown_bytes, bytes_variance)) AS REAL) END",
     KIND_NUMBER, COLUMN_OPTIONAL, "how often chance does so much; - = exact"},
    {"change",
     "coalesce(change, CASE WHEN grown_bytes < 0 THEN 'shrunk' WHEN grown_bytes > 0 THEN 'grown'"
     " ELSE 'other' END) || CASE significant WHEN 0 THEN '?' ELSE '' END",
     KIND_TEXT, COLUMN_FAINT, "new, gone, grown, shrunk; with ? it is not significant"},
    {"before", "live_bytes_a", KIND_BYTES, COLUMN_OPTIONAL, "live bytes in A"},
    {"after", "live_bytes_b", KIND_BYTES, COLUMN_OPTIONAL, "live bytes in B"},
    {"objects", "grown_objects", KIND_COUNT, COLUMN_OPTIONAL, "live objects in B less those in A"},
    {"function", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE,
     "innermost one that is no wrapper of malloc"},
    {"callers", "(SELECT n.callers FROM stack_name n WHERE n.stack_id = v1_diff.stack_id)",
     KIND_TEXT, COLUMN_CUT | COLUMN_WIDE | COLUMN_OPTIONAL | COLUMN_LATE,
     "the next three functions outwards"},
    {"location", NULL, KIND_TEXT, COLUMN_CUT_LEFT | COLUMN_WIDE | COLUMN_OPTIONAL,
     "file:line, or module+offset"},
    {"significant", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: p < 0.05; 0: not so; null: exact"},
    {"objects_error", "std_error(objects_variance)", KIND_COUNT, COLUMN_EXTRA,
     "standard error of objects"},
    {"objects_before", "live_objects_a", KIND_COUNT, COLUMN_EXTRA, "live objects in A"},
    {"objects_after", "live_objects_b", KIND_COUNT, COLUMN_EXTRA, "live objects in B"},
    {"recorded_before", "recorded_a", KIND_COUNT, COLUMN_EXTRA, "of these, really recorded"},
    {"recorded_after", "recorded_b", KIND_COUNT, COLUMN_EXTRA, "the same in B"},
    VIEW_PLACE_COLUMNS,
    {"site_a", NULL, KIND_NUMBER, COLUMN_EXTRA, "a site of this call stack in A"},
    {"site_b", NULL, KIND_NUMBER, COLUMN_EXTRA, "and in B"},
};

static const struct column class_columns[] = {
    {"class", "size_class", KIND_NUMBER, 0, "size class, 0 = large objects"},
    {"slot", "slot_bytes", KIND_BYTES, 0, "bytes of a slot"},
    {"growth", "grown_bytes", KIND_BYTES, 0, "bytes given to live objects: in B less in A"},
    {"before", "live_bytes_a", KIND_BYTES, 0, "in A"},
    {"after", "live_bytes_b", KIND_BYTES, 0, "in B"},
    {"objects", "grown_objects", KIND_COUNT, 0, "live objects in B less those in A"},
    {"objects_before", "live_objects_a", KIND_COUNT, COLUMN_OPTIONAL, "live objects in A"},
    {"objects_after", "live_objects_b", KIND_COUNT, COLUMN_OPTIONAL, "live objects in B"},
    {"spans", "grown_spans", KIND_COUNT, COLUMN_EXTRA, "spans in B less those in A"},
};

static const struct column span_columns[] = {
    {"class", "size_class", KIND_NUMBER, 0, "size class, 0 = large objects"},
    {"slot", "slot_bytes", KIND_BYTES, 0, "bytes of a slot"},
    {"spans", "grown_spans", KIND_COUNT, 0, "spans in B less those in A"},
    {"spans_before", "spans_a", KIND_COUNT, COLUMN_OPTIONAL, "spans in A"},
    {"spans_after", "spans_b", KIND_COUNT, COLUMN_OPTIONAL, "spans in B"},
    {"growth", "grown_span_bytes", KIND_BYTES, 0, "bytes of spans in B less those in A"},
    {"before", "span_bytes_a", KIND_BYTES, COLUMN_OPTIONAL, "in A"},
    {"after", "span_bytes_b", KIND_BYTES, COLUMN_OPTIONAL, "in B"},
    {"free", "grown_free_bytes", KIND_BYTES, 0, "free slots in B less those in A"},
    {"free_before", "free_bytes_a", KIND_BYTES, COLUMN_EXTRA, "bytes of free slots in A"},
    {"free_after", "free_bytes_b", KIND_BYTES, COLUMN_EXTRA, "and in B"},
};

static const struct column total_columns[] = {
    {"item", NULL, KIND_TEXT, 0, "stable name of the figure"},
    {"growth", NULL, KIND_ANY, 0, "in B less that in A"},
    {"before", NULL, KIND_ANY, 0, "in A"},
    {"after", NULL, KIND_ANY, 0, "in B"},
    {"unit", NULL, KIND_TEXT, 0, "bytes, objects or spans"},
    {"error", "std_error(variance)", KIND_NUMBER, COLUMN_EXTRA, "standard error; null: exact"},
    {"p", "p_value(growth, variance)", KIND_NUMBER, COLUMN_EXTRA, "how often chance does so much"},
    {"meaning", NULL, KIND_TEXT, COLUMN_CUT, "the same in words"},
};

static const struct column_list lists[] = {
    {"Columns of --by class", class_columns, COUNT(class_columns)},
    {"Columns of --by span", span_columns, COUNT(span_columns)},
    {"Columns of --by total", total_columns, COUNT(total_columns)},
    {NULL, NULL, 0},
};

struct own {
    enum by by;
    int match; /* 1 + enum diff_match; 0: by names if the builds differ, else by stack */
    uint64_t min_bytes;
};

enum { OPT_BY = 0x300, OPT_MATCH, OPT_MIN };

static const struct argp_option options[] = {
    {"by", OPT_BY, "WHAT", 0, "a row for each site (default), class or span count, or total only",
     1},
    {"match", OPT_MATCH, "HOW", 0,
     "call stacks are the same by stack (module and offset; for one build), by function names or "
     "by function and line",
     1},
    {"min-bytes", OPT_MIN, "BYTES", 0, "only what has grown or shrunk by so much: 64k, 1M", 1},
    {.name = NULL}};

static int choice(const char *arg, const char *const *names, const char *option,
                  struct argp_state *state) {
    int i = 0;
    char list[96] = "";
    for (; names[i]; i++) {
        if (strcmp(arg, names[i]) == 0)
            return i;
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "", names[i]);
    }
    usage_error(state, "%s: '%s' is none of %s", option, arg, list);
    return 0;
}

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    static const char *const bys[] = {"site", "class", "span", "total", NULL};
    static const char *const matches[] = {"stack", "function", "line", NULL};
    struct own *own = line->own;
    switch (key) {
    case OPT_BY:
        own->by = (enum by)choice(arg, bys, "--by", state);
        break;
    case OPT_MATCH:
        own->match = 1 + choice(arg, matches, "--match", state);
        break;
    case OPT_MIN:
        if (!text_parse_bytes(arg, &own->min_bytes))
            usage_error(state, "--min-bytes: '%s' is not a size such as 4096, 64k or 1M", arg);
        break;
    }
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* Figures of the whole heap.  Bytes asked for are not known where nothing is recorded. */
static const char totals[] =
    "(SELECT 'live' AS item, sum(live_bytes_a) AS before, sum(live_bytes_b) AS after,"
    " sum(grown_bytes) AS growth, 'bytes' AS unit, 0 AS variance,"
    " 'live objects, with the slots'' slack' AS meaning"
    " FROM v1_diff_class WHERE snapshot_a = 1 AND snapshot_b = 2"
    " UNION ALL SELECT 'requested', sum(live_bytes_a), sum(live_bytes_b),"
    " sum(live_bytes_b - live_bytes_a), 'bytes', sum(bytes_variance), 'of these, asked for'"
    " FROM diff_figure WHERE snapshot_a = 1 AND snapshot_b = 2"
    " AND (SELECT min(rate) FROM snapshot) > 0"
    " UNION ALL SELECT 'objects', sum(live_objects_a), sum(live_objects_b), sum(grown_objects),"
    " 'objects', 0, 'live objects' FROM v1_diff_class WHERE snapshot_a = 1 AND snapshot_b = 2"
    " UNION ALL SELECT 'spans', sum(spans_a), sum(spans_b), sum(grown_spans), 'spans', 0,"
    " 'spans in use' FROM v1_diff_class WHERE snapshot_a = 1 AND snapshot_b = 2"
    " UNION ALL SELECT 'span_bytes', sum(span_bytes_a), sum(span_bytes_b), sum(grown_span_bytes),"
    " 'bytes', 0, 'their pages' FROM v1_diff_class WHERE snapshot_a = 1 AND snapshot_b = 2"
    " UNION ALL SELECT 'rss', a.rss_bytes, b.rss_bytes, b.rss_bytes - a.rss_bytes, 'bytes', 0,"
    " 'resident set of the whole process' FROM snapshot a JOIN snapshot b"
    " WHERE a.snapshot_id = 1 AND b.snapshot_id = 2)";

/* figure writes a number as the unit wants it, with a sign if it is a growth. */
static void figure(const struct command_line *line, char *buf, sqlite3_stmt *row, int column,
                   bool sign) {
    char *number = buf + 1;
    int64_t n = sqlite3_column_int64(row, column);
    bool bytes = strcmp((const char *)sqlite3_column_text(row, 4), "bytes") == 0;
    buf[0] = sign && n > 0 ? '+' : ' ';
    if (line->output.raw_bytes)
        snprintf(number, TEXT_NUMBER_SIZE, "%lld", (long long)n);
    else if (bytes)
        text_bytes_plain(number, (double)n);
    else
        text_count(number, n);
}

static void print_pair(const struct command_line *line, const struct pair *pair) {
    struct output_prose prose;
    pair_print(pair, output_prose(&prose));
    output_prose_end(&line->output, &prose);
}

#define TOTALS_WIDTH 47 /* cells of the table of totals */

static bool is_narrow(const struct command_line *line) {
    size_t width = output_width(&line->output);
    return width && width < TOTALS_WIDTH;
}

static void print_total(const struct command_line *line, sqlite3_stmt *row) {
    char before[TEXT_NUMBER_SIZE + 1], after[TEXT_NUMBER_SIZE + 1], growth[TEXT_NUMBER_SIZE + 1],
        error[TEXT_NUMBER_SIZE], percent[24] = "";
    double was = sqlite3_column_double(row, 1), grown = sqlite3_column_double(row, 3);
    FILE *out = line->output.out;
    if (sqlite3_column_type(row, 1) == SQLITE_NULL)
        return;
    figure(line, before, row, 1, false);
    figure(line, after, row, 2, false);
    figure(line, growth, row, 3, true);
    if (was > 0 && grown != 0)
        snprintf(percent, sizeof(percent), "  %+.1f%%", 100 * grown / was);
    if (is_narrow(line)) {
        output_text(&line->output, "%s: %s, before %s: %s%s\n",
                    (const char *)sqlite3_column_text(row, 0), after + strspn(after, " "),
                    before + strspn(before, " "), growth + strspn(growth, " "), percent);
        return;
    }
    fprintf(out, "%-10s  %10s  %10s  %11s%s", (const char *)sqlite3_column_text(row, 0), before,
            after, growth, percent);
    if (sqlite3_column_double(row, 5) > 0) {
        text_bytes_plain(error, sqlite3_column_double(row, 6));
        fprintf(out, "  %s %s%s", text_utf8_locale() ? "\xc2\xb1" : "+-", error,
                sqlite3_column_double(row, 7) < 0.05 ? "" : ", not significant");
    }
    fputc('\n', out);
}

static enum status print_totals(const struct command_line *line, const struct diff *d,
                                struct failure *failure) {
    char *sql = must_format("SELECT item, before, after, growth, unit, variance,"
                            " std_error(variance), p_value(growth, variance) FROM %s",
                            totals);
    sqlite3_stmt *stmt = NULL;
    enum status status = diff_prepare(d->target.db, "diff", sql, &stmt, failure);
    bool bold = output_has_color(&line->output);
    if (status == STATUS_DONE && !is_narrow(line))
        fprintf(line->output.out, "%s%-10s  %10s  %10s  %11s%s\n", bold ? "\033[1m" : "", "TOTAL",
                "BEFORE", "AFTER", "GROWTH", bold ? "\033[0m" : "");
    while (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW)
        print_total(line, stmt);
    sqlite3_finalize(stmt);
    free(sql);
    return status;
}

/* ---- rows --------------------------------------------------------------------------------- */

static const struct {
    const char *from, *bytes, *where, *order;
} sources[] = {
    [BY_SITE] = {"v1_diff", "grown_bytes", "(grown_bytes <> 0 OR grown_objects <> 0)",
                 "grown_bytes DESC, grown_objects DESC, function"},
    [BY_CLASS] = {"v1_diff_class", "grown_bytes", "(grown_bytes <> 0 OR grown_objects <> 0)",
                  "grown_bytes DESC, size_class"},
    [BY_SPAN] = {"v1_diff_class", "grown_span_bytes", "(grown_spans <> 0 OR grown_span_bytes <> 0)",
                 "grown_span_bytes DESC, size_class"},
};

static enum status show_rows(const struct command_line *line, const struct diff *d,
                             struct failure *failure) {
    static const struct column_list site_list = {NULL, columns, COUNT(columns)};
    const struct own *own = line->own;
    const struct view_binding least = {":least", (int64_t)own->min_bytes, NULL};
    if (own->by == BY_TOTAL)
        return view_show_as(line, &d->target, &lists[2], 0,
                            &(struct view_query){.from = totals, .all_snapshots = true}, failure);
    char *where = must_format("snapshot_a = 1 AND snapshot_b = 2 AND %s AND abs(%s) >= :least",
                              sources[own->by].where, sources[own->by].bytes);
    const struct view_query query = {.from = sources[own->by].from,
                                     .where = where,
                                     .order = sources[own->by].order,
                                     .bindings = &least,
                                     .nbindings = 1,
                                     .all_snapshots = true,
                                     .none = own->min_bytes > 0
                                                 ? "nothing has changed by --min-bytes"
                                             : own->by == BY_SITE ? "no call stack has changed"
                                                                  : "nothing has changed"};
    enum status status =
        view_show_as(line, &d->target, own->by == BY_SITE ? &site_list : &lists[own->by - BY_CLASS],
                     25, &query, failure);
    free(where);
    return status;
}

static enum status show(const struct command_line *line, const struct pair *pair,
                        const struct diff *d, struct failure *failure) {
    const struct own *own = line->own;
    enum status status = STATUS_DONE;
    bool people =
        line->output.format == OUTPUT_TABLE && !line->output.no_header && !line->output.columns;
    if (people) {
        print_pair(line, pair);
        status = print_totals(line, d, failure);
        if (own->by == BY_TOTAL)
            return status;
        fputc('\n', line->output.out);
    }
    return status == STATUS_DONE ? show_rows(line, d, failure) : status;
}

static enum status compare(const struct command_line *line, const struct pair *pair,
                           struct failure *failure) {
    const struct own *own = line->own;
    struct diff d;
    enum diff_match match = own->match ? (enum diff_match)(own->match - 1)
                            : diff_builds_differ(&pair->a, &pair->b) ? DIFF_BY_FUNCTION
                                                                     : DIFF_BY_STACK;
    if (line->output.watch <= 0)
        pair_say(pair, !own->match && match == DIFF_BY_FUNCTION && own->by == BY_SITE);
    enum status status = diff_open(match, &d, failure);
    if (status != STATUS_DONE)
        return status;
    status = diff_add(&d, DIFF_A, &pair->a, failure);
    if (status == STATUS_DONE)
        status = diff_add(&d, DIFF_B, &pair->b, failure);
    if (status == STATUS_DONE && own->by == BY_SITE)
        status = diff_name(&d, failure);
    if (status == STATUS_DONE)
        status = show(line, pair, &d, failure);
    diff_close(&d);
    return status;
}

static enum status run(struct command_line *line) {
    struct failure failure = {.status = STATUS_DONE};
    struct pair pair;
    enum status status =
        pair_open(line->words[0], line->nwords > 1 ? line->words[1] : NULL, &pair, &failure);
    if (status == STATUS_DONE) {
        status = compare(line, &pair, &failure);
        pair_close(&pair);
    }
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_diff = {
    .name = "diff",
    .usage = "A [B]",
    .summary = "what one heap has more of than another, and how sure that is",
    .details =
        "A and B are processes, images (FILE.gmi) and snapshots of files (FILE.db@3, else the\n"
        "latest), in any mixture.  FILE.db alone is its first snapshot of the process and its\n"
        "latest; FILE.db@3 alone that one and the latest.  Where allocations are sampled, ERROR\n"
        "is the standard error of the growth, and P how often chance alone makes so much of\n"
        "it; rows with a ? are not significant (P is 0.05 or more), and are faint on a terminal.",
    .examples = "  goinspect snapshot 1234 -o before.gmi\n"
                "  goinspect diff before.gmi 1234\n"
                "  goinspect diff heap.db@3 heap.db@7 --min-bytes 64k\n"
                "  goinspect diff release.gmi branch.gmi --match function -o json\n",
    .takes = TAKES_FORMAT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 2,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = COUNT(columns),
    .lists = lists,
    .run = run,
};
