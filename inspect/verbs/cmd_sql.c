/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect sql: any question at all, to a live process too.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "target/client.h"
#include "cli/view.h"

/* read_all reads standard input to its end. */
static char *read_all(void) {
    size_t size = 0, room = 4096;
    char *text = must_calloc(room, 1);
    if (isatty(STDIN_FILENO))
        say("reading a statement; ^D ends it");
    for (size_t n; (n = fread(text + size, 1, room - size - 1, stdin)) > 0;) {
        size += n;
        if (size + 1 == room)
            text = must_realloc(text, room *= 2, 1);
    }
    text[size] = '\0';
    return text;
}

/* columns_of makes the column table of whatever a statement yields; the names are stmt's. */
static struct column *columns_of(sqlite3_stmt *stmt, size_t n) {
    struct column *columns = must_calloc(n, sizeof(*columns));
    for (size_t i = 0; i < n; i++) {
        columns[i].name = sqlite3_column_name(stmt, (int)i);
        columns[i].kind = KIND_ANY;
        columns[i].flags = COLUMN_CUT;
    }
    return columns;
}

static enum status run_statement(const struct command_line *line, sqlite3_stmt *stmt,
                                 struct failure *failure) {
    size_t n = (size_t)sqlite3_column_count(stmt);
    if (!sqlite3_stmt_readonly(stmt) || n == 0)
        return fail(failure, STATUS_FAILURE, "only statements that read are run");
    struct column *columns = columns_of(stmt, n);
    struct output *output = output_open(&line->output, "sql", columns, n, failure);
    enum status status = failure->status;
    if (output) {
        status = view_rows(stmt, output, n, failure);
        output_close(output);
    }
    free(columns);
    return status;
}

/* reads_objects says whether a statement over a snapshot file reads the table object. */
static bool reads_objects(sqlite3 *db, const char *sql) {
    sqlite3_stmt *table = NULL, *plan = NULL;
    int64_t root = 0;
    bool found = false;
    char *explain = must_format("EXPLAIN %s", sql);
    if (sqlite3_prepare_v2(db, "SELECT rootpage FROM sqlite_schema WHERE name = 'object'", -1,
                           &table, NULL) == SQLITE_OK &&
        sqlite3_step(table) == SQLITE_ROW)
        root = sqlite3_column_int64(table, 0);
    if (root > 0 && sqlite3_prepare_v2(db, explain, -1, &plan, NULL) == SQLITE_OK)
        while (!found && sqlite3_step(plan) == SQLITE_ROW) /* addr, opcode, p1, p2, ... */
            found = sqlite3_stricmp((const char *)sqlite3_column_text(plan, 1), "OpenRead") == 0 &&
                    sqlite3_column_int64(plan, 3) == root;
    sqlite3_finalize(table);
    sqlite3_finalize(plan);
    free(explain);
    return found;
}

/* tell_objects says which snapshots of the file have fewer rows of object than live objects. */
static void tell_objects(sqlite3 *db) {
    static const char sql[] =
        "SELECT printf('of snapshot %d%s %s', min(snapshot_id),"
        " CASE count(*) WHEN 1 THEN '' ELSE printf(' and %d more', count(*) - 1) END,"
        " CASE stored_objects WHEN 'none' THEN 'no live objects are stored one by one"
        " (--objects none): v1_object has no rows of it'"
        " WHEN 'leaked' THEN 'only leaked objects are stored one by one (--objects leaked)'"
        " ELSE 'a sample of the live objects is stored: sum(weight) estimates how many' END)"
        " FROM snapshot WHERE stored_objects IN ('none', 'leaked', 'sample')"
        " GROUP BY stored_objects ORDER BY 1";
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK)
        while (sqlite3_step(stmt) == SQLITE_ROW)
            say("%s", (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
}

static enum status run_sql(const struct command_line *line, const struct target *target,
                           const char *sql, struct failure *failure) {
    sqlite3_stmt *stmt = NULL, *second = NULL;
    const char *tail = "";
    if (sqlite3_prepare_v2(target->db, sql, -1, &stmt, &tail) != SQLITE_OK)
        return fail(failure, STATUS_FAILURE, "sql: %s", sqlite3_errmsg(target->db));
    if (!stmt)
        return fail(failure, STATUS_USAGE, "sql: no statement; try \"SELECT * FROM v1_status\"");
    /* what follows may be blanks and comments only */
    sqlite3_prepare_v2(target->db, tail, -1, &second, NULL);
    bool more = second || sqlite3_errcode(target->db) != SQLITE_OK;
    sqlite3_finalize(second);
    int index = sqlite3_bind_parameter_index(stmt, ":snapshot");
    if (index)
        sqlite3_bind_int64(stmt, index, target->snapshot);
    enum status status = more ? fail(failure, STATUS_USAGE, "sql: one statement at a time")
                              : run_statement(line, stmt, failure);
    sqlite3_finalize(stmt);
    if (status == STATUS_DONE && target->kind == TARGET_DATABASE && reads_objects(target->db, sql))
        tell_objects(target->db);
    return status;
}

/* The tables and views of leak checks. */
static const char *const leak_names[] = {"leak",    "leak_check",   "leak_site",     "root",
                                         "v1_leak", "v1_leak_site", "v1_leak_check", "v1_root"};

/* names tells whether a statement has one of n names in it, outside of quotes. */
static bool names(const char *sql, const char *const *list, size_t n) {
    for (const char *p = sql; *p;) {
        size_t length =
            strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        for (size_t i = 0; i < n; i++)
            if (strlen(list[i]) == length && strncasecmp(p, list[i], length) == 0)
                return true;
        p += length;
        if (*p == '\'')
            p += 1 + strcspn(p + 1, "'");
        p += *p != '\0';
    }
    return false;
}

/* sections_for returns what a live process is asked for.  What it makes only when asked for it by
 * name is asked for if the statement names its tables, or columns that it is needed for; a leak
 * check is of a copy of the process, which does not tell what is resident. */
static uint64_t sections_for(const char *sql) {
    if (names(sql, leak_names, sizeof(leak_names) / sizeof(*leak_names)))
        return (CLIENT_RESIDENT | CLIENT_LEAKS) & ~(UINT64_C(1) << GOMALLOC_SECTION_RESIDENT);
    bool pages = strcasestr(sql, "resident") || strcasestr(sql, "swapped") ||
                 strcasestr(sql, "huge") || strcasestr(sql, "fragmentation") ||
                 strcasestr(sql, "backing");
    return pages ? CLIENT_RESIDENT : TARGET_EVERYTHING;
}

static enum status run(struct command_line *line) {
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    char *sql = line->nwords > 1 ? must_dup(line->words[1]) : read_all();
    enum status status = view_target_asking(line, sections_for(sql), &target, &failure);
    if (status == STATUS_DONE) {
        status = run_sql(line, &target, sql, &failure);
        target_close(&target);
    }
    free(sql);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

const struct command command_verb_sql = {
    .name = "sql",
    .usage = "TARGET [STATEMENT]",
    .summary = "an SQL query, from the command line or standard input",
    .details = "The tables and v1_* views are those of gomalloc-schema(5), over a live process\n"
               "and an image as well as in a FILE.db.  :snapshot is the number chosen by\n"
               "--snapshot.  SELECT name FROM sqlite_schema WHERE name LIKE 'v1_%' lists the\n"
               "views.  A live process looks for leaks, or at what is resident, if the statement\n"
               "names a table or view of these.",
    .examples = "  goinspect sql redis-server \"SELECT function, sum(live_bytes) FROM v1_site "
                "GROUP BY 1\"\n"
                "  goinspect sql heap.db \"SELECT * FROM v1_snapshot\" -o csv\n"
                "  goinspect sql 1234 <query.sql\n",
    .takes = TAKES_FORMAT | TAKES_SNAPSHOT | TAKES_WRAPPERS,
    .min_words = 1,
    .max_words = 2,
    .run = run,
};
