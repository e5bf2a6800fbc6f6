/* SPDX-License-Identifier: BSD-3-Clause
 *
 * crossing FIFO: a program with known allocations in known threads.  A thread called "maker" has
 * its objects from the start; then each line that comes through FIFO is a step, and its number is
 * printed when it is done:
 *
 *      cross   A thread fills spans of 240-byte objects, frees every second one, and ends: the
 *              spans have no thread.  The main thread frees half of what is left (marks), and
 *              allocates one such object, for which the central list hands out a span.
 *      work    Large objects come and go.
 *      end     The program ends.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MADE    100 /* objects of 96 bytes that maker makes; it frees the last FREED of them */
#define FREED   10
#define CROSSED 680 /* objects of 240 bytes: 20 spans */
#define LARGE   ((size_t)100 << 10)

static pthread_barrier_t barrier;
static void *crossed[CROSSED];

static void *checked(void *p) {
    if (!p)
        abort();
    return p;
}

static void *maker(void *arg) {
    void *made[MADE];
    (void)arg;
    pthread_setname_np(pthread_self(), "maker");
    for (size_t i = 0; i < MADE; i++)
        made[i] = checked(malloc(96));
    printf("maker %d %p\n", gettid(), made[MADE - 1]);
    for (size_t i = MADE - FREED; i < MADE; i++)
        free(made[i]);
    pthread_barrier_wait(&barrier);
    for (;;)
        pause();
    return NULL;
}

static void *filler(void *arg) {
    (void)arg;
    for (size_t i = 0; i < CROSSED; i++)
        crossed[i] = checked(malloc(240));
    for (size_t i = 0; i < CROSSED; i += 2)
        free(crossed[i]);
    return NULL;
}

static void cross(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, filler, NULL) || pthread_join(thread, NULL))
        abort();
    for (size_t i = 1; i < CROSSED; i += 4)
        free(crossed[i]);
    crossed[0] = checked(malloc(240));
}

static void work(void) {
    void *volatile p[64];
    for (size_t i = 0; i < 64; i++)
        p[i] = checked(malloc(16 * LARGE));
    for (size_t i = 0; i < 64; i++)
        free(p[i]);
}

int main(int argc, char **argv) {
    pthread_t thread;
    char line[32];
    if (argc != 2)
        return 64;
    pthread_barrier_init(&barrier, NULL, 2);
    if (pthread_create(&thread, NULL, maker, NULL))
        return 1;
    pthread_barrier_wait(&barrier);
    FILE *fifo =
        fopen(argv[1], "r+"); /* writing, too: there is no end of file between two writers */
    if (!fifo)
        return 1;
    for (int step = 0;; step++) {
        printf("done %d\n", step);
        fflush(stdout);
        if (!fgets(line, sizeof line, fifo) || strcmp(line, "end\n") == 0)
            return 0;
        if (strcmp(line, "cross\n") == 0)
            cross();
        else
            work();
    }
}
