/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the capture of a stack takes that is the same again and again, by the library and by
 * unw_backtrace; and what the first one of a thread takes.
 *
 *   capture hot DEPTH    ns a capture by the library, ns by unw_backtrace: medians of CPU time over
 *                        short repetitions, in turns
 *   capture first        us until a new thread has its first capture, the median of some threads
 */
#include "capture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REPEAT  300 /* captures in a repetition */
#define ROUNDS  201
#define THREADS 51

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, unsigned n) {
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

static double time_of(unsigned (*capture)(unsigned)) {
    double begin = now_ns();
    capture(REPEAT);
    return (now_ns() - begin) / REPEAT;
}

static void measure(void) {
    static double replay[ROUNDS], unwind[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        replay[i] = time_of(both_capture_replay);
        unwind[i] = time_of(both_capture_unwind);
    }
    printf("%u %.2f %.2f\n", both_capture_replay(1), median(replay, ROUNDS),
           median(unwind, ROUNDS));
}

/* Frames of some size, and what a program does with registers. */
static __attribute__((noinline)) unsigned recurse(unsigned depth, unsigned x) {
    volatile char local[40];
    local[depth % sizeof local] = (char)x;
    if (depth == 0)
        measure();
    else
        x += recurse(depth - 1, x * 3) + (unsigned char)local[x % sizeof local];
    return x + depth;
}

static void *first(void *arg) {
    double begin = now_ns();
    if (!both_first())
        exit(2);
    *(double *)arg = (now_ns() - begin) / 1000;
    return NULL;
}

static double first_of_a_thread(void) {
    pthread_t t;
    double us = 0;
    if (pthread_create(&t, NULL, first, &us) != 0)
        exit(2);
    pthread_join(t, NULL);
    return us;
}

int main(int argc, char **argv) {
    if (!both_init())
        return 1;
    if (argc == 3 && strcmp(argv[1], "hot") == 0) {
        /* main, its caller and the one of that stand outside */
        unsigned depth = (unsigned)strtoul(argv[2], NULL, 10);
        recurse(depth > 5 ? depth - 5 : 0, 1);
        return 0;
    }
    static double us[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        us[i] = first_of_a_thread();
    printf("%.2f\n", median(us, THREADS));
    return 0;
}
