/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An image with a leak check.
 */
#include "agent/agent_leaks.h"

#include <errno.h>
#include <string.h>

#include "image/image_write.h"
#include "gomalloc/agent.h"
#include "gomalloc/image.h"
#include "leak/leak.h"
#include "sys/fmt.h"

#define MESSAGE 104 /* as gomalloc_reply.message */

/* What the copy, or the process itself, has to write, and where. */
struct job {
    struct image_writer *writer;
    int fd;
    int error; /* in place */
    char err[MESSAGE];
};

static int report(void *arg, const struct leak_findings *f, int to) {
    struct job *job = arg;
    job->error = image_finish(job->writer, job->fd, f, job->err, sizeof job->err);
    if (job->error != 0 && to >= 0)
        fork_copy_write(to, job->err, sizeof job->err);
    return job->error != 0;
}

static int say(char *err, size_t errlen, int error, const char *what, const char *then) {
    struct fmt f = fmt_on(err, errlen);
    const char *why = error != 0 ? strerrordesc_np(-error) : NULL;
    fmt_str(&f, what);
    if (why != NULL) {
        fmt_str(&f, ": ");
        fmt_str(&f, why);
    }
    fmt_str(&f, then);
    return error != 0 ? error : -EAGAIN;
}

static int say_stop(enum stop_error error, char *err, size_t errlen) {
    static const char *const why[] = {
        [STOP_BUSY] = "a thread has not come out of the last leak check yet; try again",
        [STOP_NO_MEMORY] = "no memory for the list of threads",
        [STOP_NO_LIST] = "the process's threads can't be listed (/proc/self/task)",
        [STOP_NO_SIGNAL] = "the kernel refuses a signal handler to stop threads with",
        [STOP_TOO_MANY] = "the process has more threads than can be stopped (32768)",
    };
    return say(err, errlen, 0, why[error], "");
}

/* say_copy says why no copy could be made, and what to do. */
static int say_copy(int error, char *err, size_t errlen) {
    static const char *const then = "; --in-place checks without one";
    switch (error) {
    case -EAGAIN:
        return say(err, errlen, 0, "the limit on processes allows no copy (ulimit -u, pids.max)",
                   then);
    case -ENOMEM:
        return say(err, errlen, 0, "no memory may be committed for a copy of the process", then);
    case -EPERM:
    case -EACCES:
    case -ENOSYS:
        return say(err, errlen, 0, "a filter of system calls allows no copy of the process", then);
    default:
        return say(err, errlen, error, "no copy of the process could be made", then);
    }
}

static int say_begin(const struct leak_check *c, char *err, size_t errlen) {
    switch (c->error) {
    case LEAK_STOP:
        return say_stop((enum stop_error)c->detail, err, errlen);
    case LEAK_COPY:
        return say_copy(c->detail, err, errlen);
    default:
        return say(err, errlen, -ENOMEM, "leak check", "");
    }
}

/* await waits for the copy, and takes down what it says. */
static int await(struct leak_check *c, struct job *job, bool (*meanwhile)(void *arg, int fd),
                 void *arg, char *err, size_t errlen) {
    char *text = job->err;
    size_t have = 0;
    bool wanted = true;
    long n = 0;
    int result;
    while (c->copy.pid != 0) {
        n = fork_copy_read(&c->copy, text + have, sizeof job->err - have, 0);
        if (n > 0)
            have += (size_t)n;
        else if (n != -ETIMEDOUT)
            break;
        wanted = meanwhile(arg, c->copy.fd);
        if (!wanted)
            break;
    }
    enum fork_copy_end end = leak_end(c, n < 0 || !wanted, &result);
    if (!wanted)
        return say(err, errlen, -ECANCELED, "leak check", "");
    if (n == -EBADF)
        return say(err, errlen, 0, "the program has closed a descriptor of the check's",
                   "; try again");
    if (end != FORK_COPY_DONE)
        return say(err, errlen, 0, "the copy of the process was killed (is memory short?)",
                   "; --in-place checks without one");
    if (result == 0)
        return 0;
    text[sizeof job->err - 1] = '\0';
    return say(err, errlen, 0, *text != '\0' ? text : "no memory for the leak check's tables",
               *text != '\0' ? "" : " (ulimit -v, memory.max)");
}

int agent_leak_image(int fd, uint64_t ask, uintptr_t why, bool (*meanwhile)(void *arg, int fd),
                     void *arg, char *err, size_t errlen) {
    const struct leak_options options = {
        .mark = {.interior = (ask & GOMALLOC_ASK_LEAK_FIRST_BYTES) == 0,
                 .unaligned = (ask & GOMALLOC_ASK_LEAK_UNALIGNED) != 0},
        .why = why,
        .mapped = (ask & GOMALLOC_ASK_LEAK_NOT_MAPPED) == 0,
        .in_place = (ask & GOMALLOC_ASK_LEAK_IN_PLACE) != 0,
        .meanwhile = meanwhile,
        .arg = arg,
    };
    struct job job = {.writer = image_open(ask, 0), .fd = fd};
    if (job.writer == NULL)
        return say(err, errlen, -ENOMEM, "leak check", "");
    const struct leak_report to_do = {.run = report, .arg = &job, .keep = fd};
    struct leak_check check = leak_begin(&options, &to_do);
    int error = check.error != LEAK_OK ? say_begin(&check, err, errlen)
                                       : await(&check, &job, meanwhile, arg, err, errlen);
    image_free(job.writer);
    return error;
}
