/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What stopped threads write to first, got out of the way of their going on.
 *
 * After a copy of the process has been made, whoever writes to a page first has it copied.  For a
 * thread that goes on those are a page of its stack, the one with its thread pointer (where the
 * kernel notes on which processor it runs), its mcache and a page of hints.  While the process's
 * threads run on several processors, each such fault interrupts the others, lest they use the old
 * page, and waits for them: 12 us of processor time rather than 3, and 50 threads on two
 * processors wait 1.4 ms for the last of them to be on its way.
 *
 * So it is done while they are stopped, when nobody has to be told; and by two, one in the process
 * and one in the copy, on another processor: of a page of which the copy has made its own, the
 * process is the only owner, and its fault has nothing to copy and nobody to tell.  They share the
 * work by a counter.  50 threads are ready after 0.4 ms, and on their way after another 0.4 ms.
 *
 * It is an offer: where the kernel does not know how (before 5.14), nothing is done.
 */
#ifndef GM_LEAK_UNSHARE_H
#define GM_LEAK_UNSHARE_H

#include <stdatomic.h>

#include "sys/compiler.h"

#define UNSHARE_MAX 256 /* threads; with more of them they are better at it themselves */

/* unshare_pages takes one of what is to be done after the other, until nothing is left.  next: in
 * shared memory, 0 at first.  While the threads are stopped, as stop_thread tells: in the process,
 * and in a copy. */
void unshare_pages(_Atomic uint32_t *next);

#endif
