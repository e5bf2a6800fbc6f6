/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect why: who points to an object, and who to that, up to a root.
 *
 * Only a process has the memory that pointers are in.  Of a file it can be said whether the object
 * had leaked when the file was made.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "report/leakask.h"
#include "report/leakcheck.h"
#include "base/text.h"
#include "cli/view.h"
#include "report/why.h"
#include "report/why_text.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct column columns[] = {
    {"role", NULL, KIND_TEXT, 0, "object: asked for; chain: leads to it; referrer: points to it"},
    {"step", NULL, KIND_NUMBER, 0, "in the chain, from the root, 0"},
    {"words", NULL, KIND_COUNT, 0,
     "that a referrer stands for; of the object: all that point to it"},
    {"kind", NULL, KIND_TEXT, 0,
     "of the object: reachable, ignored, direct leak, indirect leak; else object, or the kind of "
     "root"},
    {"address", NULL, KIND_ADDRESS, 0, "of the object, or of the root's word"},
    {"at", NULL, KIND_NUMBER, 0, "where in it the pointer stands that leads on"},
    {"size", NULL, KIND_BYTES, 0, "bytes given"},
    {"age", "age_s * 1000000000", KIND_DURATION, 0, "since its allocation"},
    {"what", "coalesce(place, function)", KIND_TEXT, COLUMN_CUT | COLUMN_WIDE,
     "the root, or the function that made the object"},
    {"callers", "CASE WHEN place IS NULL THEN " VIEW_CALLERS " END", KIND_TEXT,
     COLUMN_CUT | COLUMN_WIDE | COLUMN_OPTIONAL | COLUMN_LATE, "the next three functions outwards"},
    {"location", NULL, KIND_TEXT, COLUMN_CUT_LEFT | COLUMN_WIDE | COLUMN_OPTIONAL,
     "file:line, or module+offset"},
    {"requested", NULL, KIND_BYTES, COLUMN_EXTRA, "bytes asked for, if recorded"},
    {"leaked", NULL, KIND_NUMBER, COLUMN_EXTRA, "1: nothing leads to it"},
    {"site", "site_id", KIND_NUMBER, COLUMN_EXTRA, "number of the call stack, 0 = not recorded"},
    {"tid", NULL, KIND_NUMBER, COLUMN_EXTRA, "thread of a stack, register or variable"},
    {"thread", NULL, KIND_TEXT, COLUMN_EXTRA, "its name"},
    {"file", "CASE WHEN place IS NULL THEN file END", KIND_TEXT, COLUMN_EXTRA,
     "source file with its path"},
    {"line", "CASE WHEN place IS NULL THEN line END", KIND_NUMBER, COLUMN_EXTRA, "in this file"},
    {"module", "CASE WHEN place IS NULL THEN module END", KIND_TEXT, COLUMN_EXTRA,
     "program or library"},
    {"module_offset", "CASE WHEN place IS NULL THEN module_offset END", KIND_ADDRESS, COLUMN_EXTRA,
     "of the return address in its file"},
};

struct own {
    uint64_t ask; /* GOMALLOC_ASK_LEAK_* */
};

static const struct argp_option options[] = {LEAKASK_OPTIONS, {.name = NULL}};

static void option(struct command_line *line, int key, char *arg, struct argp_state *state) {
    struct own *own = line->own;
    (void)arg;
    (void)state;
    leakask_option(key, &own->ask);
}

/* parse_address reads an address as others print it. */
static enum status parse_address(const char *word, uint64_t *ret, struct failure *failure) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(word, &end, 0);
    if (word[0] < '0' || word[0] > '9' || *end || errno || n == 0 || n >> 47)
        return fail(failure, STATUS_USAGE, "'%s' is not an address such as 0xc000012340", word);
    *ret = n;
    return STATUS_DONE;
}

/* ---- a process ----------------------------------------------------------------------------- */

static enum status show_answer(const struct command_line *line, const struct target *target,
                               struct failure *failure) {
    const struct output_options *o = &line->output;
    const struct gomalloc_why *y = why_answer(target);
    if (!y)
        return fail(failure, STATUS_FAILURE, "%s: there is no answer", target->word);
    if (y->state > GOMALLOC_WHY_IGNORED)
        return why_no_object(target, failure);
    bool people = o->format == OUTPUT_TABLE && !o->columns && !o->sort && o->limit < 0;
    char *source = why_source(target);
    const struct view_query query = {.from = source, .order = "ord"};
    enum status status = people ? why_print(line, target, source, failure)
                                : view_show(line, target, &query, failure);
    free(source);
    if (status != STATUS_DONE)
        return status;
    if (o->watch <= 0)
        leakcheck_say_cost(target);
    return y->state == GOMALLOC_WHY_LEAKED ? STATUS_FINDINGS : STATUS_DONE;
}

/* ---- a file -------------------------------------------------------------------------------- */

#define LEAKS                                                                                      \
    "FROM v1_leak WHERE snapshot_id = :snapshot AND :address BETWEEN address_number"               \
    " AND address_number + size - 1"

static const char file_source[] =
    "(SELECT snapshot_id, 0 AS ord, 'object' AS role, NULL AS step, NULL AS words,"
    " kind || ' leak' AS kind, address_number AS address, :address - address_number AS at, size,"
    " requested, age_s, NULL AS place, function, location, 1 AS leaked, site_id, NULL AS tid,"
    " NULL AS thread, file, line, module, module_offset, stack_id, head " LEAKS ")";

/* is_leak tells whether the file knows the object as a leak; it looks up no names. */
static bool is_leak(const struct target *target, const struct view_query *query) {
    static const char sql[] = "SELECT 1 FROM leak WHERE snapshot_id = :snapshot"
                              " AND :address BETWEEN address AND address + size - 1";
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    bool found = view_prepare(target, sql, query, &stmt, &ignored) == STATUS_DONE &&
                 sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    return found;
}

static enum status print_leak(const struct command_line *line, const struct target *target,
                              const struct view_query *query, struct failure *failure) {
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(
        target,
        "SELECT address, kind, coalesce(requested, size), function, location, head, age_s " LEAKS,
        query, &stmt, failure);
    if (status == STATUS_DONE && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *address = (const char *)sqlite3_column_text(stmt, 0);
        const char *kind = (const char *)sqlite3_column_text(stmt, 1);
        char bytes[TEXT_NUMBER_SIZE], age[TEXT_NUMBER_SIZE] = "age not known";
        const char *text = (const char *)sqlite3_column_text(stmt, 3);
        char *function = text_clean(text ? text : "?", text ? strlen(text) : 1, text_utf8_locale());
        text_bytes_plain(bytes, (double)sqlite3_column_int64(stmt, 2));
        if (sqlite3_column_type(stmt, 6) != SQLITE_NULL)
            text_duration(age, sqlite3_column_int64(stmt, 6) * 1000000000);
        fprintf(line->output.out, "%s: had leaked (%s), %s, %s%s, from %s\n", address, kind, bytes,
                age, sqlite3_column_type(stmt, 6) != SQLITE_NULL ? " old" : "", function);
        if (strcmp(kind, "direct") != 0)
            fprintf(line->output.out, "It was lost with %s, which leads to it.\n",
                    (const char *)sqlite3_column_text(stmt, 5));
        free(function);
    }
    sqlite3_finalize(stmt);
    return status;
}

/* pid_of returns the process that a file is of, 0 if it does not say. */
static long long pid_of(const struct target *target) {
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    long long pid = 0;
    if (view_prepare(target, "SELECT pid FROM v1_snapshot WHERE snapshot_id = :snapshot", NULL,
                     &stmt, &ignored) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW)
        pid = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return pid;
}

static enum status show_file(const struct command_line *line, const struct target *target,
                             uint64_t address, struct failure *failure) {
    const struct view_binding binding = {":address", (int64_t)address, NULL};
    const struct view_query query = {
        .from = file_source, .order = "ord", .bindings = &binding, .nbindings = 1};
    struct failure ignored;
    bool checked = leakcheck_there(target, &ignored) == STATUS_DONE;
    if (!checked || !is_leak(target, &query))
        return fail(
            failure, STATUS_FAILURE,
            "%s tells of objects, not of what is in them, so it has no pointers to follow%s:"
            " ask the process while it runs, \"goinspect why %lld 0x%llx\"",
            target->word, checked ? ", and its leak check lists no leak at that address" : "",
            pid_of(target), (unsigned long long)address);
    bool people = line->output.format == OUTPUT_TABLE && !line->output.columns;
    enum status status = people ? print_leak(line, target, &query, failure)
                                : view_show(line, target, &query, failure);
    return status == STATUS_DONE ? STATUS_FINDINGS : status;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static enum status ask(const struct command_line *line, uint64_t address, struct failure *failure) {
    const struct own *own = line->own;
    struct target target;
    enum status status =
        target_open_why(line->words[0], line->snapshot, address | own->ask, &target, failure);
    if (status != STATUS_DONE)
        return status;
    status = target.kind == TARGET_PROCESS ? show_answer(line, &target, failure)
                                           : show_file(line, &target, address, failure);
    target_close(&target);
    return status;
}

static enum status run(struct command_line *line) {
    struct failure failure = {.status = STATUS_DONE};
    uint64_t address = 0;
    enum status status = parse_address(line->words[1], &address, &failure);
    if (status == STATUS_DONE)
        status = ask(line, address, &failure);
    return status == STATUS_DONE || status == STATUS_FINDINGS ? status : say_failure(&failure);
}

const struct command command_verb_why = {
    .name = "why",
    .usage = "TARGET ADDRESS",
    .summary = "who points to an object, and who to that, up to a root",
    .details = "One chain of pointers that leads to the object which ADDRESS lies in: from a\n"
               "variable if there is one, else from a stack or register, else from memory that\n"
               "the program has mapped; the shortest of these.  Then all words that point to it\n"
               "directly.  The process is stopped for about a millisecond, while a copy of it is\n"
               "made.  The exit status is 1 if nothing leads to the object: it has leaked.",
    .examples = "  goinspect why server 0xc000012340\n"
                "  goinspect why server 0xc000012340 -o json\n"
                "  goinspect leaks server --objects\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 2,
    .max_words = 2,
    .options = options,
    .option = option,
    .own_size = sizeof(struct own),
    .columns = columns,
    .ncolumns = COUNT(columns),
    .run = run,
};
