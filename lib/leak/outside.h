/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whether a stopped thread is outside of the library: between two calls of it, not amid one.
 *
 * What a thread owns in the heap (its mcache) is written by plain stores, without a lock.  So
 * somebody else may touch it only while the thread stands still where nothing of it is half done:
 * outside.  Whoever is outside will find what was done as if it had called malloc_trim itself.
 *
 * Within the library is who has his program counter in its code, or will return to it.  The latter
 * is a word of the stack, between the stack pointer and the stack's end, that leads to the code;
 * a signal's handler that has interrupted the library keeps the counter there as well.  That a
 * word may stand there by chance, left by an earlier call, makes a thread look as if it were
 * within, never the other way round.  A thread of which not all of that can be seen counts as
 * within, too: it did not stop, it runs on a stack that is not its own (a coroutine's, or the
 * alternate one of signals, while the call may be on the other), or its stack is unknown.
 *
 * Not seen is a coroutine that a signal's handler has left, amid a call of the library, for the
 * thread's own stack.  To such a program malloc is closed on that thread anyway: it is not
 * async-signal-safe.
 */
#ifndef GM_LEAK_OUTSIDE_H
#define GM_LEAK_OUTSIDE_H

#include "leak/stop.h"

struct outside {
    uintptr_t text_lo, text_hi; /* the library's code */
    uintptr_t main_stack;       /* an address at the far end of the first thread's stack */
    uint32_t main_tid;
};

/* outside_init fills it for this process. */
void outside_init(struct outside *o);

/* outside_is tells it of a thread that stop_thread has returned, after stop_find_stacks, while it
 * is stopped. */
bool outside_is(const struct outside *o, const struct stop_thread *t);

#endif
