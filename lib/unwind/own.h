/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which code is this library's own.
 */
#ifndef GM_UNWIND_OWN_H
#define GM_UNWIND_OWN_H

#include "sys/compiler.h"

struct own_range {
    uint64_t start;
    uint64_t end;
};
extern struct own_range own_range; /* set by own_init */

/* own_segments returns what the segments with the flag (PF_X, PF_W) of the object that this file is
 * linked into extend over. */
struct own_range own_segments(uint32_t flag);

/* own_init finds the executable segments of the object that this file is linked into. */
void own_init(void);

gm_inline bool own_code(uint64_t pc) {
    return pc - own_range.start < own_range.end - own_range.start;
}

#endif
