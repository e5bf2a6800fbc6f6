/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names that are too long for a terminal.
 */
#ifndef GOINSPECT_ELIDE_H
#define GOINSPECT_ELIDE_H

#include <stddef.h>

/* elide_name returns a clean name in at most width cells (0: any number), to be freed, with a mark
 * wherever something is missing: first within <> and (), then in the middle.  What a function is
 * called stays. */
char *elide_name(const char *name, size_t width);

/* elide_end and elide_begin do so by cutting the end, or the beginning, of a text off. */
char *elide_end(const char *text, size_t width);
char *elide_begin(const char *text, size_t width);

#endif
