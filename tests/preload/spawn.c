/* SPDX-License-Identifier: BSD-3-Clause
 *
 * New programs from a program whose threads allocate: vfork and exec, posix_spawn, system, popen,
 * and exec over the whole process while threads are in malloc.
 *
 * A vfork child shares its parent's memory: whatever the allocator does there, the parent sees.
 */
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "check.h"

enum { THREADS = 4, ROUNDS = 40 };

extern char **environ;
static atomic_bool stop;

static void *thread(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg;
    while (!atomic_load(&stop)) {
        char *p = malloc(random_next(&seed) % 5000);
        free(p);
    }
    return NULL;
}

static void await(pid_t pid, int expected) {
    int status;
    CHECK(pid > 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == expected);
}

static void by_vfork(char *self) {
    char *argv[] = {self, "child", NULL};
    char *object = malloc(300);
    fill(object, 300, 5);
    pid_t pid = vfork();
    if (pid == 0) {
        free(malloc(1000)); /* not allowed by POSIX, done by programs */
        execv(self, argv);
        _exit(127);
    }
    await(pid, 7);
    CHECK(filled(object, 300, 5));
    free(object);
    pid = vfork();
    if (pid == 0) {
        execl("/nonexistent", "nonexistent", (char *)NULL);
        _exit(9);
    }
    await(pid, 9);
}

static void by_posix_spawn(char *self) {
    char *argv[] = {self, "child", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", 0, 0) == 0);
    CHECK(posix_spawn(&pid, self, &actions, NULL, argv, environ) == 0);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    await(pid, 7);
}

static void by_shell(void) {
    CHECK(WEXITSTATUS(system("exit 3")) == 3);
    char line[100] = "";
    FILE *f = popen("echo through a pipe", "re");
    CHECK(f != NULL && fgets(line, sizeof line, f) != NULL);
    CHECK(strcmp(line, "through a pipe\n") == 0);
    CHECK(pclose(f) == 0);
}

static int child(void) {
    for (size_t n = 1; n < 1000000; n *= 2)
        free(calloc(1, n));
    return 7;
}

/* exec replaces the process while its threads allocate. */
static void exec_over_threads(char *self) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, thread, (void *)9) == 0);
        free(malloc(10));
        execl(self, self, "child", (char *)NULL);
        _exit(127);
    }
    await(pid, 7);
}

int main(int argc, char **argv) {
    if (argc == 2)
        return child();
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, thread, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < ROUNDS; i++) {
        by_vfork("/proc/self/exe");
        by_posix_spawn(argv[0]);
        if (i % 8 == 0)
            by_shell();
        exec_over_threads(argv[0]);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    return 0;
}
