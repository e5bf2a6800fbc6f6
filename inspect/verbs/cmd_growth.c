/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect growth: which call sites hold more in one snapshot of a file than in another.
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/view.h"

static const struct column columns[] = {
    {"grown", "grown_bytes", KIND_BYTES, 0, "live bytes in B less those in A"},
    {"grown_objects", NULL, KIND_COUNT, COLUMN_OPTIONAL, "the same in objects"},
    {"live", "live_bytes_b", KIND_BYTES, COLUMN_OPTIONAL, "live bytes in B"},
    {"objects", "live_objects_b", KIND_COUNT, COLUMN_OPTIONAL, "live objects in B"},
    {"function", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE,
     "innermost one that is not malloc's or new's own"},
    {"callers", VIEW_CALLERS, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE | COLUMN_OPTIONAL | COLUMN_LATE,
     "the next three functions outwards"},
    {"location", NULL, KIND_TEXT, COLUMN_CUT_LEFT | COLUMN_WIDE | COLUMN_OPTIONAL,
     "file:line, or module+offset"},
    {"live_before", "live_bytes_a", KIND_BYTES, COLUMN_EXTRA, "live bytes in A"},
    {"objects_before", "live_objects_a", KIND_COUNT, COLUMN_EXTRA, "live objects in A"},
    {"total", "alloc_bytes", KIND_BYTES, COLUMN_EXTRA, "bytes asked for from A to B"},
    {"total_objects", "alloc_objects", KIND_COUNT, COLUMN_EXTRA, "objects asked for from A to B"},
    VIEW_PLACE_COLUMNS,
    {"site_a", NULL, KIND_NUMBER, COLUMN_EXTRA, "number of the call stack in A"},
    {"site_b", NULL, KIND_NUMBER, COLUMN_EXTRA, "and in B"},
    {"snapshot_a", NULL, KIND_NUMBER, COLUMN_EXTRA, "A"},
    {"snapshot_b", NULL, KIND_NUMBER, COLUMN_EXTRA, "B"},
};

struct pair {
    int64_t a, b;
};

/* previous_of returns the snapshot before b of the same process, else the one before b at all;
 * 0 if there is none. */
static int64_t previous_of(const struct target *target, int64_t b) {
    static const char sql[] =
        "SELECT a.snapshot_id FROM v1_snapshot b, v1_snapshot a WHERE b.snapshot_id = :snapshot "
        "AND a.snapshot_id <> b.snapshot_id AND a.captured_ns <= b.captured_ns "
        "ORDER BY a.process_id = b.process_id DESC, a.captured_ns DESC, a.snapshot_id DESC LIMIT 1";
    struct target at_b = *target;
    struct failure failure;
    sqlite3_stmt *stmt = NULL;
    int64_t previous = 0;
    at_b.snapshot = b;
    if (view_prepare(&at_b, sql, NULL, &stmt, &failure) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW)
        previous = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return previous;
}

/* number_of sets *ret to the snapshot of the file that word chooses, as --snapshot does. */
static enum status number_of(const char *file, const char *word, int64_t *ret,
                             struct failure *failure) {
    struct target target;
    char *end;
    if (strcmp(word, "first") != 0 && strcmp(word, "latest") != 0 &&
        (strtoll(word, &end, 10) <= 0 || *end))
        return fail(failure, STATUS_USAGE, "'%s' is not the number of a snapshot", word);
    enum status status = target_open(file, word, &target, failure);
    if (status == STATUS_DONE) {
        *ret = target.snapshot;
        target_close(&target);
    }
    return status;
}

static enum status choose(const struct command_line *line, const struct target *target,
                          struct pair *ret, struct failure *failure) {
    enum status status = STATUS_DONE;
    ret->b = target->snapshot;
    if (line->nwords > 2)
        status = number_of(line->words[0], line->words[2], &ret->b, failure);
    if (status == STATUS_DONE && line->nwords > 1)
        return number_of(line->words[0], line->words[1], &ret->a, failure);
    if (status != STATUS_DONE)
        return status;
    ret->a = previous_of(target, ret->b);
    if (ret->a == 0)
        return fail(failure, STATUS_NO_TARGET,
                    "%s holds one snapshot only; add another with \"goinspect snapshot PID -o %s\"",
                    line->words[0], line->words[0]);
    return STATUS_DONE;
}

/* moment_of writes when a snapshot was taken, in local time. */
static void moment_of(const struct target *target, int64_t snapshot, char *buf) {
    struct target at = *target;
    struct failure failure;
    sqlite3_stmt *stmt = NULL;
    at.snapshot = snapshot;
    strcpy(buf, "?");
    if (view_prepare(&at, "SELECT captured_ns FROM v1_snapshot WHERE snapshot_id = :snapshot", NULL,
                     &stmt, &failure) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW)
        text_moment(buf, sqlite3_column_int64(stmt, 0));
    sqlite3_finalize(stmt);
}

static enum status show(const struct command_line *line, const struct target *target,
                        struct failure *failure) {
    struct pair pair = {0, 0};
    enum status status = choose(line, target, &pair, failure);
    if (status != STATUS_DONE)
        return status;
    if (line->output.format == OUTPUT_TABLE && !line->output.no_header) {
        char a[TEXT_NUMBER_SIZE], b[TEXT_NUMBER_SIZE];
        moment_of(target, pair.a, a);
        moment_of(target, pair.b, b);
        fprintf(line->output.out, "From snapshot %lld, %s\n  to snapshot %lld, %s\n\n",
                (long long)pair.a, a, (long long)pair.b, b);
    }
    const struct view_binding bindings[] = {{":a", pair.a, NULL}, {":b", pair.b, NULL}};
    return view_show(line, target,
                     &(struct view_query){.from = "v1_site_growth",
                                          .where = "snapshot_a = :a AND snapshot_b = :b AND "
                                                   "(grown_bytes <> 0 OR grown_objects <> 0)",
                                          .order = "grown_bytes DESC, grown_objects DESC",
                                          .bindings = bindings,
                                          .nbindings = 2,
                                          .all_snapshots = true,
                                          .none = "no call site holds more, or less"},
                     failure);
}

static enum status run(struct command_line *line) {
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    enum status status = target_open(line->words[0], NULL, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    if (target.kind == TARGET_DATABASE)
        status = show(line, &target, &failure);
    else
        status = fail(&failure, STATUS_USAGE,
                      "growth compares two snapshots of one FILE.db; \"goinspect snapshot %s -o "
                      "FILE.db\" adds one",
                      line->words[0]);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_growth = {
    .name = "growth",
    .usage = "FILE.db [A [B]]",
    .summary = "call sites that hold more in snapshot B than in A",
    .details = "B is the latest snapshot unless given, A the one before it of the same\n"
               "process.  Call sites are matched by module and offset, so A and B may be\n"
               "of two runs.",
    .examples = "  goinspect snapshot 1234 -o heap.db\n"
                "  goinspect snapshot 1234 -o heap.db\n"
                "  goinspect growth heap.db --limit 10\n",
    .takes = TAKES_FORMAT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 3,
    .terminal_rows = 25,
    .columns = columns,
    .ncolumns = sizeof(columns) / sizeof(*columns),
    .run = run,
};
