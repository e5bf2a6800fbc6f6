/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The same thing again and again.
 *
 * The end of the process is waited for together with the time of the next step, by a descriptor of
 * the process: a number could be another's by then.  SIGINT, SIGTERM and SIGHUP end the series
 * behind the step that is under way; a second one ends it at once, which leaves files whole, too.
 *
 * Steps begin at multiples of the time from the first one; those that come while one is still under
 * way are left out.  On a terminal one line is painted over itself; in a pipe each step is a line.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"
#include "report/series.h"
#include "base/text.h"

#define SECOND_NS INT64_C(1000000000)
#define ENDING_MS 1000
#define MOST_S    (366.0 * 86400)

static volatile sig_atomic_t enough;

static void on_signal(int number) {
    (void)number;
    enough = 1;
}

static void catch_signals(sigset_t *ret_set) {
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    sigemptyset(ret_set);
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        struct sigaction old;
        sigaddset(ret_set, signals[i]);
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup */
            sigaction(signals[i], &sa, NULL);
    }
}

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * SECOND_NS + t.tv_nsec;
}

int64_t series_parse(const char *word) {
    char *end;
    double n = strtod(word, &end);
    double unit = *end == 'm' ? 60 : *end == 'h' ? 3600 : 1;
    if (end == word || (*end && !strchr("smh", *end)) || (*end && end[1]) ||
        !(n * unit >= 0.1 && n * unit <= MOST_S))
        return 0;
    return (int64_t)(n * unit * SECOND_NS);
}

/* What has been done so far. */
struct progress {
    int64_t nsteps;
    int64_t nfailed;
    char last[256]; /* of the last step that was done */
};

static void paint(const struct series *series, const struct progress *p, int64_t left_ns) {
    char n[TEXT_NUMBER_SIZE], left[TEXT_NUMBER_SIZE];
    text_count(n, p->nsteps);
    text_duration(left, (left_ns + SECOND_NS - 1) / SECOND_NS * SECOND_NS);
    char *line = must_format("%s: next in %s, ^C ends; %s", series->file, left, p->last);
    progress_line(line);
    free(line);
}

/* ends_within tells whether the process has ended, or does in that time; fd: of it, -1: its number
 * must do. */
static bool ends_within(pid_t pid, int fd, int ms) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return fd >= 0 ? poll(&p, 1, ms) > 0 : kill(pid, 0) != 0 && errno == ESRCH;
}

static bool has_ended(pid_t pid, int fd) {
    return ends_within(pid, fd, 0);
}

/* wait_until waits for a time of CLOCK_MONOTONIC, the end of the process, or a signal. */
static void wait_until(const struct series *series, const struct progress *p, int fd,
                       int64_t when_ns, const sigset_t *signals) {
    sigset_t old;
    int ready = 0;
    int64_t left;
    pthread_sigmask(SIG_BLOCK, signals, &old);
    while (!enough && ready == 0 && (left = when_ns - now_ns(CLOCK_MONOTONIC)) > 0) {
        paint(series, p, left);
        int64_t most = fd >= 0 && !progress_visible() ? left : left % SECOND_NS;
        most = most ? most : SECOND_NS;
        struct timespec t = {.tv_sec = most / SECOND_NS, .tv_nsec = most % SECOND_NS};
        struct pollfd end = {.fd = fd, .events = POLLIN};
        ready = ppoll(&end, 1, &t, &old);
        if (ready < 0 && errno == EINTR)
            ready = 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* do_step does one; false: the series is at its end. */
static bool do_step(const struct series *series, struct progress *p, pid_t pid, int fd,
                    struct failure *failure) {
    char line[sizeof(p->last)] = "";
    enum status status = series->step(series->arg, line, sizeof(line), failure);
    if (status == STATUS_DONE) {
        p->nsteps++;
        memcpy(p->last, line, sizeof(line));
        progress_end();
        if (!progress_visible())
            say("%s: %s", series->file, line);
        return true;
    }
    /* One that is about to end has hung up, or removed its socket, before. */
    if (p->nsteps == 0 || ends_within(pid, fd, enough ? 0 : ENDING_MS))
        return false;
    p->nfailed++;
    say_failure(failure);
    failure->text[0] = '\0';
    return status == STATUS_FAILURE; /* the others will not pass */
}

static void say_end(const struct series *series, const struct progress *p, bool ended, pid_t pid) {
    char n[TEXT_NUMBER_SIZE], failed[TEXT_NUMBER_SIZE];
    text_count(n, p->nsteps);
    text_count(failed, p->nfailed);
    char *why = ended ? must_format("; process %d has ended", (int)pid) : must_dup("");
    if (p->nfailed)
        say("%s: %s snapshots taken, %s failed%s", series->file, n, failed, why);
    else
        say("%s: %s snapshot%s taken%s", series->file, n, p->nsteps == 1 ? "" : "s", why);
    free(why);
}

enum status series_run(const struct series *series, pid_t pid, struct failure *failure) {
    struct progress p = {.nsteps = 0};
    sigset_t signals;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    catch_signals(&signals);
    int64_t begin = now_ns(CLOCK_MONOTONIC);
    bool on = do_step(series, &p, pid, fd, failure);
    while (on && !enough && !has_ended(pid, fd)) {
        int64_t done = now_ns(CLOCK_MONOTONIC) - begin;
        wait_until(series, &p, fd, begin + (done / series->every_ns + 1) * series->every_ns,
                   &signals);
        on = !enough && !has_ended(pid, fd) && do_step(series, &p, pid, fd, failure);
    }
    bool ended = has_ended(pid, fd);
    if (fd >= 0)
        close(fd);
    if (p.nsteps == 0)
        return failure->status;
    say_end(series, &p, ended, pid);
    if (!ended && !on && !enough)
        return failure->status;
    return p.nfailed ? STATUS_FAILURE : STATUS_DONE;
}
