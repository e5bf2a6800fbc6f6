/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pthread_atfork handlers that allocate and free, on both sides of the allocator's own.
 *
 * Handlers registered before the allocator's run, in the parent, after its locks were taken: they
 * must be able to allocate nonetheless.  A library's constructor that runs early registers such.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "check.h"

enum { FORKS = 200, THREADS = 4 };

static int prepared, in_parent, in_child;
static char *object;
static atomic_bool stop;

static void use_heap(void) {
    for (size_t n = 1; n < 100000; n *= 3)
        free(malloc(n));
}

static void prepare(void) {
    prepared++;
    use_heap();
    free(object);
    object = malloc(200);
    fill(object, 200, (unsigned)prepared);
}

static void parent(void) {
    in_parent++;
    CHECK(filled(object, 200, (unsigned)prepared));
    use_heap();
}

static void child(void) {
    in_child++;
    CHECK(filled(object, 200, (unsigned)prepared));
    free(object);
    object = malloc(200);
    fill(object, 200, (unsigned)prepared);
    use_heap();
}

/* As early as a program can. */
static void register_early(void) {
    CHECK(pthread_atfork(prepare, parent, child) == 0);
}
__attribute__((section(".preinit_array"),
               used)) static void (*preinit_entry)(void) = register_early;

static void *thread(void *unused) {
    (void)unused;
    while (!atomic_load(&stop))
        use_heap();
    return NULL;
}

static void fork_once(void) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(600);
        use_heap();
        _exit(in_child == 2 ? 0 : 2);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
    CHECK(pthread_atfork(prepare, parent, child) == 0); /* and again, late */
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, thread, NULL) == 0);
    for (int i = 0; i < FORKS; i++)
        fork_once();
    CHECK(prepared == 2 * FORKS && in_parent == 2 * FORKS);
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    return 0;
}
