/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two ways to learn who allocates, side by side: ours and libunwind's.  See capture_both.c.
 */
#ifndef BENCH_CAPTURE_H
#define BENCH_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

/* Ticks of the processor's time stamp counter. */
struct capture_cost {
    uint64_t capture; /* the stack */
    uint64_t intern;  /* and finding it in a table */
};

/* both_init makes both ready.  False: there is no libunwind here. */
bool both_init(void);

/* both_replay and both_unwind capture and intern the stack, of frames outside of their object.
 * What reading the counter takes is in the costs. */
struct capture_cost both_replay(void);
struct capture_cost both_unwind(void);

/* both_capture_replay and both_capture_unwind capture only, n times the same stack.  They return
 * the number of frames found. */
unsigned both_capture_replay(unsigned n);
unsigned both_capture_unwind(unsigned n);

/* both_first gives the calling thread what the library needs of one, and captures and interns its
 * stack. */
bool both_first(void);

#endif
