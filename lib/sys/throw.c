/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The end of the program.
 */
#include "sys/throw.h"

#include <signal.h>
#include <stdlib.h>

#include "sys/rawcall.h"

extern char *program_invocation_short_name;

void report_begin(struct fmt *f) {
    const char *name = program_invocation_short_name;
    fmt_str(f, name != NULL ? name : "?");
    fmt_char(f, '(');
    fmt_uint(f, (uint64_t)sys_call3(SYS_getpid, 0, 0, 0));
    fmt_str(f, "): gomalloc: ");
}

gm_tls bool report_own_table;

/* program_stderr returns a copy of the program's descriptor 2: that of its first thread. */
static int program_stderr(void) {
    long self = sys_call3(SYS_pidfd_open, sys_call3(SYS_getpid, 0, 0, 0), 0, 0);
    return self < 0 ? (int)self : (int)sys_call3(SYS_pidfd_getfd, self, 2, 0);
}

void report_end(const struct fmt *f) {
    int fd = report_own_table ? program_stderr() : 2;
    if (fd >= 0)
        fmt_write(f, fd);
    if (fd > 2)
        sys_call3(SYS_close, fd, 0, 0);
}

void die(void) {
    /* abort() takes libc's lock, which a caller in a signal handler may hold: try the kernel first,
     * which suffices unless SIGABRT is blocked or handled. */
    long pid = sys_call3(SYS_getpid, 0, 0, 0);
    long tid = sys_call3(SYS_gettid, 0, 0, 0);
    sys_call3(SYS_tgkill, pid, tid, SIGABRT);
    abort();
}

void throw_(const char *what) {
    char buf[256];
    struct fmt f = fmt_on(buf, sizeof buf);
    report_begin(&f);
    fmt_str(&f, "fatal: ");
    fmt_str(&f, what);
    fmt_str(&f, " (this is a bug in gomalloc)\n");
    report_end(&f);
    die();
}

void throw_values(const char *what, uint64_t a, uint64_t b) {
    char buf[256];
    struct fmt f = fmt_on(buf, sizeof buf);
    report_begin(&f);
    fmt_str(&f, "fatal: ");
    fmt_str(&f, what);
    fmt_str(&f, ": ");
    fmt_hex(&f, a);
    fmt_str(&f, ", ");
    fmt_hex(&f, b);
    fmt_str(&f, " (this is a bug in gomalloc)\n");
    report_end(&f);
    die();
}
