/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A leak check for a thread that waits for it.
 */
#include "agent/leak_now.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "image/rawfile.h"
#include "prof/locks.h"
#include "sys/fmt.h"
#include "sys/throw.h"

#define STACK_SIZE     ((size_t)256 << 10)
#define MAX_STACK_SIZE ((size_t)16 << 20)
#define BUSY_TRIES     200 /* while a thread has not come out of the last stop, at a distance of: */
#define BUSY_STEP      ((struct timespec){.tv_nsec = 5000000})

struct job {
    const struct root_thread *caller;
    const struct leak_report *report;
    struct leak_check check;
    int result; /* of the report */
};

static void check(struct job *j) {
    const struct timespec step = BUSY_STEP;
    const struct leak_options options = {
        .mark = {.interior = true}, .mapped = true, .in_place = true, .caller = j->caller};
    for (int i = 0; i < BUSY_TRIES; i++) {
        j->check = leak_begin(&options, j->report);
        if (j->check.error != LEAK_STOP || j->check.detail != STOP_BUSY)
            break;
        sys_call3(SYS_nanosleep, (long)&step, 0, 0);
    }
    if (j->check.error == LEAK_OK)
        leak_end(&j->check, false, &j->result);
}

/* The descriptors that it opens should not be the program's; where that is refused they are. */
static void *thread_main(void *arg) {
    sys_call3(SYS_unshare, CLONE_FILES, 0, 0);
    check(arg);
    return NULL;
}

/* create makes the thread, with a larger stack if the program's thread-local variables, which lie
 * on it, need one. */
static int create(pthread_t *thread, struct job *j) {
    pthread_attr_t attr;
    int error = pthread_attr_init(&attr);
    if (error != 0)
        return error;
    for (size_t size = STACK_SIZE; size <= MAX_STACK_SIZE; size *= 4) {
        error = pthread_attr_setstacksize(&attr, size);
        if (error == 0)
            error = pthread_create(thread, &attr, thread_main, j);
        if (error != EINVAL)
            break;
    }
    pthread_attr_destroy(&attr);
    return error;
}

/* run_aside has it done, with all signals blocked. */
static int run_aside(struct job *j) {
    sigset_t all, old;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = create(&thread, j);
    if (error == 0)
        pthread_join(thread, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return error;
}

static int fail(int error, const char *what, char *err, size_t errlen) {
    struct fmt f = fmt_on(err, errlen);
    const char *why = strerrordesc_np(error);
    fmt_str(&f, what);
    fmt_str(&f, ": ");
    fmt_str(&f, why != NULL ? why : "unknown error");
    return error;
}

int leak_now(const struct leak_caller *caller, const struct leak_report *report, int *ret_result,
             char *err, size_t errlen) {
    const struct root_thread from = {.tid = (uint32_t)sys_call3(SYS_gettid, 0, 0, 0),
                                     .sp = caller->sp,
                                     .regs_lo = (uintptr_t)caller->regs,
                                     .regs_hi = (uintptr_t)(caller->regs + 6)};
    struct job j = {.caller = &from, .report = report, .result = LEAK_CHECK_FAILED};
    /* Interrupted in the allocator, in a handler that ends the program: the check would wait for
     * this thread. */
    if (locks_any_mine())
        return fail(EDEADLK, "the program has interrupted malloc", err, errlen);
    int error = run_aside(&j);
    if (error != 0)
        return fail(error, "no thread for it", err, errlen);
    if (j.check.error == LEAK_STOP)
        return fail(EAGAIN, "the threads can't be stopped", err, errlen);
    if (j.check.error != LEAK_OK || j.result == LEAK_CHECK_FAILED)
        return fail(ENOMEM, "it needs memory", err, errlen);
    *ret_result = j.result;
    return 0;
}

/* ---- in a line ---------------------------------------------------------------------------- */

struct sums {
    uint64_t objects, direct, bytes;
};

static int sum(void *arg, const struct leak_findings *f, int fd) {
    struct sums *s = arg;
    (void)fd;
    *s = (struct sums){.objects = f->leaks.n, .direct = f->leaks.ndirect};
    for (size_t i = 0; i < f->leaks.n; i++) {
        const struct mspan *span = mheap_span_covering(f->leaks.all[i].address);
        s->bytes += span != NULL ? mspan_elem_bytes(span) : 0; /* a thread that did not stop */
    }
    return 0;
}

static void say_sums(const struct sums *s, bool at_end) {
    char buf[512];
    struct fmt f = fmt_on(buf, sizeof buf);
    report_begin(&f);
    fmt_str(&f, "leaked: ");
    fmt_uint(&f, s->bytes);
    fmt_str(&f, " bytes in ");
    fmt_uint(&f, s->objects);
    fmt_str(&f, s->objects == 1 ? " object, " : " objects, ");
    fmt_uint(&f, s->direct);
    fmt_str(&f, " of them directly; ");
    if (at_end) {
        fmt_str(&f, "exit=FILE.gmi keeps whose, for goinspect leaks FILE.gmi\n");
    } else {
        fmt_str(&f, "goinspect leaks ");
        fmt_uint(&f, (uint64_t)raw_getpid());
        fmt_str(&f, " says whose\n");
    }
    fmt_write(&f, STDERR_FILENO);
}

bool leak_now_say(const struct leak_caller *caller, bool at_end) {
    struct sums s = {.objects = 0};
    char err[128], buf[512];
    int result, saved = errno;
    int error = leak_now(caller, &(struct leak_report){.run = sum, .arg = &s, .keep = -1}, &result,
                         err, sizeof err);
    struct fmt f = fmt_on(buf, sizeof buf);
    if (error != 0) {
        report_begin(&f);
        fmt_str(&f, "no leak check: ");
        fmt_str(&f, err);
        fmt_char(&f, '\n');
        fmt_write(&f, STDERR_FILENO);
    } else if (s.objects != 0) {
        say_sums(&s, at_end);
    }
    errno = saved;
    return s.objects != 0;
}
