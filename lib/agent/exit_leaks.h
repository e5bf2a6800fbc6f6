/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The image of a process that ends, with a leak check: leaks=on.
 */
#ifndef GM_AGENT_EXIT_LEAKS_H
#define GM_AGENT_EXIT_LEAKS_H

#include "agent/leak_now.h"

/* exit_leaks_write writes an image of all sections to fd, as image_write_file_by has it: arg is the
 * struct leak_caller of the thread that ends the program.  If no check can be made, a line on
 * standard error says so, and the image lacks it. */
int exit_leaks_write(void *arg, int fd, char *err, size_t errlen);

#endif
