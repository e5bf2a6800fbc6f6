/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads that say where they are after the others have gone on.
 *
 * A thread that waits for a disk, for a processor, or for its child in vfork, does not take the
 * signal that is to stop it.  But it cannot do anything either: the kernel delivers the signal
 * before the thread's next instruction.  So a copy of the process that is made meanwhile has its
 * memory as it is to be, and its registers are the same when at last it comes to the handler.
 * There they are left where the copy finds them, and the thread goes on.  Nobody else has to wait:
 *
 *      process     stop - copy - go on             late thread: here I was
 *      copy                       wait for that -------+------------ mark
 *
 * This is not so of a thread that blocks the signal: it runs on.  libc blocks it for moments, and
 * as long as a child of posix_spawn has not executed.  For such threads it is waited while all
 * others run, and then tried again.
 */
#ifndef GM_LEAK_STOP_LATE_H
#define GM_LEAK_STOP_LATE_H

#include <stdatomic.h>

#include "leak/stop.h"

#define STOP_LATE_NS  UINT64_C(10000000) /* without an answer: is late */
#define STOP_LATE_MAX 32                 /* threads */

/* Where a late thread was: a page of its own. */
struct stop_late_slot {
    _Atomic uint32_t there;
    uint32_t regs_bytes;
    uint64_t sp, pc, tp;
    char regs[4096 - 32] __attribute__((aligned(16))); /* vector registers may be cut off */
};

/* In memory that the process and its copy share. */
struct stop_late {
    _Atomic uint32_t nthere; /* a futex */
    struct stop_late_slot slots[STOP_LATE_MAX] __attribute__((aligned(4096)));
};

/* stop_late_clear forgets who has come.  Nobody does meanwhile. */
void stop_late_clear(struct stop_late *l);

/* stop_late_arrive is the handler's: where the thread was. */
void stop_late_arrive(struct stop_late *l, uint32_t slot, const struct stop_thread *t);

/* stop_late_get tells where it was; false: it has not come yet. */
bool stop_late_get(const struct stop_late *l, uint32_t slot, struct stop_thread *ret);

/* stop_late_wait waits, in the copy, until other than n threads have come, or for a moment. */
void stop_late_wait(struct stop_late *l, uint32_t n);

#endif
