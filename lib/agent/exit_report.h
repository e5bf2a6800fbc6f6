/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The image of a process that ends: option exit=PATH.
 */
#ifndef GM_AGENT_EXIT_REPORT_H
#define GM_AGENT_EXIT_REPORT_H

#include "sys/compiler.h"

/* exit_image writes the image of this process to the path that the template stands for
 * (image_path.h).  A path that ends in ".db" is an SQLite database: goinspect imports the image
 * into it, and if it cannot, the image stays beside it.  With caller the image has a leak check,
 * made from there.  0, or a negative errno after one line on stderr. */
struct leak_caller;
int exit_image(const char *template, struct leak_caller *caller);

#endif
