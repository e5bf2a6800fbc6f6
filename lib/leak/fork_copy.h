/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A copy of the process, to be looked at in peace.
 *
 * The copy shares all pages with the process until one of the two writes to them.  Making it takes
 * as long as copying the page tables; what is done in it takes none of the process's time.  It is a
 * child that the program does not notice: no handlers of fork run, no signal is sent at its end,
 * and wait() does not find it (but for callers that ask for all children, __WALL).
 *
 * In the copy there is one thread, the one that made it, and any lock may be held for ever by one
 * that is not there.  So what runs there makes system calls and reads memory; it may write to the
 * memory, which is its own.  It has no descriptor but those it is given, is killed when the thread
 * that made it ends, and asks to be killed first when memory runs out.
 */
#ifndef GM_LEAK_FORK_COPY_H
#define GM_LEAK_FORK_COPY_H

#include <stdatomic.h>

#include "sys/file_id.h"

struct fork_copy {
    int pid; /* 0: none */
    int fd;  /* what the copy writes can be read here, up to an end of file; -1: closed */
    /* Which pipe that is: a program whose descriptor table this is may close any number. */
    struct file_id id;
};

/* What happened to a copy. */
enum fork_copy_end {
    FORK_COPY_DONE,   /* run returned: status is its result, 0 .. 255 */
    FORK_COPY_KILLED, /* by a signal: status */
    FORK_COPY_LOST    /* somebody else has waited for it */
};

struct fork_copy_job {
    int (*run)(void *arg, int fd); /* with a pipe to write to; its result is the copy's */
    void (*at_once)(void *arg);    /* done in the copy before it waits; NULL: nothing */
    void *arg;
    int keep;                   /* one more descriptor that it has, or -1 */
    const _Atomic uint32_t *go; /* in shared memory: the copy waits, 3 s at most, until it is not 0
                                   (a futex), and a moment more; NULL: it begins at once */
};

/* fork_copy_start makes a copy that does the job.  From a thread that stays, and has a descriptor
 * table of its own, if that can be had.  Returns 0, or why there is none, a negative errno: -ENOMEM
 * (memory, also what the limits on commitment allow), -EAGAIN (the limit on processes), -EPERM,
 * -ENOSYS (a filter of system calls, an old kernel), -EMFILE. */
int fork_copy_start(struct fork_copy *c, const struct fork_copy_job *job);

/* fork_copy_read reads what the copy has written; it waits, up to timeout_ms (-1: for ever).  0: it
 * has written all; negative errno: -ETIMEDOUT; -EBADF: the program has closed the descriptor. */
long fork_copy_read(struct fork_copy *c, void *buf, size_t n, int timeout_ms);

/* fork_copy_finish waits for the copy's end and forgets it; `kill` ends it first. */
enum fork_copy_end fork_copy_finish(struct fork_copy *c, bool kill, int *ret_status);

/* fork_copy_write writes all n bytes, for use in the copy.  False: nobody reads. */
bool fork_copy_write(int fd, const void *buf, size_t n);

#endif
