/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fork from a program whose other threads are in the middle of malloc.
 *
 * The child has only the thread that forked.  It must find every lock of the allocator free and
 * every structure whole: it frees what its parent's threads had made, allocates in all sizes,
 * starts threads of its own, forks again, and ends by exit() or _exit().  A child that takes longer
 * than a minute hangs, and counts as such.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "check.h"

enum { THREADS = 8, FORKS = 500, SHARED = 512, PATIENCE = 600 };

static _Atomic(void *) shared[SHARED]; /* objects that any thread may take and free */
static atomic_bool stop;

static size_t size_of(uint32_t r) {
    return r % 32 == 0 ? r % 200000 : r % 1000;
}

static void churn(uint32_t *seed, int n) {
    for (int i = 0; i < n; i++) {
        size_t size = size_of(random_next(seed));
        char *p = malloc(size + 1);
        CHECK(p != NULL);
        p[0] = p[size] = 1;
        free(atomic_exchange(&shared[random_next(seed) % SHARED], p));
    }
}

static void *thread(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg;
    while (!atomic_load(&stop))
        churn(&seed, 100);
    return NULL;
}

static void *thread_of_child(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg;
    churn(&seed, 200);
    return NULL;
}

/* Waits for a child that ends by itself; one that alarm() had to end was hanging. */
static void await(pid_t pid, int i) {
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status))
        fprintf(stderr, "child %d of %d: %s\n", (int)pid, i,
                WTERMSIG(status) == SIGALRM ? "hung" : strsignal(WTERMSIG(status)));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void child(int i) {
    uint32_t seed = (uint32_t)i + 1;
    alarm(PATIENCE);
    churn(&seed, 300);
    for (int k = 0; k < SHARED; k++)
        free(atomic_exchange(&shared[k], NULL));
    if (i % 10 == 0) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, thread_of_child, (void *)(uintptr_t)(i + 7)) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    if (i % 20 == 0) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            alarm(PATIENCE);
            churn(&seed, 300);
            _exit(0);
        }
        await(pid, i);
    }
    churn(&seed, 100);
    if (i % 5 == 0)
        exit(0);
    _exit(0);
}

int main(void) {
    pthread_t t[THREADS];
    uint32_t seed = 12345;
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, thread, (void *)(uintptr_t)(i + 1)) == 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            child(i);
        churn(&seed, 10);
        await(pid, i);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    return 0;
}
