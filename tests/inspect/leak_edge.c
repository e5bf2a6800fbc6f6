/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leak_edge aligned | unaligned | stale | nested: objects that a conservative search may see either
 * way.
 *
 *   aligned     the only word that leads to an object stands at an odd address: it is lost to who
 *               looks at multiples of 8
 *   unaligned   and kept to who looks everywhere
 *   stale       lost objects, whose addresses are left over in a frame that is still in use: no
 *               search can know that they are not needed
 *   nested      objects on the stack of a coroutine that rests, in an array on the thread's stack;
 *               the thread is on another one above
 */
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "leak_world.h"

enum { OBJECTS = 5, SIZE = 64, STACK = 64 << 10 };

static char packed[256];

static NOINLINE void make_packed(int lost) {
    for (int i = 0; i < OBJECTS; i++) {
        uintptr_t hidden = world_make(SIZE);
        uintptr_t word = HIDE(hidden);
        memcpy(packed + 1 + i * 9, &word, sizeof word);
        world_say(lost, "packed", hidden);
    }
    world_wipe();
}

/* What the program has forgotten of is written by a function that has returned, into the frame of
 * one that has not. */
static NOINLINE void leave_behind(volatile uintptr_t *frame) {
    for (int i = 0; i < OBJECTS; i++) {
        uintptr_t hidden = world_make(SIZE);
        world_put((void *)&frame[i], hidden, 0);
        world_say(1, "stale", hidden);
    }
    for (int i = 0; i < OBJECTS; i++)
        world_say(1, "lost", world_make(SIZE));
    world_wipe();
}

static ucontext_t caller, resting, running;

static void rest_there(void) {
    volatile uintptr_t frame[OBJECTS] = {0};
    for (int i = 0; i < OBJECTS; i++) {
        uintptr_t hidden = world_make(SIZE);
        world_put((void *)&frame[i], hidden, 0);
        world_say(0, "resting", hidden);
    }
    world_wipe();
    swapcontext(&resting, &caller);
    frame[0] = 0;
}

static void run_there(void) {
    world_say(1, "lost", world_make(SIZE));
    world_wipe();
    world_rest(1);
}

static void begin_on(ucontext_t *c, char *stack, void (*run)(void)) {
    getcontext(c);
    c->uc_stack.ss_sp = stack;
    c->uc_stack.ss_size = STACK;
    makecontext(c, run, 0);
    swapcontext(&caller, c);
    memset(&caller, 0, sizeof caller); /* it has this function's registers */
}

static NOINLINE void nest(void) {
    char stacks[3 * STACK] __attribute__((aligned(16)));
    begin_on(&resting, stacks, rest_there);
    begin_on(&running, stacks + 2 * (size_t)STACK, run_there);
}

int main(int argc, char **argv) {
    volatile uintptr_t frame[OBJECTS] = {0};
    if (argc != 2)
        return 64;
    world_begin();
    if (strcmp(argv[1], "stale") == 0)
        leave_behind(frame);
    else if (strcmp(argv[1], "nested") == 0)
        nest();
    else
        make_packed(strcmp(argv[1], "aligned") == 0);
    world_rest(1);
}
