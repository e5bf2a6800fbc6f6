/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The user's directory of what goinspect could find out again.
 */
#ifndef GOINSPECT_CACHEDIR_H
#define GOINSPECT_CACHEDIR_H

#include <stdbool.h>

#define CACHEDIR_SUFFIX ".names" /* of the files that may be deleted there */

/* cachedir_path returns $XDG_CACHE_HOME/goinspect, or that below ~/.cache, to be freed; NULL if the
 * user has no such place, or it is another user's. */
char *cachedir_path(void);

/* cachedir_make makes the directory; false if there is none then. */
bool cachedir_make(void);

/* cachedir_trim deletes files, those that were used longest ago first, until the rest is small. */
void cachedir_trim(void);

#endif
