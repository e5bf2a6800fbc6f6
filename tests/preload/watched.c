/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose objects are watched, and which does what a watch must not get in the way of:
 * watched.c WHAT
 *
 * It makes objects that outlive the function that made them, and not its caller, until there is
 * something to be read from its standard input; then
 *
 *   nothing    more
 *   files      closes every descriptor by number and opens files of its own meanwhile
 *   children   forks with and without handlers, by vfork, and execs; children go on working
 *   threads    threads work at once, end, and are followed by others
 *
 * It begins by closing all descriptors but three, and must have no more in the end.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define MS 1000000L

static void pause_ms(long ms) {
    struct timespec t = {0, ms * MS};
    while (nanosleep(&t, &t) != 0)
        continue;
}

__attribute__((noinline)) static char *make(size_t n) {
    char *p = malloc(n);
    CHECK(p != NULL);
    p[0] = 1;
    return p;
}

/* All that is made here ends here: as long as it runs, the slot of its return is silent. */
__attribute__((noinline)) static void work(int rounds, long ms) {
    for (int i = 0; i < rounds; i++) {
        char *p[32];
        for (int k = 0; k < 32; k++)
            p[k] = make(64);
        for (int k = 0; k < 32; k++)
            free(p[k]);
        if (ms != 0)
            pause_ms(ms);
    }
}

static unsigned count_descriptors(void) {
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n - 3; /* ".", ".." and this one */
}

static void use_files(void) {
    int fd[8];
    char text[16];
    for (int i = 3; i < 1024; i++)
        close(i);
    for (int i = 0; i < 8; i++)
        CHECK((fd[i] = open("/dev/null", O_RDWR)) == 3 + i);
    work(50, 2);
    for (int i = 0; i < 8; i++) {
        snprintf(text, sizeof text, "%d", i);
        CHECK(fcntl(fd[i], F_GETFD) == 0 && write(fd[i], text, 1) == 1 && close(fd[i]) == 0);
    }
}

static void await(pid_t pid) {
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (status != 0)
        fprintf(stderr, "a child ended with status %#x\n", (unsigned)status);
    CHECK(status == 0);
}

/* A child works at once, with what it has inherited, and then for so long that it has a thread of
 * the library's own again. */
static void live(int rounds) {
    alarm(600);
    work(20, 0);
    work(rounds, 1);
    CHECK(count_descriptors() == 3);
    _exit(0);
}

static void have_children(void) {
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (pid == 0)
            live(40);
        await(pid);
        pid = _Fork();
        if (pid == 0)
            live(5);
        await(pid);
        pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            live(5);
        await(pid);
        pid = vfork();
        if (pid == 0) {
            execl("/bin/true", "true", NULL);
            _exit(9);
        }
        await(pid);
        work(5, 2);
    }
}

static void *thread(void *arg) {
    work(20, 2);
    return arg;
}

static void have_threads(void) {
    for (int i = 0; i < 5; i++) {
        pthread_t t[8];
        for (int k = 0; k < 8; k++)
            CHECK(pthread_create(&t[k], NULL, thread, NULL) == 0);
        for (int k = 0; k < 8; k++)
            pthread_join(t[k], NULL);
    }
}

static int is_told(void) {
    struct pollfd p = {.fd = 0, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alarm(800);
    for (int i = 3; i < 1024; i++)
        close(i);
    do
        work(10, 1);
    while (!is_told());
    if (strcmp(argv[1], "files") == 0)
        use_files();
    else if (strcmp(argv[1], "children") == 0)
        have_children();
    else if (strcmp(argv[1], "threads") == 0)
        have_threads();
    else
        CHECK(strcmp(argv[1], "nothing") == 0);
    work(20, 2);
    CHECK(count_descriptors() == 3);
    return 0;
}
