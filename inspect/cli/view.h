/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a view of the database to rows: what nearly every verb does.
 */
#ifndef GOINSPECT_VIEW_H
#define GOINSPECT_VIEW_H

#include "cli/command.h"
#include "target/target.h"

struct view_binding {
    const char *name; /* ":class" */
    int64_t integer;
    const char *text; /* not NULL: this and not integer */
};

struct view_query {
    const char *from;  /* "v1_span" */
    const char *where; /* more than snapshot_id = :snapshot, or NULL */
    const char *order; /* or NULL */
    const struct view_binding *bindings;
    size_t nbindings;
    bool all_snapshots; /* no "snapshot_id = :snapshot" */
    /* Where a row is dear, as names are: a query of the values of column `key` in the first :limit
     * rows by `order`, which costs less than the rows themselves.  NULL: none. */
    const char *first, *key;
    const char *none; /* said on standard error where a table has no row; NULL: nothing is */
};

/* An expression over a row with a stack_id: callers.h. */
#define VIEW_CALLERS "callers(stack_id)"

/* The columns of a view that has names of call sites, and where these are. */
/* clang-format off */
#define VIEW_FUNCTION_COLUMNS                                                                      \
    {"function", NULL, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE | COLUMN_NAME,                          \
     "innermost one that is no wrapper of malloc"},                                                \
    {"callers", VIEW_CALLERS, KIND_TEXT, COLUMN_CUT | COLUMN_WIDE | COLUMN_OPTIONAL | COLUMN_LATE, \
     "the next three functions outwards"},                                                         \
    {"location", NULL, KIND_TEXT,                                                                  \
     COLUMN_CUT_LEFT | COLUMN_WIDE | COLUMN_OPTIONAL | COLUMN_LATE,                                \
     "file:line, or module+offset"}
#define VIEW_PLACE_COLUMNS                                                                         \
    {"file", NULL, KIND_TEXT, COLUMN_EXTRA, "source file with its path"},                          \
    {"line", NULL, KIND_NUMBER, COLUMN_EXTRA, "in this file"},                                     \
    {"module", NULL, KIND_TEXT, COLUMN_EXTRA, "program or library"},                               \
    {"module_offset", NULL, KIND_ADDRESS, COLUMN_EXTRA, "of the return address in its file"}
/* clang-format on */

/* view_show queries line->command's columns from target and prints the rows.  Returns STATUS_DONE
 * or *failure. */
enum status view_show(const struct command_line *line, const struct target *target,
                      const struct view_query *query, struct failure *failure);

/* view_show_as is view_show with other columns than the verb's own, and at most rows rows of a
 * table on a terminal (0 = all). */
enum status view_show_as(const struct command_line *line, const struct target *target,
                         const struct column_list *list, int rows, const struct view_query *query,
                         struct failure *failure);

/* view_structures checks that target tells of the allocator's structures, caches and the like:
 * STATUS_DONE or *failure. */
enum status view_structures(const struct target *target, struct failure *failure);

/* view_with returns the name of a view if it has the column, else what to read instead: a file of
 * an older version may not have it. */
const char *view_with(const struct target *target, const char *view, const char *column,
                      const char *otherwise);

/* view_class finds the size class that word names: its number, 0 to 67, or a size in bytes (68 and
 * more, or with a unit) that it serves. */
enum status view_class(const struct target *target, const char *word, int64_t *ret,
                       struct failure *failure);

/* view_rows prints the rows of a prepared statement whose columns are those of an output. */
enum status view_rows(sqlite3_stmt *stmt, struct output *output, size_t ncolumns,
                      struct failure *failure);

/* view_warn_full writes a line if the stack table of the program was full. */
void view_warn_full(const struct target *target, FILE *out);

/* view_prepare compiles a statement and binds what it names. */
enum status view_prepare(const struct target *target, const char *sql,
                         const struct view_query *query, sqlite3_stmt **ret,
                         struct failure *failure);

/* view_target opens the target that line's first word names. */
enum status view_target(const struct command_line *line, struct target *ret,
                        struct failure *failure);

/* view_target_asking is view_target, but a live process is asked for these sections. */
enum status view_target_asking(const struct command_line *line, uint64_t sections,
                               struct target *ret, struct failure *failure);

/* view_run is the whole of a plain verb: open the target, show the query, close, say a failure. */
enum status view_run(struct command_line *line, const struct view_query *query);

/* view_on_target is that of a verb that shows by a function of its own. */
enum status view_on_target(struct command_line *line,
                           enum status (*show)(const struct command_line *, const struct target *,
                                               struct failure *));

#endif
