/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a leak check makes a program's threads wait:
 *
 *      pause KIND SIZE ROUNDS
 *
 * makes a heap (pause_heap.c) and 50 threads, prints "heap OBJECTS BYTES RESIDENT", and in each
 * round does three things, and prints what the threads have seen of them:
 *
 *      round FORK FORKED QUIET STALL TOOK LONGEST STOPPING COPYING MARK GROUP LOST INTERRUPTED
 *
 *   FORK      us for a bare fork: a clone without what libc and the library do around it
 *   FORKED    the longest stall of a thread around the time of the fork
 *   QUIET     the longest stall in as much time in which nothing was done
 *   STALL     the longest stall around the beginning of a leak check
 *   TOOK      us from the question to the answer
 *   LONGEST STOPPING COPYING   us, and
 *   MARK GROUP                 us, and
 *   LOST                       objects: what the check says of itself
 *   INTERRUPTED   calls that have failed with EINTR
 *
 * A stall is what a thread notices: it sleeps until a time of about a millisecond ahead, for each
 * turn another, and looks how late it is.  So threads are seldom ready to run, and what they wait
 * for a processor hardly counts; 50 that read the clock in a loop on two processors would each wait
 * for the other 48 all of the time, and tell of nothing else.  What is left of that is in QUIET.
 * As the threads' times lie densely, the latest of them saw all of the pause but some microseconds.
 * Each turn has a malloc and a free: who waits for the allocator's locks is stalled as well.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pause.h"

enum { THREADS = 50, STACK = 128 << 10 };
#define WINDOW_NS UINT64_C(30000000) /* that is looked at, and twice the time of a fork */

/* Of one thread. */
struct sleeper {
    pthread_t thread;
    uint64_t seed;
    _Atomic uint64_t worst_ns; /* since it was set to 0 */
    _Atomic uint64_t awake_ns; /* when it woke up last */
    void *object;
} __attribute__((aligned(64)));

static struct sleeper sleepers[THREADS];
static _Atomic uint64_t from_ns, to_ns; /* what is looked at */
static _Atomic uint64_t ninterrupted;

uint64_t pause_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t ns) {
    const struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        atomic_fetch_add(&ninterrupted, 1);
}

static void turn(struct sleeper *s) {
    s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
    uint64_t due = pause_now() + 200000 + (s->seed >> 33) % 1600000;
    sleep_until(due);
    void *fresh = malloc(100);
    free(s->object);
    s->object = fresh;
    uint64_t now = pause_now();
    if (due < atomic_load(&to_ns) && now > atomic_load(&from_ns) &&
        now - due > atomic_load(&s->worst_ns))
        atomic_store(&s->worst_ns, now - due);
    atomic_store(&s->awake_ns, now);
}

static void *sleep_on(void *arg) {
    for (;;)
        turn(arg);
    return NULL;
}

static void start(void) {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    for (size_t i = 0; i < THREADS; i++) {
        sleepers[i].seed = i + 1;
        if (pthread_create(&sleepers[i].thread, &attr, sleep_on, &sleepers[i]) != 0) {
            perror("pause: pthread_create");
            exit(1);
        }
    }
}

/* ---- a window ------------------------------------------------------------------------------ */

static void look(uint64_t length_ns) {
    for (size_t i = 0; i < THREADS; i++)
        atomic_store(&sleepers[i].worst_ns, 0);
    uint64_t now = pause_now();
    atomic_store(&to_ns, now + length_ns);
    atomic_store(&from_ns, now);
}

/* Waits until every thread has been awake behind the end of what is looked at. */
static double worst_us(void) {
    uint64_t worst = 0;
    sleep_until(atomic_load(&to_ns));
    for (size_t i = 0; i < THREADS; i++) {
        while (atomic_load(&sleepers[i].awake_ns) < atomic_load(&to_ns))
            sleep_until(pause_now() + 1000000);
        uint64_t w = atomic_load(&sleepers[i].worst_ns);
        worst = w > worst ? w : worst;
    }
    atomic_store(&from_ns, UINT64_MAX);
    return (double)worst / 1e3;
}

static double bare_fork_us(int *ret_pid) {
    uint64_t begin = pause_now();
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        for (;;)
            syscall(SYS_exit_group, 0);
    *ret_pid = (int)pid;
    return (double)(pause_now() - begin) / 1e3;
}

static double us(uint64_t ns) {
    return (double)ns / 1e3;
}

/* The first fork after a while finds the processor's caches cold, as a check does. */
static bool do_round(uint64_t *length_ns) {
    struct pause_said said;
    int pid;
    sleep_until(pause_now() + 100000000);
    look(*length_ns);
    double forking = bare_fork_us(&pid), forked = worst_us();
    waitpid(pid, NULL, 0);
    *length_ns = WINDOW_NS + (uint64_t)(2e3 * forking);
    look(*length_ns);
    double quiet = worst_us();
    sleep_until(pause_now() + 100000000);
#ifdef PAUSE_LSAN
    look(UINT64_C(1) << 62);
#else
    look(*length_ns);
#endif
    uint64_t begin = pause_now();
    if (!pause_check(&said))
        return false;
    uint64_t end = pause_now();
#ifdef PAUSE_LSAN
    atomic_store(&to_ns, end);
#endif
    double stall = worst_us();
    printf("round %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f %.1f %lu %lu\n", forking, forked,
           quiet, stall, us(end - begin), us(said.longest), us(said.stopping), us(said.copying),
           us(said.mark), us(said.group), said.lost, atomic_load(&ninterrupted));
    fflush(stdout);
    return true;
}

static long resident(void) {
    long size, pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%ld %ld", &size, &pages) != 2)
        exit(1);
    fclose(f);
    return pages * 4096;
}

int main(int argc, char **argv) {
    uint64_t length_ns = 3 * WINDOW_NS;
    size_t bytes;
    if (argc != 4)
        return 64;
    size_t n = pause_heap(argv[1], strtoul(argv[2], NULL, 10), &bytes);
    if (n == 0)
        return 64;
    printf("heap %zu %zu %ld\n", n, bytes, resident());
    start();
    for (int i = atoi(argv[3]); i > 0; i--)
        if (!do_round(&length_ns))
            return 1;
    fflush(stdout);
    _exit(0);
}
