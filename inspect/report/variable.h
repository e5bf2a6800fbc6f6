/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names for places in data: which variable of which program or library an address is in.
 */
#ifndef GOINSPECT_VARIABLE_H
#define GOINSPECT_VARIABLE_H

#include "image/image.h"

struct variables;

/* variables_new names places of the process that an image is of, which must outlive it. */
struct variables *variables_new(const struct image *im);
void variables_free(struct variables *v); /* NULL is allowed */

/* variable_text returns text for people, to be freed: "cache+0x10 (redis-server .bss)", or
 * "libc.so.6 .bss+0x4310" where no name is known; NULL: address is not in data of a file. */
char *variable_text(struct variables *v, uint64_t address);

/* variable_thread_text returns the name of the thread-local variable of the program that lies
 * `before` bytes below a thread's pointer: "current+0x8 (redis-server)"; to be freed; NULL: not
 * known. */
char *variable_thread_text(struct variables *v, uint64_t before);

#endif
