/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An image with a leak check: the check is made in a copy of the process, and the copy writes the
 * image.
 */
#ifndef GM_AGENT_AGENT_LEAKS_H
#define GM_AGENT_AGENT_LEAKS_H

#include "sys/compiler.h"

/* agent_leak_image has an image with the sections written to fd, as image_write_fd; `ask` also says
 * how the check is made (GOMALLOC_ASK_LEAK_*).  why: an address, then the image says why what is
 * there lives; 0: it says what has leaked.  meanwhile(arg, fd) is called while the copy works: it
 * returns when fd can be read, or after some time; false: nobody waits for the image any more, and
 * the copy is ended.  From the agent's thread.  0, or a negative errno with one line in err that
 * says what can be done. */
int agent_leak_image(int fd, uint64_t ask, uintptr_t why, bool (*meanwhile)(void *arg, int fd),
                     void *arg, char *err, size_t errlen);

#endif
