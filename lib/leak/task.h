/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel tells of a thread: /proc/self/task/TID.
 */
#ifndef GM_LEAK_TASK_H
#define GM_LEAK_TASK_H

#include "sys/compiler.h"

/* task_read reads a file of the thread's, whose name begins with '/', and ends it by a zero byte;
 * returns the bytes, or a negative errno.  `dir` is a descriptor of /proc/self/task. */
long task_read(int dir, uint32_t tid, const char *file, char *text, size_t cap);

/* task_state returns the letter of its state: R, it runs or waits for a processor; S and so on; Z,
 * it is no more, or will run no instruction of the program's again, or is a first thread that has
 * ended before the others, which stays in the list, or was never one of the program's; ' ',
 * unknown. */
char task_state(int dir, uint32_t tid);

static inline bool task_has_ended(int dir, uint32_t tid) {
    return task_state(dir, tid) == 'Z';
}

/* task_blocks tells whether it blocks the signal that stops threads.  What can't be read counts as
 * blocked: such a thread is not believed to stand still. */
bool task_blocks(int dir, uint32_t tid);

/* task_hex returns the number that a text begins with, with or without 0x, in small digits. */
uint64_t task_hex(const char *s);

#endif
