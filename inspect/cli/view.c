/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a view of the database to rows.
 *
 * The columns of a verb name expressions over a v1_* view; the statement is put together from them,
 * so a verb is a table of columns and a few words of SQL.
 */
#include <stdlib.h>
#include <string.h>

#include "target/client.h"
#include "base/text.h"
#include "cli/view.h"

/* statement puts it together; only, if not NULL, says which values of query->key are wanted. */
static char *statement(const struct command *command, const struct view_query *query,
                       const struct output *output, const char *only) {
    char *sql = NULL;
    size_t size;
    FILE *out = open_memstream(&sql, &size);
    if (!out)
        return NULL;
    for (size_t i = 0; i < command->ncolumns; i++) {
        const struct column *column = &command->columns[i];
        const char *expression = column->sql ? column->sql : column->name;
        fprintf(out, "%s%s", i ? ", " : "SELECT ", output_wants(output, i) ? expression : "NULL");
    }
    fprintf(out, " FROM %s", query->from);
    if (!query->all_snapshots)
        fprintf(out, " WHERE snapshot_id = :snapshot");
    if (query->where)
        fprintf(out, " %s %s", query->all_snapshots ? "WHERE" : "AND", query->where);
    if (only)
        fprintf(out, " AND %s IN (%s)", query->key, only);
    if (query->order)
        fprintf(out, " ORDER BY %s", query->order);
    return fclose(out) == 0 ? sql : NULL;
}

static void bind_integer(sqlite3_stmt *stmt, const char *name, int64_t value) {
    int index = sqlite3_bind_parameter_index(stmt, name);
    if (index)
        sqlite3_bind_int64(stmt, index, value);
}

enum status view_prepare(const struct target *target, const char *sql,
                         const struct view_query *query, sqlite3_stmt **ret,
                         struct failure *failure) {
    if (!sql || sqlite3_prepare_v2(target->db, sql, -1, ret, NULL) != SQLITE_OK)
        return fail(failure, STATUS_FAILURE, "%s: %s", target->word, sqlite3_errmsg(target->db));
    bind_integer(*ret, ":snapshot", target->snapshot);
    for (size_t i = 0; query && i < query->nbindings; i++) {
        const struct view_binding *b = &query->bindings[i];
        int index = sqlite3_bind_parameter_index(*ret, b->name);
        if (!b->text)
            bind_integer(*ret, b->name, b->integer);
        else if (index)
            sqlite3_bind_text(*ret, index, b->text, -1, SQLITE_STATIC);
    }
    return STATUS_DONE;
}

void view_warn_full(const struct target *target, FILE *out) {
    struct failure failure;
    sqlite3_stmt *stmt = NULL;
    if (view_prepare(target,
                     "SELECT value FROM v1_counter WHERE snapshot_id = :snapshot"
                     " AND name = 'recorder.stack_table_full' AND value > 0",
                     NULL, &stmt, &failure) == STATUS_DONE &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        char n[TEXT_NUMBER_SIZE];
        text_count(n, sqlite3_column_int64(stmt, 0));
        fprintf(out, "The stack table was full (frames=): %s allocations have no stack.\n", n);
    }
    sqlite3_finalize(stmt);
}

static struct value column_value(sqlite3_stmt *stmt, int i) {
    struct value value = value_null();
    switch (sqlite3_column_type(stmt, i)) {
    case SQLITE_INTEGER:
        return value_integer(sqlite3_column_int64(stmt, i));
    case SQLITE_FLOAT:
        return value_real(sqlite3_column_double(stmt, i));
    case SQLITE_TEXT:
        value.type = VALUE_TEXT;
        value.bytes = (const char *)sqlite3_column_text(stmt, i);
        break;
    case SQLITE_BLOB:
        value.type = VALUE_BLOB;
        value.bytes = sqlite3_column_blob(stmt, i);
        break;
    }
    value.size = (size_t)sqlite3_column_bytes(stmt, i);
    if (!value.bytes && value.size == 0 && value.type != VALUE_NULL)
        value.bytes = "";
    return value;
}

enum status view_rows(sqlite3_stmt *stmt, struct output *output, size_t ncolumns,
                      struct failure *failure) {
    struct value *values = must_calloc(ncolumns, sizeof(*values));
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (size_t i = 0; i < ncolumns; i++)
            values[i] = column_value(stmt, (int)i);
        if (!output_row(output, values)) {
            step = SQLITE_DONE;
            break;
        }
    }
    free(values);
    if (step == SQLITE_DONE)
        return STATUS_DONE;
    return fail(failure, STATUS_FAILURE, "%s", sqlite3_errmsg(sqlite3_db_handle(stmt)));
}

/* apply_terminal_rows limits a table on a terminal to what is looked at; true if it did. */
static bool apply_terminal_rows(const struct command *command, struct output_options *options) {
    if (!command->terminal_rows || options->limit >= 0 || options->format != OUTPUT_TABLE ||
        !output_is_terminal(options))
        return false;
    options->limit = command->terminal_rows;
    return true;
}

#define MOST_KEYS 1000 /* for more rows, to look at all is as well */

/* first_keys returns the keys of the rows that will be printed, with commas, or NULL: all.  As a
 * list of numbers they reach the innermost query, which a subquery would not. */
static char *first_keys(const struct target *target, const struct view_query *query,
                        const struct output_options *options) {
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    if (!query->first || query->where || options->sort || options->limit < 0 ||
        options->limit > MOST_KEYS ||
        view_prepare(target, query->first, query, &stmt, &ignored) != STATUS_DONE)
        return NULL;
    bind_integer(stmt, ":limit", options->limit);
    sqlite3_str *keys = sqlite3_str_new(NULL);
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW)
        sqlite3_str_appendf(keys, "%s%lld", sqlite3_str_length(keys) ? "," : "",
                            sqlite3_column_int64(stmt, 0));
    sqlite3_finalize(stmt);
    char *list = sqlite3_str_finish(keys);
    if (step == SQLITE_DONE)
        return list;
    sqlite3_free(list);
    return NULL;
}

enum status view_show(const struct command_line *line, const struct target *target,
                      const struct view_query *query, struct failure *failure) {
    const struct command *command = line->command;
    struct output_options options = line->output;
    bool limited = apply_terminal_rows(command, &options);
    struct output *output =
        output_open(&options, command->name, command->columns, command->ncolumns, failure);
    if (!output)
        return failure->status;
    sqlite3_stmt *stmt = NULL;
    char *only = first_keys(target, query, &options);
    char *sql = statement(command, query, output, only);
    sqlite3_free(only);
    enum status status = view_prepare(target, sql, query, &stmt, failure);
    if (status == STATUS_DONE)
        status = view_rows(stmt, output, command->ncolumns, failure);
    sqlite3_finalize(stmt);
    free(sql);
    uint64_t nrows = output_close(output);
    if (status == STATUS_DONE && nrows == 0 && query->none && options.format == OUTPUT_TABLE &&
        options.limit != 0 && options.watch <= 0)
        say("%s", query->none);
    if (limited && nrows == (uint64_t)options.limit && options.watch <= 0)
        say("the first %d rows; --limit N shows more", command->terminal_rows);
    return status;
}

enum status view_show_as(const struct command_line *line, const struct target *target,
                         const struct column_list *list, int rows, const struct view_query *query,
                         struct failure *failure) {
    struct command command = *line->command;
    struct command_line as_if = *line;
    command.columns = list->columns;
    command.ncolumns = list->n;
    command.terminal_rows = rows;
    as_if.command = &command;
    return view_show(&as_if, target, query, failure);
}

enum status view_structures(const struct target *target, struct failure *failure) {
    static const char sql[] = "SELECT count(*) FROM mheap WHERE snapshot_id = :snapshot";
    struct failure ignored;
    sqlite3_stmt *stmt = NULL;
    /* A file of version 1 has no such table. */
    bool found = view_prepare(target, sql, NULL, &stmt, &ignored) == STATUS_DONE &&
                 sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_int64(stmt, 0) > 0;
    sqlite3_finalize(stmt);
    if (found)
        return STATUS_DONE;
    return fail(failure, STATUS_BAD_VERSION,
                "%s does not tell of caches, central lists and the scavenger: %s", target->word,
                target->kind == TARGET_PROCESS ? "its library is older than goinspect"
                                               : "it was made by an older library");
}

enum status view_class(const struct target *target, const char *word, int64_t *ret,
                       struct failure *failure) {
    static const char sql[] = "SELECT coalesce(min(size_class), 0) FROM size_class"
                              " WHERE snapshot_id = :snapshot AND bytes >= :bytes";
    uint64_t bytes;
    if (!text_parse_bytes(word, &bytes))
        return fail(failure, STATUS_USAGE,
                    "'%s' is neither a size class, 0 to 67, nor a size in bytes (96, 48B, 2k)",
                    word);
    bool number = word[strspn(word, "0123456789")] == '\0';
    *ret = (int64_t)bytes;
    if (number && bytes <= 67)
        return STATUS_DONE;
    struct view_binding binding = {":bytes", bytes ? (int64_t)bytes : 1, NULL};
    struct view_query query = {.bindings = &binding, .nbindings = 1};
    sqlite3_stmt *stmt = NULL;
    enum status status = view_prepare(target, sql, &query, &stmt, failure);
    if (status == STATUS_DONE)
        *ret = sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_finalize(stmt);
    return status;
}

const char *view_with(const struct target *target, const char *view, const char *column,
                      const char *otherwise) {
    sqlite3_stmt *stmt = NULL;
    char *sql = sqlite3_mprintf("SELECT %s FROM %s", column, view);
    bool has = sql && sqlite3_prepare_v2(target->db, sql, -1, &stmt, NULL) == SQLITE_OK;
    sqlite3_finalize(stmt);
    sqlite3_free(sql);
    return has ? view : otherwise;
}

/* names tells whether a list like that of --columns or --sort, or NULL, has the name. */
static bool names(const char *list, const char *name) {
    while (list && *list) {
        size_t n = strcspn(list, ",:");
        if (n == strlen(name) && strncasecmp(list, name, n) == 0)
            return true;
        list += n + (list[n] != '\0');
    }
    return false;
}

/* sections_for returns what a live process is asked for, that the columns can be shown. */
static uint64_t sections_for(const struct command_line *line) {
    const struct output_options *o = &line->output;
    for (size_t i = 0; i < line->command->ncolumns; i++) {
        const struct column *c = &line->command->columns[i];
        bool all = o->format != OUTPUT_TABLE && !o->columns;
        if ((c->flags & COLUMN_MEASURED) &&
            (all || names(o->columns, c->name) || names(o->sort, c->name)))
            return CLIENT_RESIDENT;
    }
    return TARGET_EVERYTHING;
}

enum status view_target(const struct command_line *line, struct target *ret,
                        struct failure *failure) {
    return view_target_asking(line, sections_for(line), ret, failure);
}

enum status view_target_asking(const struct command_line *line, uint64_t sections,
                               struct target *ret, struct failure *failure) {
    enum status status = target_open_asking(line->words[0], line->snapshot, sections, ret, failure);
    if (status == STATUS_DONE && line->wrappers && ret->kind == TARGET_DATABASE)
        say("%s keeps the sites as they were named when it was imported: --wrappers changes "
            "nothing; it does with goinspect import",
            ret->word);
    return status;
}

enum status view_run(struct command_line *line, const struct view_query *query) {
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    enum status status = view_target(line, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    status = view_show(line, &target, query, &failure);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}

enum status view_on_target(struct command_line *line,
                           enum status (*show)(const struct command_line *, const struct target *,
                                               struct failure *)) {
    struct target target;
    struct failure failure = {.status = STATUS_DONE};
    enum status status = view_target(line, &target, &failure);
    if (status != STATUS_DONE)
        return say_failure(&failure);
    status = show(line, &target, &failure);
    target_close(&target);
    return status == STATUS_DONE ? status : say_failure(&failure);
}
