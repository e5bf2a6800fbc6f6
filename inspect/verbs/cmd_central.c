/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect central: the spans that no thread owns, class by class, in the four sets of an
 * mcentral.
 */
#include <stdlib.h>

#include "base/text.h"
#include "cli/view.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct column columns[] = {
    {"class", "size_class", KIND_NUMBER, 0, "size class"},
    {"scan", "CASE noscan WHEN 1 THEN 'noscan' ELSE 'scan' END", KIND_TEXT, COLUMN_OPTIONAL,
     "scan, or noscan: objects hold no pointers"},
    {"size", "slot_bytes", KIND_BYTES, COLUMN_OPTIONAL | COLUMN_LATE, "of a slot"},
    {"spans", NULL, KIND_COUNT, COLUMN_OPTIONAL | COLUMN_LATE, "in all four sets"},
    {"partial", "partial_swept", KIND_COUNT, 0, "swept spans with free slots"},
    {"partial_unswept", NULL, KIND_COUNT, 0, "the same, with marks since they were last swept"},
    {"full", "full_swept", KIND_COUNT, COLUMN_OPTIONAL | COLUMN_LATE,
     "swept spans without a free slot"},
    {"full_unswept", NULL, KIND_COUNT, 0, "the same, but for marks: free slots once swept"},
    {"free", "free_bytes", KIND_BYTES, COLUMN_OPTIONAL | COLUMN_LATE,
     "free slots, marked ones included"},
    {"pending", "pending_spans", KIND_COUNT, COLUMN_OPTIONAL,
     "spans with new marks, in no unswept set yet"},
    {"given", "spans_given", KIND_COUNT, COLUMN_OPTIONAL, "spans given to caches since the start"},
    {"taken", "spans_taken", KIND_COUNT, COLUMN_OPTIONAL, "spans taken from caches"},
    {"free_slots", NULL, KIND_COUNT, COLUMN_EXTRA, "free slots, marked ones included"},
    {"partial_free", "partial_swept_free", KIND_COUNT, COLUMN_EXTRA, "free slots of that set"},
    {"partial_unswept_free", NULL, KIND_COUNT, COLUMN_EXTRA, "free slots of that set"},
    {"full_free", "full_swept_free", KIND_COUNT, COLUMN_EXTRA,
     "free slots of that set: marks that have just come"},
    {"full_unswept_free", NULL, KIND_COUNT, COLUMN_EXTRA, "free slots of that set"},
    {"span_slots", NULL, KIND_COUNT, COLUMN_EXTRA, "slots in a span"},
    {"sweepgen", NULL, KIND_NUMBER, COLUMN_EXTRA, "the heap's sweep generation"},
};

/* Of one class: a row for each set. */
static const struct column set_columns[] = {
    {"set", "set_name", KIND_TEXT, 0, "one of Go's four"},
    {"spans", NULL, KIND_COUNT, 0, "in it"},
    {"free_slots", NULL, KIND_COUNT, 0, "in these"},
    {"free", "free_slots * slot_bytes", KIND_BYTES, COLUMN_OPTIONAL, "the same in bytes"},
    {"meaning", NULL, KIND_TEXT, COLUMN_CUT, "in words"},
};
static const struct column_list set_list = {"", set_columns, COUNT(set_columns)};

/* print_heading writes what the sets are of. */
static void print_heading(FILE *out, sqlite3_stmt *stmt) {
    char size[TEXT_NUMBER_SIZE];
    text_bytes_plain(size, sqlite3_column_double(stmt, 1));
    fprintf(out, "class %d%s: slots of %s, %d in a span\nsweep generation %lld\n",
            sqlite3_column_int(stmt, 0), sqlite3_column_int(stmt, 2) ? " noscan" : "", size,
            sqlite3_column_int(stmt, 3), (long long)sqlite3_column_int64(stmt, 4));
    fprintf(out, "spans: %lld given to caches, %lld taken; %lld pending\n\n",
            (long long)sqlite3_column_int64(stmt, 5), (long long)sqlite3_column_int64(stmt, 6),
            (long long)sqlite3_column_int64(stmt, 7));
}

/* show_class shows the central lists of one class: that of scan spans and that of noscan spans. */
static enum status show_class(const struct command_line *line, const struct target *target,
                              int64_t size_class, struct failure *failure) {
    static const char sql[] =
        "SELECT size_class, slot_bytes, noscan, span_slots, sweepgen, spans_given, spans_taken,"
        " pending_spans FROM v1_central WHERE snapshot_id = :snapshot AND size_class = :class"
        " ORDER BY noscan";
    struct view_binding bindings[] = {{":class", size_class, NULL}, {":noscan", 0, NULL}};
    struct view_query query = {.from = "central_set",
                               .where = "size_class = :class AND noscan = :noscan",
                               .order = "ord",
                               .bindings = bindings,
                               .nbindings = 2};
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, &query, &stmt, failure);
    FILE *out = line->output.out;
    bool any = false;
    while (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        if (any)
            fputc('\n', out);
        any = true;
        print_heading(out, stmt);
        bindings[1].integer = sqlite3_column_int(stmt, 2);
        status = view_show_as(line, target, &set_list, 0, &query, failure);
    }
    sqlite3_finalize(stmt);
    if (status == STATUS_DONE && !any)
        fprintf(out, "No span of class %lld was ever without a thread.\n", (long long)size_class);
    return status;
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const char *word = line->words[1];
    int64_t size_class = -1;
    enum status status = view_structures(target, failure);
    if (status == STATUS_DONE && word)
        status = view_class(target, word, &size_class, failure);
    if (status != STATUS_DONE)
        return status;
    if (size_class == 0)
        return fail(failure, STATUS_USAGE,
                    "class 0 is large objects, which have no central list; see \"goinspect spans "
                    "%s --class 0\"",
                    target->word);
    if (word && line->output.format == OUTPUT_TABLE && !line->output.columns)
        return show_class(line, target, size_class, failure);
    struct view_binding binding = {":class", size_class, NULL};
    struct view_query query = {.from = "v1_central",
                               .where = "(size_class = :class OR (:class < 0 AND"
                                        " (spans > 0 OR pending_spans > 0)))",
                               .order = "size_class, noscan",
                               .bindings = &binding,
                               .nbindings = 1};
    return view_show(line, target, &query, failure);
}

static enum status run(struct command_line *line) {
    return view_on_target(line, show);
}

const struct command command_verb_central = {
    .name = "central",
    .usage = "TARGET [CLASS]",
    .summary = "central lists: spans no thread owns, partial and full, swept or not",
    .details =
        "CLASS is a size class, 0 to 67, or a size in bytes that it serves: 68 and more, or\n"
        "with a unit (48B, 2k).  Without it: the classes whose central list holds a span.\n"
        "The sets are Go's.  Unswept: another thread has freed objects in the span since it was\n"
        "last swept; the marks become free slots when it is.",
    .examples = "  goinspect central redis-server\n"
                "  goinspect central redis-server 96\n"
                "  goinspect central heap.gmi --sort free:desc --limit 5\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT,
    .min_words = 1,
    .max_words = 2,
    .columns = columns,
    .ncolumns = COUNT(columns),
    .run = run,
};
