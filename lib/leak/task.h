/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel tells of a thread: /proc/self/task/TID.
 */
#ifndef GM_LEAK_TASK_H
#define GM_LEAK_TASK_H

#include "sys/compiler.h"

/* task_state returns the letter of its state: R, it runs or waits for a processor; S and so on; Z,
 * it is no more, or is a first thread that has ended before the others, which stays in the list, or
 * was never one of the program's; ' ', unknown.  `dir` is a descriptor of /proc/self/task. */
char task_state(int dir, uint32_t tid);

/* task_blocks tells whether it blocks the signal that stops threads.  What can't be read counts as
 * blocked: such a thread is not believed to stand still. */
bool task_blocks(int dir, uint32_t tid);

#endif
