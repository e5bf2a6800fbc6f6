/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bar, on a pseudo-terminal in the place of standard error.  The clock is the test's own.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/progress.h"

static long clock_ms = 1000000;

/* In the place of libc's. */
int clock_gettime(clockid_t clock, struct timespec *ret) {
    (void)clock;
    *ret = (struct timespec){clock_ms / 1000, clock_ms % 1000 * 1000000};
    return 0;
}

static void pause_ms(long ms) {
    clock_ms += ms;
}

/* shown returns what work() writes to a standard error that is a terminal of so many columns; 0 =
 * a pipe. */
static const char *shown(unsigned columns, void (*work)(void)) {
    static char text[8192];
    int theirs, ours, pipes[2], old = dup(STDERR_FILENO);
    if (columns) {
        struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
        ours = posix_openpt(O_RDWR | O_NOCTTY);
        assert_true(ours >= 0 && grantpt(ours) == 0 && unlockpt(ours) == 0);
        theirs = open(ptsname(ours), O_RDWR | O_NOCTTY);
        assert_int_equal(ioctl(ours, TIOCSWINSZ, &size), 0);
    } else {
        assert_int_equal(pipe(pipes), 0);
        ours = pipes[0];
        theirs = pipes[1];
    }
    assert_true(theirs >= 0);
    dup2(theirs, STDERR_FILENO);
    work();
    progress_end();
    fputs("end", stderr);
    fflush(stderr);
    dup2(old, STDERR_FILENO);
    size_t n = 0;
    text[0] = '\0';
    while (!strstr(text, "end")) {
        ssize_t got = read(ours, text + n, sizeof(text) - n - 1);
        assert_true(got > 0);
        n += (size_t)got;
        text[n] = '\0';
    }
    close(theirs);
    close(ours);
    close(old);
    return text;
}

static void work_long(void) {
    progress_show("finding names", 0, 20000);
    pause_ms(550);
    progress_show("finding names", 5000, 20000);
    progress_show("finding names", 5001, 20000); /* too soon for another painting */
    pause_ms(120);
    progress_show("finding names", 10000, 20000);
}

static void work_quick(void) {
    progress_show("finding names", 0, 2);
    progress_show("finding names", 2, 2);
}

static size_t cells(const char *text, const char *end) {
    size_t n = 0;
    for (; text < end; text++)
        n += *text != '\r' && *text != '\033';
    return n;
}

static void test_bar(void **unused) {
    (void)unused;
    const char *text = shown(60, work_long);
    assert_non_null(strstr(text, "\rfinding names  5,000 of 20,000  [######---"));
    assert_non_null(strstr(text, "\rfinding names  10,000 of 20,000  ["));
    assert_null(strstr(text, "5,001"));
    /* cleared at the end */
    assert_non_null(strstr(text, "\r\033[Kend"));
}

static void test_never_wider_than_the_terminal(void **unused) {
    (void)unused;
    static const unsigned widths[] = {12, 20, 33, 45, 80, 300};
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        const char *text = shown(widths[i], work_long), *end;
        assert_non_null(strchr(text, '%') ? strchr(text, '%') : strchr(text, '#'));
        for (int line = 0; line < 2; line++) {
            text = strchr(text, '\r');
            end = strstr(text, "\033[K");
            assert_true(end && cells(text, end) < widths[i]);
            text = end;
        }
    }
}

static void test_none(void **unused) {
    (void)unused;
    assert_string_equal(shown(60, work_quick), "end");
    assert_string_equal(shown(0, work_long), "end");
    assert_string_equal(shown(8, work_long), "end");
    setenv("TERM", "dumb", 1);
    assert_string_equal(shown(60, work_long), "end");
    setenv("TERM", "xterm", 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bar),
                                       cmocka_unit_test(test_never_wider_than_the_terminal),
                                       cmocka_unit_test(test_none)};
    setenv("TERM", "xterm", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
