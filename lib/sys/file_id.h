/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whether a descriptor is still the file that the library has opened.
 *
 * Where a thread of the library's shares the program's descriptor table, the program may close any
 * number and open something else under it.  So a descriptor that is kept over several calls is
 * asked what it is before it is read, and before it is closed.
 */
#ifndef GM_SYS_FILE_ID_H
#define GM_SYS_FILE_ID_H

#include "sys/compiler.h"

struct file_id {
    uint64_t dev;
    uint64_t ino;
};

/* file_id_of returns {0, 0}, which no file has, if fd is not open. */
struct file_id file_id_of(int fd);
bool file_id_same(struct file_id a, struct file_id b);

/* raw_close_own closes fd if it is still the file that it was. */
void raw_close_own(int fd, struct file_id id);

#endif
