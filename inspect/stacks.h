/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sites --stacks.
 */
#ifndef GOINSPECT_STACKS_H
#define GOINSPECT_STACKS_H

#include "view.h"

/* stacks_show prints each row of the query, over v1_site, with its call stack.  In a table the
 * stack stands under the row; elsewhere a row is one function on a stack. */
enum status stacks_show(const struct command_line *line, const struct target *target,
                        const struct view_query *query, struct failure *failure);

#endif
