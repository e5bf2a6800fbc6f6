/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The image of a process that ends: option exit=PATH.
 */
#ifndef GM_AGENT_EXIT_REPORT_H
#define GM_AGENT_EXIT_REPORT_H

#include "sys/compiler.h"

/* exit_claim_root notes who was started with exit=, in the environment (GOMALLOC_ROOT=PID), so that
 * a descendant, forked or exec'd, does not overwrite its ancestor's file.  From the constructor, if
 * exit= is given; allocates (setenv). */
void exit_claim_root(void);

/* exit_image writes the image of this process to the path that the template stands for: %p pid,
 * %h host, %t seconds since 1970, %% a percent sign.  A path that ends in ".db" is an SQLite
 * database: goinspect imports the image into it, and if it cannot, the image stays beside it.  A
 * descendant whose template has no %p gets ".PID" before the suffix, except for a database, which
 * takes them all.  0, or a negative errno after one line on stderr. */
int exit_image(const char *template);

#endif
