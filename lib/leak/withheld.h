/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that the program keeps from its children (MADV_DONTFORK): an interpreter's heap, so that
 * fork is quick, or buffers of a device.  A copy of the process has nothing there, and what only
 * that memory leads to would look leaked.
 *
 * The kernel tells which memory this is in one list only, which takes it as long to write as to
 * copy the process.  So first a copy is made as it is; if it lacks anything that the process had
 * before and has after, there is such memory.  Then another is made, and while the threads are
 * stopped for it the list is read, and the memory given to the copy: nobody else can make a child
 * meanwhile, or change what the list says.
 *
 * Pages that a device writes to stay the process's own: of pages that are pinned the kernel gives a
 * child copies (Linux 5.12).
 */
#ifndef GM_LEAK_WITHHELD_H
#define GM_LEAK_WITHHELD_H

#include "sys/compiler.h"

struct withheld;

/* withheld_begin notes what memory there is; NULL: that can't be told. */
struct withheld *withheld_begin(void);
void withheld_end(struct withheld *w);

/* withheld_from tells whether a copy made since lacks any of it. */
bool withheld_from(struct withheld *w, int pid);

/* withheld_give lets the next copy have it, and withheld_keep no other.  Between the two, and a
 * little before, all threads are stopped. */
void withheld_give(struct withheld *w);
void withheld_keep(struct withheld *w);

#endif
