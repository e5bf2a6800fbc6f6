/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is inlined where, in the functions of a unit.
 */
#ifndef GOINSPECT_BLOCKS_H
#define GOINSPECT_BLOCKS_H

#include <elfutils/libdw.h>
#include <stddef.h>
#include <stdint.h>

#include "names/ranges.h"

/* A function, or a block in one. */
struct block {
    struct ranges inner; /* the blocks directly in it; their numbers are places in blocks */
    bool opened;         /* they have been collected */
};

struct blocks {
    struct block *items; /* 0 stands for none */
    size_t n, room;
    uint64_t *left; /* entries that may still be looked at; the owner's */
};

/* blocks_chain fills chain with function and what is inlined in it at address, outermost first, at
 * most max >= 1 of them, and returns their number. */
size_t blocks_chain(struct blocks *b, struct range *function, Dwarf_Addr address, Dwarf_Die *chain,
                    size_t max);

/* blocks_reset forgets all of them; their memory is kept for the next unit's.  blocks_free does
 * not keep it. */
void blocks_reset(struct blocks *b);
void blocks_free(struct blocks *b);

#endif
