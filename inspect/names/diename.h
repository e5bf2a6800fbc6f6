/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the function is called that an entry of DWARF is of.
 */
#ifndef GOINSPECT_DIENAME_H
#define GOINSPECT_DIENAME_H

#include <elfutils/libdw.h>
#include <stdint.h>

/* diename returns the name, mangled if it has a linkage name; NULL: it has none. */
const char *diename(Dwarf_Die *die);

/* diename_closure returns the name of a call operator that has no linkage name, with what it stands
 * in: main::{lambda}::operator(); to be freed.  NULL: it is none.  *left is counted down by
 * each entry that is looked at. */
char *diename_closure(Dwarf_Die *die, uint64_t *left);

#endif
