/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks beyond the recorder's bounds: bounds deep LEVELS | many STACKS
 *
 * deep    allocates one object under so many frames of one function, "level"
 * many    allocates one object from each of so many different stacks: two functions call each other
 *         or themselves in an order that is the bits of a number; and from "first" as often, which
 *         was there before
 */
#include "check.h"

#define SITE __attribute__((noinline))

static void *volatile object; /* or the compiler drops the calls */

static SITE void level(unsigned left) {
    if (left > 1)
        level(left - 1);
    else
        object = malloc(40);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

SITE void odd(unsigned bits, unsigned left);
SITE void even(unsigned bits, unsigned left);

#define TURN(bits, left)                                                                           \
    if (left == 0)                                                                                 \
        object = malloc(24);                                                                       \
    else if ((bits & 1) != 0)                                                                      \
        odd(bits >> 1, left - 1);                                                                  \
    else                                                                                           \
        even(bits >> 1, left - 1);                                                                 \
    __asm__ volatile("" ::: "memory")

void odd(unsigned bits, unsigned left) {
    TURN(bits, left);
}

void even(unsigned bits, unsigned left) {
    TURN(bits, left);
}

static SITE void first(void) {
    object = malloc(56);
    __asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    unsigned n = (unsigned)strtoul(argv[2], NULL, 10);
    if (strcmp(argv[1], "deep") == 0) {
        level(n);
        return 0;
    }
    for (unsigned i = 0; i < n; i++) {
        first();
        even(i, 17);
    }
    return 0;
}
