/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that the program keeps from its children: an interpreter's heap, so that fork is quick,
 * or buffers of a device (MADV_DONTFORK); keys and states of random numbers (MADV_WIPEONFORK).  A
 * copy of the process has nothing there, or zeroes, and what only that memory leads to would look
 * leaked.
 *
 * The kernel tells which memory this is in one list only, which takes it as long to write as to
 * copy the process.  So first a copy is made as it is, and that looks at itself, while the threads
 * run: if it lacks what the process had before, the list is read, and if it names that, then
 * another copy is made, and while the threads are stopped for it the list is read, and the memory
 * given to the copy: nobody else can make a child meanwhile, or change what the list says.
 *
 * The copy looks at itself, as nobody else may look at that of a process that gives no core, which
 * is each that has changed its user.
 *
 * Many programs have a page that is wiped only to be told that they are a child.  Where no word of
 * it leads into the heap, it costs no second copy.
 *
 * Pages that a device writes to stay the process's own: of pages that are pinned the kernel gives a
 * child copies (Linux 5.12).
 */
#ifndef GM_LEAK_WITHHELD_H
#define GM_LEAK_WITHHELD_H

#include "sys/compiler.h"

struct withheld;

/* withheld_begin notes what memory there is, where copies can write to it; NULL: that can't be
 * told. */
struct withheld *withheld_begin(void);
void withheld_end(struct withheld *w);

/* withheld_look notes what of it is not in the copy that calls. */
void withheld_look(struct withheld *w);

/* withheld_lacks tells how many bytes a copy that has looked lacks, of what matters and is still
 * there. */
uint64_t withheld_lacks(struct withheld *w);

/* withheld_give lets the next copy have it, and withheld_keep no other.  Between the two, and a
 * little before, all threads are stopped. */
void withheld_give(struct withheld *w);
void withheld_keep(struct withheld *w);

/* withheld_refused returns how many bytes could not be given. */
uint64_t withheld_refused(const struct withheld *w);

#endif
