/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sorted ranges of code, and the DWARF entries that they are of.
 */
#ifndef GOINSPECT_RANGES_H
#define GOINSPECT_RANGES_H

#include <elfutils/libdw.h>
#include <stddef.h>
#include <stdint.h>

struct range {
    Dwarf_Addr low, high;
    Dwarf_Die die;   /* only valid as long as libdw's handle */
    uint32_t number; /* of a unit, or of a block; what the owner likes */
};

struct ranges {
    struct range *items;
    size_t n, room;
};

/* ranges_add adds those of a die, all with the same number. */
void ranges_add(struct ranges *r, Dwarf_Die *die, uint32_t number);

/* ranges_sort makes them ready to be searched. */
void ranges_sort(struct ranges *r);

/* ranges_find returns the one that holds address, NULL if none does.  They must not overlap. */
struct range *ranges_find(const struct ranges *r, Dwarf_Addr address);

void ranges_free(struct ranges *r);

#endif
