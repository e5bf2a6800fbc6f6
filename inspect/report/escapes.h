/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect escape for people: a line a site as compilers print it, and all that is known of one.
 */
#ifndef GOINSPECT_ESCAPES_H
#define GOINSPECT_ESCAPES_H

#include "cli/view.h"

/* escapes_lines prints a line for each site of query, whose view is v1_escape, at most limit of
 * them (-1 = all); *ret_more says whether there were more. */
enum status escapes_lines(const struct command_line *line, const struct target *target,
                          const struct view_query *query, int64_t limit, bool *ret_more,
                          struct failure *failure);

/* escapes_site prints all that is known of one site; *ret_found: it is there. */
enum status escapes_site(const struct command_line *line, const struct target *target, int64_t site,
                         bool *ret_found, struct failure *failure);

#endif
