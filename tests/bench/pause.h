/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the parts of the program share that measures how long a leak check makes a program wait.
 */
#ifndef TESTS_BENCH_PAUSE_H
#define TESTS_BENCH_PAUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* pause_heap makes a heap, of which one global pointer leads to all: `size` MiB of "bytes", or as
 * many "blocks" of 64 bytes in a tree, or objects of a random "graph" (pause_heap.c).  Returns the
 * number of objects, 0: there is no such kind; *ret_bytes are those that were asked for. */
size_t pause_heap(const char *kind, size_t size, size_t *ret_bytes);

/* What a check says of itself, ns; 0: it does not say. */
struct pause_said {
    uint64_t longest;
    uint64_t stopping;
    uint64_t copying;
    uint64_t mark;
    uint64_t group;
    uint64_t lost; /* objects */
};

/* pause_check has a leak check made and waits for its end: by the library's agent, or, in the
 * program that is built with it, by LeakSanitizer.  False: it said why. */
bool pause_check(struct pause_said *ret);

uint64_t pause_now(void); /* ns */

#endif
