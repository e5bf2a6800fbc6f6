/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why an object lives, for people: a sentence, the chain, and who points to it.
 */
#ifndef GOINSPECT_WHY_TEXT_H
#define GOINSPECT_WHY_TEXT_H

#include "cli/command.h"
#include "target/target.h"

/* why_print writes the rows of a source (why_source) as text. */
enum status why_print(const struct command_line *line, const struct target *target,
                      const char *source, struct failure *failure);

#endif
