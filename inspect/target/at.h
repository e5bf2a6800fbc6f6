/* SPDX-License-Identifier: BSD-3-Clause
 *
 * FILE.db@N: a snapshot of a file in one word, where a command line names two.
 */
#ifndef GOINSPECT_AT_H
#define GOINSPECT_AT_H

#include <stdbool.h>

/* at_split takes FILE@N, FILE@first or FILE@latest apart, unless there is a file of the whole name:
 * *ret_file is to be freed, *ret_snapshot lies within word.  false: word is nothing of the kind. */
bool at_split(const char *word, char **ret_file, const char **ret_snapshot);

#endif
