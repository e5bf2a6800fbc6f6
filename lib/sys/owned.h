/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which mappings of the process are the library's own, and what for.
 *
 * Whoever looks at the process's memory from within (the leak check, which must not take the
 * library's tables for the program's; the account of what is resident) has to tell ours from the
 * program's, and the kernel's list of mappings does not say: adjacent ones are one line there.
 *
 * A range is one word: so it appears and goes as a whole, without a lock, and a child of a fork
 * finds the table as it was.  Ranges of one purpose that touch are joined: that they rarely are not
 * is what keeps the table short.  A table that is full forgets, and says so.
 */
#ifndef GM_SYS_OWNED_H
#define GM_SYS_OWNED_H

#include "sys/compiler.h"

#define OWNED_MAX      8192 /* ranges */
#define OWNED_PURPOSES 16

struct owned_range {
    uintptr_t start; /* address, a multiple of 4096 */
    uintptr_t end;
    unsigned why; /* enum mem_purpose */
};

/* owned_add notes that n bytes at p have become the library's. */
void owned_add(const void *p, size_t n, unsigned why);

/* owned_remove notes that n bytes at p are not the library's any more; all or a part of what was
 * added, at once or in pieces. */
void owned_remove(const void *p, size_t n);

/* owned_list stores up to max ranges, ordered by address, and returns how many there are.  Ranges
 * that come or go meanwhile may be missing. */
size_t owned_list(struct owned_range *ret, size_t max);

/* owned_lost returns how many ranges the table had no room for. */
uint64_t owned_lost(void);

#endif
