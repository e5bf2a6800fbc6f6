/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a process's socket is.
 */
#ifndef GOINSPECT_PLACE_H
#define GOINSPECT_PLACE_H

#include <sys/types.h>

#include "target/proc.h"
#include "base/say.h"

struct place {
    int dir;         /* O_PATH descriptor of the directory, -1 = not found */
    char name[32];   /* of the socket in it: "1234.sock" */
    char path[4096]; /* the whole, for people */
    uid_t owner;     /* of the socket */
};

/*
 * place_find looks for the socket of a process: where the process's own environment says, where
 * ours says, and in the usual places, as the process sees them and as we do.  STATUS_DONE with
 * *ret, whose dir the caller closes; or *failure: STATUS_NO_TARGET (no library, no socket),
 * STATUS_FORBIDDEN (another user's process or socket).  Until the process is `young` seconds old
 * it is waited for the socket, which the library's own thread makes soon after the start; for the
 * library, which comes sooner, a quarter of that.
 */
enum status place_find(const struct proc *proc, double young, struct place *ret,
                       struct failure *failure);

/* place_exists is place_find without a word: whether there is a socket at all. */
bool place_exists(const struct proc *proc);

/* place_each_stale calls visit for each socket in our own directories whose process has ended. */
void place_each_stale(void (*visit)(const char *path, pid_t pid, void *context), void *context);

#endif
