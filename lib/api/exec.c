/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The exec family, so that no thread executes a program while it is being stopped.
 *
 * A signal that has been sent to a thread and not been taken outlives exec, its handler does not:
 * the stop of a leak check (leak/stop.h) would end the new program.  So who is about to execute one
 * says so, and waits for the end of a stop that goes on; libc does the rest.
 *
 * Not for the child of a vfork, which shares our memory, but is another process: nobody stops it,
 * and it would leave its mark behind.  Nor for programs that execute others by a system call of
 * their own.
 */
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "api/exec.h"
#include "leak/stop.h"
#include "sys/compiler.h"
#include "sys/rawcall.h"

/* libc's.  NULL before the constructor, or if it does not have it. */
static struct {
    int (*execve)(const char *, char *const *, char *const *);
    int (*execvpe)(const char *, char *const *, char *const *);
    int (*fexecve)(int, char *const *, char *const *);
    int (*execveat)(int, const char *, char *const *, char *const *, int);
} libc;

static void *next(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

void exec_init(void) {
    *(void **)&libc.execve = next("execve");
    *(void **)&libc.execvpe = next("execvpe");
    *(void **)&libc.fexecve = next("fexecve");
    *(void **)&libc.execveat = next("execveat");
    stop_owner_is_here();
}

void exec_fork_child(void) {
    stop_owner_is_here();
}

static int missing(void) {
    errno = ENOSYS;
    return -1;
}

/* UNSTOPPED makes the call, which returns only if it has failed, while no stop may begin. */
#define UNSTOPPED(call)                                                                            \
    bool forbidden = stop_forbid();                                                                \
    int ret = (call);                                                                              \
    if (forbidden)                                                                                 \
        stop_allow();                                                                              \
    return ret

gm_export int execve(const char *path, char *const argv[], char *const envp[]) {
    UNSTOPPED(libc.execve != NULL
                  ? libc.execve(path, argv, envp)
                  : (int)syscall(SYS_execve, path, argv, envp)); /* before the constructor */
}

gm_export int execvpe(const char *file, char *const argv[], char *const envp[]) {
    UNSTOPPED(libc.execvpe != NULL ? libc.execvpe(file, argv, envp) : missing());
}

gm_export int fexecve(int fd, char *const argv[], char *const envp[]) {
    UNSTOPPED(libc.fexecve != NULL ? libc.fexecve(fd, argv, envp) : missing());
}

gm_export int execveat(int fd, const char *path, char *const argv[], char *const envp[],
                       int flags) {
    UNSTOPPED(libc.execveat != NULL ? libc.execveat(fd, path, argv, envp, flags) : missing());
}

gm_export int execv(const char *path, char *const argv[]) {
    return execve(path, argv, environ);
}

gm_export int execvp(const char *file, char *const argv[]) {
    return execvpe(file, argv, environ);
}

/* count returns how many words there are before the NULL. */
static size_t count(va_list ap) {
    size_t n = 1;
    while (va_arg(ap, char *) != NULL)
        n++;
    return n;
}

/* fill makes an array of them. */
static void fill(char **argv, const char *arg, size_t n, va_list ap) {
    argv[0] = (char *)arg;
    for (size_t i = 1; i <= n; i++)
        argv[i] = va_arg(ap, char *);
}

/* WORDS declares argv on the stack, of arg and what follows it: there may be no malloc here, in a
 * signal handler or behind vfork.  `ap` then stands behind the NULL. */
#define WORDS(argv, ap, arg)                                                                       \
    va_list ap;                                                                                    \
    va_start(ap, arg);                                                                             \
    size_t n_words = count(ap);                                                                    \
    va_end(ap);                                                                                    \
    char **argv = alloca((n_words + 1) * sizeof *argv);                                            \
    va_start(ap, arg);                                                                             \
    fill(argv, arg, n_words, ap)

gm_export int execl(const char *path, const char *arg, ...) {
    WORDS(argv, ap, arg);
    va_end(ap);
    return execve(path, argv, environ);
}

gm_export int execlp(const char *file, const char *arg, ...) {
    WORDS(argv, ap, arg);
    va_end(ap);
    return execvpe(file, argv, environ);
}

gm_export int execle(const char *path, const char *arg, ...) {
    WORDS(argv, ap, arg);
    char *const *envp = va_arg(ap, char *const *);
    va_end(ap);
    return execve(path, argv, envp);
}
