/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The "program" of test_capture: functions outside of the object that holds the recorder, which
 * know their own return addresses.
 */
#ifndef CAPTURE_PROGRAM_H
#define CAPTURE_PROGRAM_H

#include <stdint.h>

struct program_run {
    void (*visit)(struct program_run *run); /* called from the innermost frame */
    uint64_t *pcs;                          /* return addresses, innermost first */
    unsigned n;                             /* of them */
};

/* program_recurse calls itself `depth` times and then run->visit; notes the return address of each
 * of the depth + 1 calls. */
int program_recurse(struct program_run *run, unsigned depth);

/* program_mutual does the same by two functions with frames of different kinds (alloca, many saved
 * registers). */
int program_mutual(struct program_run *run, unsigned depth);

/* program_wild calls run->visit from a function without unwind information, whose frame pointer is
 * an address that can't be read. */
void program_wild(struct program_run *run);

#endif
