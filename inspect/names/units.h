/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The compilation units of one file with DWARF: which one holds an address, and the functions and
 * lines there.
 */
#ifndef GOINSPECT_UNITS_H
#define GOINSPECT_UNITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "names/debuginfo.h"
#include "names/elffile.h"

#define UNITS_NONE UINT32_MAX

struct units;

/* units_new reads which units there are; NULL if the file's DWARF can't be read.  The file must
 * outlive it.  root: where files of the process are, "" = here. */
struct units *units_new(struct elffile *file, const char *root);
void units_free(struct units *u); /* NULL is allowed */

/* units_find returns the number of the unit that holds address, UNITS_NONE if none does. */
uint32_t units_find(const struct units *u, uint64_t address);

/* units_enter makes a unit the one that units_lookup looks in.  What was found before may be gone
 * then, strings included. */
void units_enter(struct units *u, uint32_t unit);

/* units_lookup fills at most max frames of the code at address, innermost first, and returns their
 * number; 0 if nothing is known.  A line may be known where no function is. */
size_t units_lookup(struct units *u, uint64_t address, struct debuginfo_frame *frames, size_t max);

/* units_missing returns the name of a file that the unit refers to and that is not there (.dwo of
 * -gsplit-dwarf, or the file of dwz), NULL if there is all. */
const char *units_missing(const struct units *u);

#endif
