/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Executing another program (exec.c).
 */
#ifndef GM_API_EXEC_H
#define GM_API_EXEC_H

/* exec_init finds libc's functions.  From the constructor. */
void exec_init(void);

/* exec_fork_child: this is another process now. */
void exec_fork_child(void);

#endif
