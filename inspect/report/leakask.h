/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a leak check is to be made: the options of the verbs that have a process make one.
 */
#ifndef GOINSPECT_LEAKASK_H
#define GOINSPECT_LEAKASK_H

#include <stdbool.h>
#include <stdint.h>

#define LEAKASK_KEY 0x380 /* and the next three */

/* They stand in the verb's own table, below its other options. */
/* clang-format off */
#define LEAKASK_OPTIONS                                                                            \
    {"first-bytes", LEAKASK_KEY, NULL, 0, "an address within an object does not keep it", 2},      \
    {"unaligned", LEAKASK_KEY + 1, NULL, 0,                                                        \
     "look for addresses at any place, not multiples of 8", 2},                                    \
    {"no-mapped", LEAKASK_KEY + 2, NULL, 0,                                                        \
     "memory that the program has mapped keeps nothing", 2},                                       \
    {"in-place", LEAKASK_KEY + 3, NULL, 0,                                                         \
     "no copy of the process: its threads wait for all of the check (needs control=on)", 2}
/* clang-format on */

/* leakask_option adds what one of them asks for to *ask, GOMALLOC_ASK_LEAK_*.  False: it is another
 * option. */
bool leakask_option(int key, uint64_t *ask);

#endif
