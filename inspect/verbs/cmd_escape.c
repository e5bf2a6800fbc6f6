/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect escape: which objects outlive the call that made them, and which could have been local.
 *
 * For people it is a line a site, as go build -gcflags=-m prints them, or what is known of one
 * site; with --table, and for programs, rows with all figures.  The words are made by the view
 * v1_escape.
 */
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "report/escapes.h"
#include "report/leakcheck.h"
#include "base/text.h"
#include "cli/view.h"
#include "base/usage.h"

#define COUNT(a)      (sizeof(a) / sizeof(*(a)))
#define TERMINAL_ROWS 25 /* lines on a terminal, unless --limit or --all */

enum { BY_PLACE, BY_STACK, BY_FUNCTION, BY_MODULE };

static const struct column columns[] = {
    {"objects", NULL, KIND_COUNT, 0, "allocated since the start"},
    {"judged", NULL, KIND_COUNT, COLUMN_OPTIONAL, "of these, watched from allocation to free"},
    {"freed", NULL, KIND_COUNT, COLUMN_OPTIONAL, "of the judged"},
    {"escaped", NULL, KIND_COUNT, 0, "of the freed: they have, proved"},
    {"within", NULL, KIND_COUNT, 0, "of the freed: not seen to escape"},
    {"proved", "within_proved", KIND_COUNT, COLUMN_OPTIONAL, "of these: they have not, proved"},
    {"life", "CAST(life_ns_p50 AS INTEGER)", KIND_DURATION, COLUMN_OPTIONAL,
     "median time from allocation to free"},
    {"life99", "CAST(life_ns_p99 AS INTEGER)", KIND_DURATION, COLUMN_OPTIONAL,
     "99th percentile of that"},
    {"verdict", NULL, KIND_TEXT, COLUMN_CUT, "escapes, escapes to thread, re-entered, ..."},
    {"function", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE,
     "innermost one that is no wrapper of malloc"},
    {"to",
     "CASE verdict WHEN 'escapes' THEN owner_function WHEN 'escapes to thread' THEN thread END",
     KIND_TEXT, COLUMN_CUT | COLUMN_WIDE | COLUMN_OPTIONAL, "function or thread it escapes to"},
    {"location", NULL, KIND_TEXT, COLUMN_CUT_LEFT | COLUMN_WIDE | COLUMN_OPTIONAL,
     "file:line:column, or module+offset"},
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, of several the main"},
    {"stacks", NULL, KIND_COUNT, COLUMN_EXTRA, "call stacks that were summed up"},
    {"text", NULL, KIND_TEXT, COLUMN_EXTRA, "verdict in a sentence"},
    {"suggestion", NULL, KIND_TEXT, COLUMN_EXTRA, "what could be done about it"},
    {"bytes", NULL, KIND_BYTES, COLUMN_EXTRA, "asked for since the start"},
    {"size", "mean_size", KIND_BYTES, COLUMN_EXTRA, "of an object, on average"},
    {"live", NULL, KIND_COUNT, COLUMN_EXTRA, "of the judged: not freed"},
    {"outlived", NULL, KIND_COUNT, COLUMN_EXTRA, "of the escaped: freed by the same thread"},
    {"calls_up", NULL, KIND_NUMBER, COLUMN_EXTRA, "how far most of these escaped"},
    {"calls_up_objects", NULL, KIND_COUNT, COLUMN_EXTRA, "so many did so far"},
    {"owner", "owner_function", KIND_TEXT, COLUMN_EXTRA, "function that they ended in"},
    {"owner_location", NULL, KIND_TEXT, COLUMN_EXTRA, "where it had called on"},
    {"other_thread", NULL, KIND_COUNT, COLUMN_EXTRA, "of the escaped: freed by another thread"},
    {"thread", NULL, KIND_TEXT, COLUMN_EXTRA, "which one freed most"},
    {"reentered", NULL, KIND_COUNT, COLUMN_EXTRA, "of the escaped: freed by a later call"},
    {"at_most", "at_most_percent", KIND_PERCENT, COLUMN_EXTRA,
     "of objects escape, at 95 % confidence, where none was seen to"},
    {"unknown", NULL, KIND_COUNT, COLUMN_EXTRA, "of the freed: not told"},
    {"unknown_switched", NULL, KIND_COUNT, COLUMN_EXTRA, "the thread had changed stacks"},
    {"unknown_stopped", NULL, KIND_COUNT, COLUMN_EXTRA, "no stack was to be had"},
    {"unknown_deep", NULL, KIND_COUNT, COLUMN_EXTRA, "the stack was too deep"},
    {"life_bytes", "CAST(life_bytes_p50 AS INTEGER)", KIND_BYTES, COLUMN_EXTRA,
     "median of what was allocated from allocation to free"},
    {"life_bytes99", "CAST(life_bytes_p99 AS INTEGER)", KIND_BYTES, COLUMN_EXTRA,
     "99th percentile of that"},
    {"leaked", NULL, KIND_COUNT, COLUMN_EXTRA, "of the live: nothing leads to them (--leaks)"},
    {"chains", NULL, KIND_COUNT, COLUMN_EXTRA, "of the freed: realloc resized or moved them"},
    {"growths", NULL, KIND_COUNT, COLUMN_EXTRA, "times that it did so"},
    {"final_size", "CAST(final_size_p50 AS INTEGER)", KIND_BYTES, COLUMN_EXTRA,
     "median size at the end of these"},
    {"final_size99", "CAST(final_size_p99 AS INTEGER)", KIND_BYTES, COLUMN_EXTRA,
     "99th percentile of that"},
    {"wrappers", NULL, KIND_NUMBER, COLUMN_EXTRA, "frames that were passed over"},
    {"file", NULL, KIND_TEXT, COLUMN_EXTRA, "source file with its path"},
    {"line", NULL, KIND_NUMBER, COLUMN_EXTRA, "in this file"},
    {"col", NULL, KIND_NUMBER, COLUMN_EXTRA, "in this line"},
    {"module", NULL, KIND_TEXT, COLUMN_EXTRA, "program or library"},
    {"module_offset", NULL, KIND_ADDRESS, COLUMN_EXTRA, "of the return address in its file"},
};

static const struct column sum_columns[] = {
    {"objects", NULL, KIND_COUNT, 0, "allocated since the start"},
    {"bytes", NULL, KIND_BYTES, 0, "asked for since the start"},
    {"judged", NULL, KIND_COUNT, COLUMN_OPTIONAL, "watched from allocation to free"},
    {"freed", NULL, KIND_COUNT, COLUMN_OPTIONAL, "of the judged"},
    {"escaped", NULL, KIND_COUNT, 0, "of the freed: they have, proved"},
    {"threads", "other_thread", KIND_COUNT, COLUMN_OPTIONAL, "of these: freed by another thread"},
    {"within", NULL, KIND_COUNT, 0, "of the freed: not seen to escape"},
    {"proved", "within_proved", KIND_COUNT, 0, "of these: they have not, proved"},
    {"unknown", NULL, KIND_COUNT, COLUMN_OPTIONAL, "of the freed: not told"},
    {"live", NULL, KIND_COUNT, 0, "of the judged: not freed"},
    {"sites", NULL, KIND_COUNT, COLUMN_OPTIONAL, "call stacks"},
    {"function", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE, "NULL with --by module"},
    {"location", NULL, KIND_TEXT, COLUMN_CUT_LEFT | COLUMN_WIDE, "line, file or module"},
};

static const struct column thread_columns[] = {
    {"objects", NULL, KIND_COUNT, 0, "judged ones"},
    {"allocated_by", NULL, KIND_TEXT, COLUMN_CUT, "name of the thread"},
    {"freed_by", NULL, KIND_TEXT, COLUMN_CUT, "name of the thread"},
    {"function", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE, "of the site"},
    {"location", NULL, KIND_TEXT, COLUMN_CUT_LEFT | COLUMN_WIDE | COLUMN_OPTIONAL, "of the site"},
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = of many"},
    {"from_tid", NULL, KIND_NUMBER, COLUMN_EXTRA, "kernel's number of the one that allocated"},
    {"to_tid", NULL, KIND_NUMBER, COLUMN_EXTRA, "and of the one that freed"},
};

static const struct column_list lists[] = {
    {"Columns of --by", sum_columns, COUNT(sum_columns)},
    {"Columns of --threads", thread_columns, COUNT(thread_columns)},
    {NULL, NULL, 0},
};

struct own {
    int by;
    bool all, table, threads, leaks;
    int64_t site; /* 0: all */
};

enum { OPT_SITE = 0x300, OPT_ALL, OPT_BY, OPT_TABLE, OPT_THREADS, OPT_LEAKS };

static const struct argp_option options[] = {
    {"site", OPT_SITE, "N", 0, "all that is known of call stack N", 1},
    {"all", OPT_ALL, NULL, 0, "on a terminal all sites, not the first 25", 1},
    {"by", OPT_BY, "WHAT", 0, "a row for each line (default), stack, function or module", 1},
    {"threads", OPT_THREADS, NULL, 0, "which threads free what others allocate", 1},
    {"leaks", OPT_LEAKS, NULL, 0, "check for leaks: is what was never freed still reachable?", 1},
    {"table", OPT_TABLE, NULL, 0, "figures in columns instead of sentences", 1},
    {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    static const char *const names[] = {"line", "stack", "function", "module"};
    struct own *own = line->own;
    switch (key) {
    case OPT_SITE:
        own->site = option_number(arg, "--site", 1, state);
        break;
    case OPT_ALL:
        own->all = true;
        break;
    case OPT_LEAKS:
        own->leaks = true;
        break;
    case OPT_TABLE:
        own->table = true;
        break;
    case OPT_THREADS:
        own->threads = true;
        break;
    case OPT_BY:
        for (own->by = 0; own->by < 4 && strcmp(arg, names[own->by]) != 0;)
            own->by++;
        if (own->by == 4)
            usage_error(state, "--by: '%s' is none of line, stack, function and module", arg);
        break;
    }
}

#define SUMS                                                                                       \
    "sum(objects) AS objects, sum(bytes) AS bytes, sum(judged) AS judged, sum(freed) AS freed, "   \
    "sum(escaped) AS escaped, sum(other_thread) AS other_thread, sum(within) AS within, "          \
    "sum(within_proved) AS within_proved, sum(unknown) AS unknown, sum(live) AS live, "            \
    "count(*) AS sites, "

static const char *const sources[] = {
    [BY_PLACE] = "v1_escape_place",
    [BY_STACK] = "(SELECT *, 1 AS stacks FROM v1_escape)",
    [BY_FUNCTION] = "(SELECT snapshot_id, " SUMS "function, coalesce(file, module) AS location "
                    "FROM v1_escape GROUP BY snapshot_id, function, file, module)",
    [BY_MODULE] = "(SELECT snapshot_id, " SUMS "NULL AS function, module AS location "
                  "FROM v1_escape GROUP BY snapshot_id, module)",
};

/* ---- what there is to show ---------------------------------------------------------------- */

/* integer asks for one figure of the target; missing if there is none, or no such table. */
static int64_t integer(const struct target *target, const char *sql, int64_t missing) {
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    int64_t n = missing;
    if (view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return n;
}

/* check says why there are no verdicts, if there are none. */
static enum status check(const struct target *target, struct failure *failure) {
    int64_t sites =
        integer(target, "SELECT count(*) FROM verdict WHERE snapshot_id = :snapshot", -1);
    if (sites > 0)
        return STATUS_DONE;
    if (sites < 0 || (target->image && !image_has(target->image, GOMALLOC_SECTION_ESCAPE)))
        return fail(failure, STATUS_BAD_VERSION, "%s does not tell what became of objects: %s",
                    target->word,
                    target->kind == TARGET_PROCESS ? "its library is older than goinspect"
                                                   : "it was made by an older library");
    if (integer(target, "SELECT rate FROM v1_snapshot WHERE snapshot_id = :snapshot", 1) == 0)
        return fail(failure, STATUS_FAILURE,
                    "%s: nothing is recorded (rate=0): start the program with GOMALLOC=rate=1%s",
                    target->word,
                    target->kind == TARGET_PROCESS ? ", or try goinspect profile start" : "");
    if (integer(target, "SELECT sum(samples) FROM site WHERE snapshot_id = :snapshot", 0) > 0)
        return fail(failure, STATUS_FAILURE,
                    "%s: no recorded object is judged (escape=off): start the program with "
                    "GOMALLOC=rate=1,escape=on",
                    target->word);
    return fail(failure, STATUS_FAILURE,
                "%s: nothing has been recorded yet: GOMALLOC=rate=1 records every allocation",
                target->word);
}

/* ---- the verb ----------------------------------------------------------------------------- */

static enum status show_threads(const struct command_line *line, const struct target *target,
                                struct failure *failure) {
    const struct own *own = line->own;
    const struct view_binding bindings[] = {{":site", own->site, NULL}};
    const struct view_query query = {.from = "v1_handover",
                                     .where = own->site ? "site_id = :site" : NULL,
                                     .order = "objects DESC, site_id, from_tid, to_tid",
                                     .bindings = bindings,
                                     .nbindings = 1};
    if (line->output.format == OUTPUT_TABLE &&
        integer(target, "SELECT count(*) FROM handover WHERE snapshot_id = :snapshot", 0) == 0) {
        say("no thread freed what another had allocated, as far as objects were judged");
        return STATUS_DONE;
    }
    return view_show_as(line, target, &lists[1], own->all ? 0 : TERMINAL_ROWS, &query, failure);
}

static enum status show_one(const struct command_line *line, const struct target *target,
                            struct failure *failure) {
    const struct own *own = line->own;
    bool found = false;
    enum status status = escapes_site(line, target, own->site, &found, failure);
    if (status == STATUS_DONE && !found)
        status = fail(failure, STATUS_FAILURE,
                      "%s: no object of site %lld was judged; \"goinspect escape %s --by stack "
                      "--columns site,function\" lists sites that were",
                      target->word, (long long)own->site, target->word);
    return status;
}

static enum status show_lines(const struct command_line *line, const struct target *target,
                              const struct view_query *query, struct failure *failure) {
    const struct own *own = line->own;
    int64_t limit = line->output.limit;
    bool more, limited = limit < 0 && !own->all && output_is_terminal(&line->output);
    enum status status =
        escapes_lines(line, target, query, limited ? TERMINAL_ROWS : limit, &more, failure);
    if (status == STATUS_DONE && limited && more && line->output.watch <= 0)
        say("the first %d sites; --all shows all", TERMINAL_ROWS);
    return status;
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    const struct own *own = line->own;
    const struct view_binding bindings[] = {{":site", own->site, NULL}};
    const struct view_query query = {.from = sources[own->site ? BY_STACK : own->by],
                                     .where = own->site ? "site_id = :site" : NULL,
                                     .order = own->by <= BY_STACK
                                                  ? "bytes DESC, objects DESC, site_id"
                                                  : "bytes DESC, objects DESC, function, location",
                                     .bindings = bindings,
                                     .nbindings = 1};
    bool rows = own->table || line->output.format != OUTPUT_TABLE || line->output.columns ||
                line->output.sort;
    enum status status = check(target, failure);
    if (status == STATUS_DONE && own->leaks)
        status = leakcheck_there(target, failure);
    if (status != STATUS_DONE)
        return status;
    if (own->threads)
        return show_threads(line, target, failure);
    if (own->by > BY_STACK)
        return view_show_as(line, target, &lists[0], own->all ? 0 : TERMINAL_ROWS, &query, failure);
    if (rows)
        return view_show_as(line, target, &(struct column_list){NULL, columns, COUNT(columns)},
                            own->all ? 0 : TERMINAL_ROWS, &query, failure);
    return own->site ? show_one(line, target, failure) : show_lines(line, target, &query, failure);
}

static enum status run_with_leaks(struct command_line *line) {
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    enum status status =
        view_target_asking(line, CLIENT_RESIDENT | CLIENT_LEAKS, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    status = show(line, &target, &failure);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

static enum status run(struct command_line *line) {
    const struct own *own = line->own;
    if (own->by != BY_PLACE && (own->site || own->threads)) {
        say("--by goes neither with --site nor with --threads");
        return STATUS_USAGE;
    }
    return own->leaks ? run_with_leaks(line) : view_on_target(line, show);
}

const struct command command_verb_escape = {
    .name = "escape",
    .usage = "TARGET",
    .summary = "which objects outlive the call that made them; which could be local",
    .details =
        "\"Escapes\" is proved. \"No escape observed\" is what was seen: only of the objects\n"
        "called proved is it certain that they were freed within the call.",
    .examples = "  goinspect run -- ./server\n"
                "  goinspect escape server\n"
                "  goinspect escape server --site 12\n"
                "  goinspect escape server --leaks\n"
                "  goinspect escape FILE.db --table --sort escaped:desc\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 1,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = COUNT(columns),
    .lists = lists,
    .run = run,
};
