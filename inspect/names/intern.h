/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Strings that are kept once each.
 */
#ifndef GOINSPECT_INTERN_H
#define GOINSPECT_INTERN_H

#include <stddef.h>
#include <stdint.h>

struct intern {
    const char **slots; /* open addressing; NULL = empty */
    size_t n;
    size_t room;   /* of slots, a power of two; 0 = none yet */
    char **blocks; /* of bytes, the last one is being filled */
    size_t nblocks;
    size_t used; /* bytes of the last block */
};

/* intern_string returns the one copy of s, which lasts until intern_free; NULL for NULL. */
const char *intern_string(struct intern *t, const char *s);

void intern_free(struct intern *t);

#endif
