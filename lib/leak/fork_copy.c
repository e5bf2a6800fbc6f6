/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A copy of the process, by a bare clone.
 *
 * libc is passed by: its fork runs the program's handlers and takes its locks, and _Fork would tell
 * libc's thread that it is another one now, which does not matter to who makes system calls only.
 * A tracer is not told either (CLONE_UNTRACED): strace -f and debuggers would stop the copy.
 */
#include "leak/fork_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "sys/rawcall.h"
#include "sys/slice.h"

#define AWAIT_TRIES 300 /* to hear that it may begin, at a distance of at most: */
#define AWAIT_STEP  ((struct timespec){.tv_nsec = 10000000})
/* Left to those who have been told to go on: who is to run competes with them for processors. */
#define LEFT_ALONE ((struct timespec){.tv_nsec = 1000000})

static int close_range_raw(unsigned from, unsigned to) {
    return from <= to ? (int)sys_call3(SYS_close_range, from, to, 0) : 0;
}

/* close_others closes all descriptors but two (-1: none). */
static int close_others(int a, int b) {
    int lo = a < b ? a : b, hi = a < b ? b : a;
    int error = lo > 0 ? close_range_raw(0, (unsigned)lo - 1) : 0;
    if (error == 0 && hi > lo + 1)
        error = close_range_raw((unsigned)(lo + 1), (unsigned)hi - 1);
    return error == 0 ? close_range_raw((unsigned)(hi + 1), ~0u) : error;
}

/* be_killed_first is what the kernel is to do when memory runs out.  That may only be made worse,
 * so it is not refused. */
static void be_killed_first(void) {
    int fd = (int)sys_call4(SYS_openat, AT_FDCWD, (long)"/proc/self/oom_score_adj",
                            O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    sys_call3(SYS_write, fd, (long)"1000", 4);
    sys_call3(SYS_close, fd, 0, 0);
}

/* await has the copy wait until the process says that it may begin. */
static void await(const _Atomic uint32_t *go) {
    const struct timespec step = AWAIT_STEP, alone = LEFT_ALONE;
    for (int i = 0; i < AWAIT_TRIES && atomic_load_explicit(go, memory_order_acquire) == 0; i++)
        sys_call4(SYS_futex, (long)go, FUTEX_WAIT, 0, (long)&step);
    sys_call3(SYS_nanosleep, (long)&alone, 0, 0);
}

static _Noreturn void live(const struct fork_copy_job *job, int fd, long parent) {
    int status = 255;
    sys_call6(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0);
    if (job->at_once != NULL)
        job->at_once(job->arg);
    slice_shorten();
    if (job->go != NULL)
        await(job->go);
    sys_call6(SYS_prctl, PR_SET_NAME, (long)"gomalloc-copy", 0, 0, 0, 0);
    /* The process may have ended before it was said. */
    if (sys_call3(SYS_getppid, 0, 0, 0) == parent && close_others(fd, job->keep) == 0) {
        be_killed_first();
        status = job->run(job->arg, fd);
    }
    for (;;)
        sys_call3(SYS_exit_group, status, 0, 0);
}

static bool is_ours(const struct fork_copy *c) {
    return file_id_same(c->id, file_id_of(c->fd));
}

int fork_copy_start(struct fork_copy *c, const struct fork_copy_job *job) {
    int fds[2] = {-1, -1};
    *c = (struct fork_copy){.pid = 0, .fd = -1};
    /* Known to this kernel, and allowed?  The copy could not say so. */
    int error = (int)sys_call3(SYS_close_range, ~0u, ~0u, 0);
    if (error == 0)
        error = (int)sys_call3(SYS_pipe2, (long)fds, O_CLOEXEC, 0);
    if (error != 0)
        return error;
    long parent = sys_call3(SYS_getpid, 0, 0, 0);
    long pid = sys_call6(SYS_clone, CLONE_UNTRACED, 0, 0, 0, 0, 0); /* and no signal at the end */
    if (pid == 0)
        live(job, fds[1], parent);
    sys_call3(SYS_close, fds[1], 0, 0);
    if (pid < 0) {
        sys_call3(SYS_close, fds[0], 0, 0);
        return (int)pid;
    }
    *c = (struct fork_copy){.pid = (int)pid, .fd = fds[0], .id = file_id_of(fds[0])};
    return 0;
}

long fork_copy_read(struct fork_copy *c, void *buf, size_t n, int timeout_ms) {
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    long r;
    if (!is_ours(c))
        return -EBADF;
    do
        r = sys_call3(SYS_poll, (long)&p, 1, timeout_ms);
    while (r == -EINTR);
    if (r <= 0)
        return r == 0 ? -ETIMEDOUT : r;
    if (!is_ours(c))
        return -EBADF;
    do
        r = sys_call3(SYS_read, c->fd, (long)buf, (long)n);
    while (r == -EINTR);
    return r;
}

enum fork_copy_end fork_copy_finish(struct fork_copy *c, bool kill, int *ret_status) {
    int status = 0;
    long r;
    if (kill)
        sys_call3(SYS_kill, c->pid, SIGKILL, 0);
    do
        r = sys_call4(SYS_wait4, c->pid, (long)&status, __WALL, 0);
    while (r == -EINTR);
    raw_close_own(c->fd, c->id);
    *c = (struct fork_copy){.pid = 0, .fd = -1};
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);
    if (r < 0)
        return FORK_COPY_LOST;
    return WIFEXITED(status) ? FORK_COPY_DONE : FORK_COPY_KILLED;
}

bool fork_copy_write(int fd, const void *buf, size_t n) {
    const char *p = buf;
    while (n != 0) {
        long r = sys_call3(SYS_write, fd, (long)p, (long)n);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            return false;
        p += r;
        n -= (size_t)r;
    }
    return true;
}
