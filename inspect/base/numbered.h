/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Files of a name with a number in it: heap-%n.gmi is heap-1.gmi, heap-2.gmi and so on.
 */
#ifndef GOINSPECT_NUMBERED_H
#define GOINSPECT_NUMBERED_H

#include <stdbool.h>
#include <stdint.h>

/* numbered_is tells whether the last part of the path has a %n. */
bool numbered_is(const char *path);

/* numbered_next returns the name, to be freed, whose number is one above the highest that is there;
 * *ret_number is that number. */
char *numbered_next(const char *path, int64_t *ret_number);

/* numbered_keep deletes those of the lowest numbers, all but `keep` of them; returns how many. */
int64_t numbered_keep(const char *path, int64_t keep);

#endif
