/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The end of the program: its last line arrives, whatever the thread's descriptors and signals are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/throw.h"

/* last_words runs a function in a child that it must end, and returns what it wrote to its standard
 * error. */
static void last_words(void (*run)(void), char *text, size_t cap) {
    int fds[2], status;
    size_t n = 0;
    ssize_t r;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 2);
        close(fds[0]);
        close(fds[1]);
        run();
        _exit(0);
    }
    close(fds[1]);
    while (n < cap - 1 && (r = read(fds[0], text + n, cap - 1 - n)) > 0)
        n += (size_t)r;
    text[n] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void throws(void) {
    throw_values("numbers", 0x1234, 7);
}

static void the_line_has_the_numbers(void **state) {
    char text[1024];
    (void)state;
    last_words(throws, text, sizeof text);
    assert_non_null(strstr(text, "gomalloc: fatal: numbers: 0x1234, 0x7"));
    assert_int_equal(text[strlen(text) - 1], '\n');
}

static void *throw_without_descriptors(void *arg) {
    (void)arg;
    if (syscall(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) != 0)
        _exit(77);
    report_own_table = true;
    throw_("no descriptors here");
}

static void throws_in_thread(void) {
    pthread_t thread;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_create(&thread, NULL, throw_without_descriptors, NULL);
    pthread_join(thread, NULL);
}

static void a_thread_without_descriptors_and_signals_is_heard_too(void **state) {
    char text[1024];
    (void)state;
    last_words(throws_in_thread, text, sizeof text);
    assert_non_null(strstr(text, "no descriptors here"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_line_has_the_numbers),
        cmocka_unit_test(a_thread_without_descriptors_and_signals_is_heard_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
