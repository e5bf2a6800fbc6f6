/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Pins: which sites keep memory that is mostly free.
 *
 * A block (a span, 2 MiB, or an arena) goes back to the kernel as a whole only when no object is
 * left in it.  A row says how many objects of one site stand in one sparse block, and for how many
 * of its bytes they are answerable.
 *
 * The bytes of a block are divided among its sites by their objects.  Each object keeps the block
 * alone as well as all others together, so no object has more of a claim than another; and a share
 * by objects does not change when stacks are summed up by line or function, as one by sites would.
 * In a span, where all slots are alike, it is also the share by bytes.  The division is exact: the
 * shares of a block are whole, and their sum is the block's bytes.
 */
#ifndef GOINSPECT_PINS_H
#define GOINSPECT_PINS_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

#define PINS_MOST_USED 75 /* percent: a block that is fuller has no rows */

enum pin_unit {
    PIN_SPAN,  /* slots of a size class: a large object fills its span, and a stack has no site */
    PIN_HUGE,  /* 2 MiB at a multiple of that, what one huge page covers */
    PIN_ARENA, /* 64 MiB */
    PIN_NUNITS
};

struct pin {
    uint64_t base;          /* address of the block */
    uint64_t bytes;         /* share of block_bytes */
    uint64_t objects;       /* live ones of this site that stand in it, if only in part */
    uint64_t block_bytes;   /* what goes back with it: a span's pages; else the pages in spans, and
                               the free ones that are still backed */
    uint64_t block_used;    /* of these, given to live objects */
    uint64_t block_objects; /* of all sites */
    uint32_t block_sites;   /* how many have objects there */
    uint32_t site;          /* 0 = not recorded; stacks, too */
    enum pin_unit unit;
};

struct pins {
    struct pin *rows; /* ordered by unit, base, site */
    size_t nrows;
};

/* pins_new finds the pins of an image; NULL if memory is short. */
struct pins *pins_new(const struct image *im);
void pins_free(struct pins *pins);

/* pins_find returns the number of the first row of a unit or a later one. */
size_t pins_find(const struct pins *pins, int64_t unit);

#endif
