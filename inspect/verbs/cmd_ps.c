/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect ps: the processes under gomalloc, the largest first.
 *
 * Each is asked for its process and span records, which is the cheapest way to its live bytes.  One
 * that does not answer within a second, or GOINSPECT_TIMEOUT, is listed without figures.
 */
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "db/db.h"
#include "target/place.h"
#include "base/text.h"
#include "cli/view.h"

#define PATIENCE 1.0 /* seconds for one process, unless GOINSPECT_TIMEOUT is set */

static const struct column columns[] = {
    {"pid", NULL, KIND_NUMBER, 0, "process"},
    {"name", NULL, KIND_TEXT, COLUMN_CUT, "of the process"},
    {"live", NULL, KIND_BYTES, 0, "given to live objects"},
    {"rss", NULL, KIND_BYTES, 0, "resident set"},
    {"rate", NULL, KIND_RATE, COLUMN_OPTIONAL,
     "mean bytes between two samples; 1 = exact, 0 = off"},
    {"uptime", NULL, KIND_DURATION, COLUMN_OPTIONAL | COLUMN_LATE, "since the library started"},
    {"socket", NULL, KIND_TEXT, 0, "ok, or why it can't be asked"},
    {"command", NULL, KIND_TEXT, COLUMN_OPTIONAL | COLUMN_CUT, "its arguments"},
    {"objects", NULL, KIND_COUNT, COLUMN_EXTRA, "live objects"},
    {"threads", NULL, KIND_COUNT, COLUMN_EXTRA, "the library's own included"},
    {"user", NULL, KIND_NUMBER, COLUMN_EXTRA, "its number"},
};
enum { PID, NAME, LIVE, RSS, RATE, UPTIME, SOCKET, COMMAND, OBJECTS, THREADS, USER, NCOLUMNS };

static int64_t realtime_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* fill_figures takes the figures from the process's image. */
static bool fill_figures(struct image *image, struct value *row) {
    static const char sql[] =
        "SELECT live_bytes, rss_bytes, rate, start_ns, live_objects, nthreads "
        "FROM v1_snapshot";
    char text[256];
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    bool filled = false;
    if (db_open_image(image, &db, text, sizeof(text)) == 0 &&
        sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        int64_t up = realtime_ns() - sqlite3_column_int64(stmt, 3);
        row[LIVE] = value_integer(sqlite3_column_int64(stmt, 0));
        row[RSS] = value_integer(sqlite3_column_int64(stmt, 1));
        row[RATE] = value_integer(sqlite3_column_int64(stmt, 2));
        row[UPTIME] = value_integer(up > 0 ? up : 0);
        row[OBJECTS] = value_integer(sqlite3_column_int64(stmt, 4));
        row[THREADS] = value_integer(sqlite3_column_int64(stmt, 5));
        filled = true;
    }
    sqlite3_finalize(stmt);
    db_close(db);
    return filled;
}

static const char *why(enum status status) {
    switch (status) {
    case STATUS_NO_TARGET:
        return "stale";
    case STATUS_FORBIDDEN:
        return "not permitted";
    case STATUS_BAD_VERSION:
        return "other version";
    default:
        return "no answer";
    }
}

struct listing {
    struct output *output;
    uint64_t nrows;
};

static void ask(const struct proc *proc, struct value *row) {
    const uint64_t sections = 1u << GOMALLOC_SECTION_STRING | 1u << GOMALLOC_SECTION_PROCESS |
                              1u << GOMALLOC_SECTION_SPAN | 1u << GOMALLOC_SECTION_BITMAP;
    struct image *image = NULL;
    struct failure failure;
    enum status status = fetch_image(proc->pid, sections, PATIENCE, &image, &failure);
    if (status == STATUS_DONE)
        row[SOCKET] = value_text(fill_figures(image, row) ? "ok" : "no answer");
    else
        row[SOCKET] = value_text(why(status));
    image_close(image);
}

static bool visit(const struct proc *proc, void *context) {
    struct listing *listing = context;
    struct value row[NCOLUMNS];
    char command[256];
    bool socket = place_exists(proc);
    if (!socket && proc_has_library(proc->pid) != 1)
        return true;
    for (size_t i = 0; i < NCOLUMNS; i++)
        row[i] = value_null();
    proc_command(proc->pid, command, sizeof(command));
    row[PID] = value_integer(proc->pid);
    row[NAME] = value_text(proc->comm);
    row[COMMAND] = value_text(command);
    row[USER] = value_integer(proc->euid);
    if (socket)
        ask(proc, row);
    else
        row[SOCKET] = value_text("none");
    listing->nrows++;
    return output_row(listing->output, row);
}

static void visit_stale(const char *path, pid_t pid, void *context) {
    struct listing *listing = context;
    struct value row[NCOLUMNS];
    for (size_t i = 0; i < NCOLUMNS; i++)
        row[i] = value_null();
    row[PID] = value_integer(pid);
    row[SOCKET] = value_text("stale");
    row[COMMAND] = value_text(path);
    listing->nrows++;
    output_row(listing->output, row);
}

static enum status run(struct command_line *line) {
    struct failure failure;
    struct output_options options = line->output;
    if (!options.sort)
        options.sort = "live:desc";
    struct listing listing = {.output = output_open(&options, "ps", columns, NCOLUMNS, &failure)};
    if (!listing.output)
        return say_failure(&failure);
    proc_each(visit, &listing);
    place_each_stale(visit_stale, &listing);
    output_close(listing.output);
    if (listing.nrows == 0 && line->output.format == OUTPUT_TABLE && line->output.watch <= 0)
        say("no process runs under gomalloc; \"goinspect run -- COMMAND\" starts one, "
            "\"goinspect help\" says more");
    return STATUS_DONE;
}

const struct command command_verb_ps = {
    .name = "ps",
    .usage = "",
    .summary = "processes that can be asked; also goinspect alone",
    .details = "Root sees the processes of all users, also those in containers.",
    .examples = "  goinspect ps --watch\n"
                "  goinspect ps -o json | jq '.rows[].pid'\n",
    .takes = TAKES_FORMAT,
    .columns = columns,
    .ncolumns = NCOLUMNS,
    .run = run,
};
