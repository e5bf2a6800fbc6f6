/* SPDX-License-Identifier: BSD-3-Clause
 *
 * execs N FILE executes itself N times, each time in another of libc's ways, some milliseconds
 * after its start, when there is FILE, and with three other threads; the last prints "done".  One
 * that can't be executed is tried before each time, and errno is right.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static void *idle(void *arg) {
    for (;;)
        pause();
    return arg;
}

/* The child of vfork shares our memory, and must not be taken for us. */
static void execute_in_vfork(void) {
    int status;
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void execute(unsigned way, char *path, char *n, char *file) {
    extern char **environ;
    char *argv[] = {path, n, file, NULL};
    switch (way) {
    case 0:
        execv(path, argv);
        break;
    case 1:
        execve(path, argv, environ);
        break;
    case 2:
        execvp(path, argv);
        break;
    case 3:
        execvpe(path, argv, environ);
        break;
    case 4:
        execl(path, path, n, file, (char *)NULL);
        break;
    case 5:
        execlp(path, path, n, file, (char *)NULL);
        break;
    case 6:
        execle(path, path, n, file, (char *)NULL, environ);
        break;
    case 7:
        fexecve(open(path, O_RDONLY | O_CLOEXEC), argv, environ);
        break;
    default:
        execveat(AT_FDCWD, path, argv, environ, 0);
    }
}

/* wait_for returns when there is the file; after a minute and a half it fails. */
static void wait_for(const char *file) {
    const struct timespec ms = {.tv_nsec = 1000000};
    for (int i = 0; access(file, F_OK) != 0; i++) {
        CHECK(i < 90000);
        nanosleep(&ms, NULL);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    unsigned n = (unsigned)atoi(argv[1]);
    if (n == 0) {
        puts("done");
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, idle, NULL) == 0);
    }
    struct timespec some = {.tv_nsec = 3000000 + n * 7919L % 3000 * 1000};
    nanosleep(&some, NULL);
    wait_for(argv[2]);
    if (n % 16 == 0)
        execute_in_vfork();
    errno = 0;
    execl("/nowhere/nothing", "nothing", (char *)NULL);
    CHECK(errno == ENOENT);
    char rest[16];
    snprintf(rest, sizeof rest, "%u", n - 1);
    execute(n % 9, argv[0], rest, argv[2]);
    return 1;
}
