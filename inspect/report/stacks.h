/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sites --stacks, leaks --stacks.
 */
#ifndef GOINSPECT_STACKS_H
#define GOINSPECT_STACKS_H

#include "cli/view.h"

/* What is said of a stack, beside its functions. */
struct stacks_figures {
    const struct column *columns; /* the first is the site; at most STACKS_MOST_FIGURES */
    size_t n;
    /* heading writes a line for people, from a row that begins with these columns. */
    void (*heading)(const struct command_line *line, sqlite3_stmt *row);
};
#define STACKS_MOST_FIGURES 8

extern const struct stacks_figures stacks_of_sites; /* over v1_site */

/* stacks_show prints each row of the query with its call stack.  In a table the stack stands under
 * the row; elsewhere a row is one function on a stack.  The query's rows have site_id, function,
 * truncated and stopped, too. */
enum status stacks_show(const struct command_line *line, const struct target *target,
                        const struct stacks_figures *figures, const struct view_query *query,
                        struct failure *failure);

/* stacks_bytes writes a size for a heading. */
void stacks_bytes(const struct command_line *line, char *buf, size_t size, sqlite3_int64 bytes);

#endif
