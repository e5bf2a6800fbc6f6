/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fork_loop [FORKS]: eight threads that allocate, and fork in between, FORKS times in all (800).
 *
 * So a fork meets the others in the middle of malloc, or in a fork of their own.  Each child frees
 * what it has got from other threads, allocates in all sizes and ends.  Every fourth process is
 * made by posix_spawn, vfork or a clone that is no fork to libc.  What takes longer than a minute
 * hangs.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../preload/check.h"

enum { THREADS = 8, SHARED = 256, PATIENCE_S = 600 };

extern char **environ;

static _Atomic(void *) shared[SHARED]; /* objects that any thread may take and free */
static atomic_int left;                /* forks to come */

static void churn(uint32_t *seed, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t r = random_next(seed);
        size_t size = r % 32 == 0 ? r % 150000 : r % 1000;
        char *p = malloc(size + 1);
        CHECK(p != NULL);
        p[0] = p[size] = 1;
        free(atomic_exchange(&shared[random_next(seed) % SHARED], p));
    }
}

static void await(pid_t pid) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        fprintf(stderr, "child %d hung\n", (int)pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void fork_one(uint32_t *seed) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(PATIENCE_S);
        for (int k = 0; k < SHARED; k++)
            free(atomic_exchange(&shared[k], NULL));
        churn(seed, 50);
        _exit(0);
    }
    await(pid);
}

/* The kernel's fork alone: no handler of anybody runs, so the child may only end. */
static void clone_one(void) {
    long pid = syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(0);
    await((pid_t)pid);
}

static void spawn_one(void) {
    char *argv[] = {(char *)"true", NULL};
    pid_t pid;
    CHECK(posix_spawnp(&pid, "true", NULL, NULL, argv, environ) == 0);
    await(pid);
}

static void vfork_one(void) {
    pid_t pid = vfork();
    CHECK(pid >= 0);
    if (pid == 0)
        _exit(0);
    await(pid);
}

static void *thread(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg;
    int i;
    while ((i = atomic_fetch_sub(&left, 1)) > 0) {
        churn(&seed, 20);
        if (i % 4 != 0)
            fork_one(&seed);
        else if (i % 12 == 0)
            clone_one();
        else if (i % 12 == 4)
            vfork_one();
        else
            spawn_one();
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t t[THREADS];
    atomic_store(&left, argc > 1 ? atoi(argv[1]) : 800);
    CHECK(atomic_load(&left) > 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, thread, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    return 0;
}
