/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A bar on standard error, if that is a terminal and it takes long.
 */
#ifndef GOINSPECT_PROGRESS_H
#define GOINSPECT_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

/* progress_show says how much is done of what; the bar appears after half a second of it. */
void progress_show(const char *what, size_t done, size_t total);

/* progress_wait says what is waited for, and for how long by now, if nobody knows how much is left.
 */
void progress_wait(const char *what);

/* progress_line shows a line at once, in place of the last one, cut to the terminal. */
void progress_line(const char *line);

/* progress_visible tells whether standard error is a terminal that lines can be painted on. */
bool progress_visible(void);

/* progress_clear removes the bar; whoever writes to the terminal calls it before. */
void progress_clear(void);

/* progress_end removes it, and the next one has half a second again. */
void progress_end(void);

#endif
