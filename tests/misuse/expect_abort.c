/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Runs a program that must die in exactly one way:
 *
 *     expect_abort abort|report LIBRARY TEXT PROGRAM VARIANT
 *
 * abort   killed by SIGABRT, after one line on standard error:
 *             PROGRAM(PID): gomalloc: TEXT: 0xPOINTER in FUNCTION...
 *         with its own name, its own pid and the pointer that it announced
 * report  (GOMALLOC=on_error=report) the same line, and then it lives on with a heap that works,
 *         and exits with 0
 *
 * ctest can't do it: for ctest a test that ends by SIGABRT has failed, whatever it was told to
 * expect.  Exits with 0 if all is as it should be, else with 1 and a line that says what is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct run {
    pid_t pid;
    int status;     /* as of waitpid() */
    char out[4096]; /* what it wrote, NUL-terminated; the rest is dropped */
    char err[4096];
};

__attribute__((noreturn, format(printf, 2, 3))) static void fail(const struct run *r,
                                                                 const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    fputs("expect_abort: ", stderr);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    if (r != NULL)
        fprintf(stderr, "status %#x\nstdout: %s\nstderr: %s\n", (unsigned)r->status, r->out,
                r->err);
    exit(1);
}

static FILE *temporary(void) {
    FILE *f = tmpfile();
    if (f == NULL)
        fail(NULL, "tmpfile: %s", strerror(errno));
    return f;
}

static void read_back(FILE *f, char *buffer, size_t n) {
    rewind(f);
    buffer[fread(buffer, 1, n - 1, f)] = '\0';
    fclose(f);
}

/* The child's side: from here the program takes over. */
__attribute__((noreturn)) static void become(bool report, const char *library, char **argv, int out,
                                             int err) {
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    setenv("LD_PRELOAD", library, 1);
    setenv("GOMALLOC", report ? "on_error=report" : "", 1);
    dup2(out, 1);
    dup2(err, 2);
    alarm(600);
    execv(argv[0], argv);
    _exit(127);
}

static void run(struct run *r, bool report, const char *library, char **argv) {
    FILE *out = temporary(), *err = temporary();
    r->pid = fork();
    if (r->pid < 0)
        fail(NULL, "fork: %s", strerror(errno));
    if (r->pid == 0)
        become(report, library, argv, fileno(out), fileno(err));
    waitpid(r->pid, &r->status, 0);
    read_back(out, r->out, sizeof r->out);
    read_back(err, r->err, sizeof r->err);
}

/* The line must be there once, and nothing else of the library's. */
static void check_line(const struct run *r, const char *program, const char *text) {
    char pointer[32], line[512];
    if (sscanf(r->out, "pointer %31s", pointer) != 1)
        fail(r, "%s did not say which pointer it misuses", program);
    snprintf(line, sizeof line, "%s(%d): gomalloc: %s: %s in ", program, (int)r->pid, text,
             pointer);
    if (strncmp(r->err, line, strlen(line)) != 0)
        fail(r, "standard error does not begin with \"%s\"", line);
    const char *end = strchr(r->err, '\n');
    if (end == NULL || end[1] != '\0')
        fail(r, "standard error is not one line");
}

int main(int argc, char **argv) {
    static struct run r;
    if (argc != 6)
        fail(NULL, "usage: expect_abort abort|report LIBRARY TEXT PROGRAM VARIANT");
    bool report = strcmp(argv[1], "report") == 0;
    const char *slash = strrchr(argv[4], '/'), *program = slash != NULL ? slash + 1 : argv[4];

    run(&r, report, argv[2], argv + 4);
    if (!report && !(WIFSIGNALED(r.status) && WTERMSIG(r.status) == SIGABRT))
        fail(&r, "%s %s was not killed by SIGABRT", program, argv[5]);
    if (report && r.status != 0)
        fail(&r, "%s %s did not go on", program, argv[5]);
    if (report != (strstr(r.out, "survived\n") != NULL))
        fail(&r, report ? "the heap does not work any more" : "it went on after its crime");
    check_line(&r, program, argv[3]);
    return 0;
}
