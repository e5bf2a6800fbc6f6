/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program that has lost objects when it says "ready", and more after SIGUSR1, when it says
 * "more". The functions that make objects are called after what becomes of these.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "leak_world.h"

static void *volatile until_signal, *volatile by_global;
static volatile sig_atomic_t told;

static NOINLINE void *lost_first(void) {
    return memset(malloc(100), 0, 100);
}
static NOINLINE void *lost_later(void) {
    return memset(malloc(200), 0, 200);
}
static NOINLINE void *lost_last(void) {
    return memset(malloc(300), 0, 300);
}
static NOINLINE void *kept(void) {
    return memset(malloc(400), 0, 400);
}

static void on_signal(int signal_number) {
    told = signal_number;
}

static NOINLINE void say(const char *word) {
    puts(word);
    fflush(stdout);
}

int main(void) {
    world_begin();
    signal(SIGUSR1, on_signal);
    lost_first();
    lost_first();
    until_signal = lost_later();
    by_global = kept();
    world_wipe();
    say("ready");
    while (!told)
        usleep(1000);
    until_signal = NULL;
    lost_last();
    world_wipe();
    say("more");
    for (;;)
        pause();
}
