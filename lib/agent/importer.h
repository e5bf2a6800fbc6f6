/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect, run by the library to put an image into a database.
 */
#ifndef GM_AGENT_IMPORTER_H
#define GM_AGENT_IMPORTER_H

#include "sys/fmt.h"

/* importer_find returns what to execute: as $GOMALLOC_GOINSPECT tells, beside the library, or a
 * name to be looked up in $PATH.  f: room for a path. */
const char *importer_find(struct fmt *f);

/* importer_prepare finds it now, for importer_exec and importer_start, which can't look for it: in
 * the constructor.  keep: snapshots that stay in the database, 0: all. */
void importer_prepare(uint64_t keep);

/* importer_exec becomes the importer, which puts the image into the database and removes it.  For a
 * copy of the process; returns only if that can't be. */
void importer_exec(const char *image, const char *database);

/* importer_start starts it so that the program does not see it; 0 or a negative errno, -EBUSY: one
 * is at work.  importer_has_ended tells whether none is.  For the agent's thread. */
int importer_start(const char *image, const char *database);
bool importer_has_ended(void);

/* importer_fork_child: what is at work is the parent's. */
void importer_fork_child(void);

#endif
