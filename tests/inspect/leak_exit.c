/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leak_exit HOW [STATUS]: a program that has lost objects when it ends; HOW:
 *
 *      return    from main, and main's variables with it
 *      exit      in a function that main has called
 *      thread    exit in another thread, beside threads at work
 *      fork      exit in a child, and then return
 *
 * The functions that make objects are called after what becomes of these: lost_*, kept_*.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "leak_world.h"

static void *volatile by_global, *volatile until_handler, *volatile until_destructor;
static void *volatile freed_by_destructor, *volatile somewhere;
static atomic_int ready;

static NOINLINE void *clear(void *p, size_t n) {
    return memset(p, 0, n);
}

static NOINLINE void *kept_by_global(void) {
    return clear(malloc(48), 48);
}
static NOINLINE void *kept_below(void) {
    return clear(malloc(100), 100);
}
static NOINLINE void *kept_by_caller_of_exit(void) {
    return clear(malloc(200), 200);
}
static NOINLINE void *kept_by_thread(void) {
    return clear(malloc(300), 300);
}
static NOINLINE void *freed_at_exit(void) {
    return clear(malloc(32), 32);
}
static NOINLINE void lost_at_once(void) {
    clear(malloc(500), 500);
    clear(malloc(90000), 90000);
}
static NOINLINE void *lost_in_handler(void) {
    return clear(malloc(600), 600);
}
static NOINLINE void *lost_in_destructor(void) {
    return clear(malloc(700), 700);
}
static NOINLINE void *lost_with_main(void) {
    return clear(malloc(800), 800);
}
static NOINLINE void lost_by_child(void) {
    clear(malloc(900), 900);
}

/* What calls have left on the stack below. */
static NOINLINE void wipe(void) {
    volatile char room[16384];
    for (unsigned i = 0; i < sizeof room; i++)
        room[i] = 0;
}

static void handler(void) {
    until_handler = NULL;
    wipe();
}

__attribute__((destructor)) static void destructor(void) {
    until_destructor = NULL;
    free(freed_by_destructor);
    wipe();
}

static NOINLINE void set_up(void) {
    by_global = kept_by_global();
    *(void **)by_global = kept_below();
    until_handler = lost_in_handler();
    until_destructor = lost_in_destructor();
    freed_by_destructor = freed_at_exit();
    lost_at_once();
    atexit(handler);
}

static NOINLINE void stay(void) {
    ready++;
    for (;;)
        pause();
}

static NOINLINE void hold(void) {
    void *volatile mine = kept_by_thread();
    stay();
    free(mine);
}

static void *holds(void *arg) {
    hold();
    return arg;
}

/* Takes and frees, large ones too, of which a moment's holder is in the middle of malloc. */
static void *works(void *arg) {
    for (unsigned i = 0;; i++) {
        void *p = malloc(16 + i % 3000), *q = malloc(40000 + i % 64 * 8192);
        free(p);
        free(q);
        if (i == 100)
            ready++;
    }
    return arg;
}

static void *ends(void *arg) {
    while (ready < 3)
        sched_yield();
    exit((int)(intptr_t)arg);
}

static NOINLINE void end_in_thread(int status) {
    pthread_t thread;
    pthread_create(&thread, NULL, holds, NULL);
    pthread_create(&thread, NULL, works, NULL);
    pthread_create(&thread, NULL, works, NULL);
    pthread_create(&thread, NULL, ends, (void *)(intptr_t)status);
    stay();
}

static NOINLINE void end(int status) {
    void *volatile mine = kept_by_caller_of_exit();
    exit(status);
    free(mine);
}

static NOINLINE void end_in_child(void) {
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        lost_by_child();
        wipe();
        exit(0);
    }
    waitpid(pid, &status, 0);
}

static NOINLINE int run(const char *how, int status) {
    void *volatile mine = lost_with_main();
    wipe();
    if (strcmp(how, "exit") == 0)
        end(status);
    if (strcmp(how, "thread") == 0)
        end_in_thread(status);
    if (strcmp(how, "fork") == 0)
        end_in_child();
    somewhere = mine;
    somewhere = NULL;
    return status;
}

int main(int argc, char **argv) {
    set_up();
    wipe();
    return run(argc > 1 ? argv[1] : "return", argc > 2 ? atoi(argv[2]) : 0);
}
