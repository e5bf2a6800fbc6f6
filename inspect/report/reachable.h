/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leaks --reachable: what is alive and no leak, by call site.
 */
#ifndef GOINSPECT_REACHABLE_H
#define GOINSPECT_REACHABLE_H

#include "cli/view.h"

/* The columns of its rows, for --help. */
#define REACHABLE_COLUMNS 13
extern const struct column reachable_columns[REACHABLE_COLUMNS];

/* reachable_show prints the rows, at most so many on a terminal (0 = all), and says on standard
 * error what they come to. */
enum status reachable_show(const struct command_line *line, const struct target *target, int rows,
                           struct failure *failure);

#endif
