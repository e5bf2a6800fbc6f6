/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large objects in their first moment.
 *
 * A thread that allocates a small object has its address in a register before the object lives
 * (mcache_visible).  A large object is a span of its own, and lives as soon as that is in use; what
 * the thread has then, until malloc returns, is the address of the span's header, which is no
 * address of the heap.  A thread that was stopped there, within the library's code, has it in a
 * register or in one of the library's frames.  So there such words keep objects.
 */
#ifndef GM_LEAK_NEWBORN_H
#define GM_LEAK_NEWBORN_H

#include "leak/roots.h"

/* newborn_mark keeps what these threads are about to return from malloc. */
void newborn_mark(struct mark *m, const struct root_thread *threads, size_t n);

#endif
