/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a leak check is to be made: see the header.
 */
#include <stddef.h>

#include "report/leakask.h"
#include "target/client.h"

/* In the order of the options. */
static const uint64_t bits[] = {GOMALLOC_ASK_LEAK_FIRST_BYTES, GOMALLOC_ASK_LEAK_UNALIGNED,
                                GOMALLOC_ASK_LEAK_NOT_MAPPED, GOMALLOC_ASK_LEAK_IN_PLACE};

bool leakask_option(int key, uint64_t *ask) {
    size_t i = (size_t)(key - LEAKASK_KEY);
    if (key < LEAKASK_KEY || i >= sizeof(bits) / sizeof(*bits))
        return false;
    *ask |= bits[i];
    return true;
}
