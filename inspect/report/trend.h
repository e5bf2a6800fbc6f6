/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sites --growth: which call stacks grow, by the history that the process keeps of itself.
 */
#ifndef GOINSPECT_TREND_H
#define GOINSPECT_TREND_H

#include "cli/view.h"

enum trend_rows { TREND_NONE, TREND_GROWING, TREND_ALL };

#define TREND_DETAILS                                                                              \
    "--growth reads the history that the library keeps: what each site held at ticks\n"            \
    "of the past, every minute unless GOMALLOC=interval= says otherwise.  A site\n"                \
    "grows if it has gained more than three times what samples err by, and if of\n"                \
    "all pairs of ticks the later is the higher one more often than chance would\n"                \
    "have it (2.5 standard deviations, hence 6 ticks at least).  per_hour is the\n"                \
    "median of the slopes of all pairs, so a peak or a start-up does not count."

extern const struct column_list trend_lists[];

/* trend_show prints the sites that grow, or all that are followed, or only that one (0: all). */
enum status trend_show(const struct command_line *line, const struct target *target,
                       enum trend_rows rows, int64_t site, struct failure *failure);

#endif
