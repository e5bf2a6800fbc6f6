/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Replacing a function that a loaded object imports.
 */
#ifndef GM_UNWIND_GOT_H
#define GM_UNWIND_GOT_H

#include <link.h>

#include "sys/compiler.h"

/* got_replace makes the object's calls of the imported function go to `to`; returns the number of
 * slots changed: 0 if the object does not import it, -1 if a slot can't be written or the object's
 * tables are not understood.  The object must have been loaded with RTLD_NOW. */
int got_replace(const struct link_map *map, const char *name, void *to);

#endif
