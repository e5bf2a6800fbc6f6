/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A daemon: forks, closes every descriptor, by number, and opens files of its own, which then have
 * the numbers of whatever the library had open: daemon.c DIR
 *
 * What the library does with its descriptors afterwards must not reach the daemon's files: they are
 * compared at the end.  The daemon goes on to allocate in threads, as services do.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"

enum { FILES = 24, OPEN_MAX_TRIED = 1024 };

static void *thread(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg;
    for (int i = 0; i < 20000; i++)
        free(malloc(random_next(&seed) % 3000));
    return NULL;
}

static void allocate_in_threads(void) {
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], NULL, thread, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
}

static void file_name(char *name, size_t n, const char *dir, int i) {
    snprintf(name, n, "%s/daemon.%d", dir, i);
}

/* Returns 0 if the files hold what was written and are still open and ours. */
static int daemon_life(const char *dir) {
    char name[4096], text[64], back[64];
    int fd[FILES];
    for (int i = 0; i < OPEN_MAX_TRIED; i++)
        close(i);
    for (int i = 0; i < FILES; i++) {
        file_name(name, sizeof name, dir, i);
        fd[i] = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd[i] < 0)
            return 10;
        snprintf(text, sizeof text, "file %d\n", i);
        if (write(fd[i], text, strlen(text)) != (ssize_t)strlen(text))
            return 11;
    }
    allocate_in_threads();
    for (int i = 0; i < FILES; i++) {
        ssize_t n = pread(fd[i], back, sizeof back, 0);
        int length = snprintf(text, sizeof text, "file %d\n", i);
        if (n != length || memcmp(back, text, (size_t)n) != 0)
            return 12;
        if (lseek(fd[i], 0, SEEK_CUR) != n || close(fd[i]) != 0)
            return 13;
        file_name(name, sizeof name, dir, i);
        unlink(name);
    }
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    thread((void *)1);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(600);
        setsid();
        _exit(daemon_life(argv[1]));
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    fprintf(stderr, "the daemon ended with status %#x\n", (unsigned)status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* and the same without a fork, and with threads there from the start */
    allocate_in_threads();
    _exit(daemon_life(argv[1]));
}
