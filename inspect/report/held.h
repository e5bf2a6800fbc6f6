/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leaks --stack-held: what words on stacks and in registers alone keep.
 */
#ifndef GOINSPECT_HELD_H
#define GOINSPECT_HELD_H

#include "cli/view.h"

/* The columns of its rows, for --help. */
#define HELD_COLUMNS 18
extern const struct column held_columns[HELD_COLUMNS];

/* held_show prints the rows, at most so many on a terminal (0 = all). */
enum status held_show(const struct command_line *line, const struct target *target, int rows,
                      struct failure *failure);

/* held_say says on standard error what they come to; listed: the rows were shown. */
void held_say(const struct target *target, bool listed);

#endif
