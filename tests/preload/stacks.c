/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Takes stacks, gives some of them back, prints "ready", and waits until its standard input ends.
 * With "fork" a child does so, of a process whose other threads had stacks in their caches.
 *
 * In use are then: 100 of 2 KiB, 50 of 16 KiB, 3 of 64 KiB, and with a guard 20 of 4 KiB, 10 of
 * 16 KiB, 2 of 64 KiB.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>

#include "check.h"
#include "gomalloc/gomalloc.h"

static void *(*stack_alloc)(size_t, unsigned);
static int (*stack_free)(void *);
static size_t (*scavenge)(void);

static const struct {
    size_t size;
    unsigned flags;
    unsigned keep;
} kinds[] = {
    {2048, 0, 100},
    {16384, 0, 50},
    {65536, 0, 3},
    {4096, GOMALLOC_STACK_GUARD, 20},
    {16384, GOMALLOC_STACK_GUARD, 10},
    {65536, GOMALLOC_STACK_GUARD, 2},
};

/* Twice as many are taken, and every second one is given back. */
static void take(void) {
    void *p[200];
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (unsigned i = 0; i < 2 * kinds[k].keep; i++) {
            CHECK((p[i] = stack_alloc(kinds[k].size, kinds[k].flags)) != NULL);
            memset(p[i], (int)i, kinds[k].size);
        }
        for (unsigned i = 0; i < kinds[k].keep; i++)
            CHECK(stack_free(p[2 * i]) == 0);
    }
}

static pthread_barrier_t cached;

/* Two free stacks of each kind, in the thread's cache if they are small. */
static void have_free_ones(void) {
    void *p[2];
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (int i = 0; i < 2; i++)
            CHECK((p[i] = stack_alloc(kinds[k].size, kinds[k].flags)) != NULL);
        for (int i = 0; i < 2; i++)
            CHECK(stack_free(p[i]) == 0);
    }
}

static void *sit(void *unused) {
    have_free_ones();
    pthread_barrier_wait(&cached);
    for (;;)
        pause();
    return unused;
}

static void wait_for_end(void) {
    char byte;
    printf("%d ready\n", (int)getpid());
    fflush(stdout);
    while (read(0, &byte, 1) > 0)
        ;
}

int main(int argc, char **argv) {
    *(void **)&stack_alloc = dlsym(RTLD_DEFAULT, "gomalloc_stack_alloc");
    *(void **)&stack_free = dlsym(RTLD_DEFAULT, "gomalloc_stack_free");
    *(void **)&scavenge = dlsym(RTLD_DEFAULT, "gomalloc_scavenge");
    CHECK(stack_alloc != NULL && stack_free != NULL && scavenge != NULL);
    if (argc > 1 && strcmp(argv[1], "fork") == 0) {
        pthread_t t;
        pthread_barrier_init(&cached, NULL, 2);
        CHECK(pthread_create(&t, NULL, sit, NULL) == 0);
        pthread_barrier_wait(&cached);
        int status;
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid != 0) {
            CHECK(waitpid(pid, &status, 0) == pid && status == 0);
            return 0;
        }
        usleep(50000); /* the child has an agent when it allocates after 10 ms */
        free(malloc(100000));
    }
    take();
    scavenge(); /* what the library's thread would give back while it is being asked */
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0] - 1; k++)
        CHECK(stack_free(stack_alloc(kinds[k].size, kinds[k].flags)) == 0);
    free(malloc(100000));
    wait_for_end();
    return 0;
}
