/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How far a stack reaches.
 *
 * What is below the stack pointer of a thread is over, but only down to where its stack begins, and
 * mappings do not tell that: a signal's alternate stack is an array beside the program's variables,
 * the stacks of coroutines are cut from one block, and the kernel makes one mapping of stacks
 * without guards and what is next to them.  So a stack has an end only if somebody says so:
 *
 *      libc      of a stack that it has made, or was given: in the thread's descriptor
 *      kernel    of an alternate stack: in the frame of the signal that stopped the thread.  Of the
 *                first thread's: its mapping has a name
 *
 * Of any other, a coroutine's, nothing is known, and all that is below counts as the program's
 * memory.  So it does on a thread's own stack, if the frames end long before the stack does: then
 * the thread is on a coroutine in an array there, and others may rest in what is below.
 *
 * Where in its descriptor libc has begin, size and guard is not told by any header, and has changed
 * from version to version.  It is learnt from a thread at hand: of all three words in a row there,
 * only they can describe pages around the descriptor.
 */
#ifndef GM_LEAK_STACK_EXTENT_H
#define GM_LEAK_STACK_EXTENT_H

#include "leak/roots.h"

struct stack_extent {
    uintptr_t lo;   /* where the stack begins */
    uintptr_t live; /* what is below, from lo on, is over; the red zone is live */
    uintptr_t hi;   /* where it ends */
    bool nested;    /* all of it is live: the thread is on another, within */
};

/* stack_extent_learn returns the place of the three words, from the descriptor on, that libc has of
 * the threads' stacks; 0: none of them tells. */
size_t stack_extent_learn(const struct roots *r);

/* stack_extent_of tells of the stack that a thread is on.  False: it is not known. */
bool stack_extent_of(size_t place, const struct root_thread *t, struct stack_extent *ret);

/* stack_extent_know_contexts learns what libc's coroutines look like, before threads are stopped.
 */
void stack_extent_know_contexts(void);

/* stack_extent_nested tells whether the thread is on a stack within its own, of which it is known
 * to be all that there is up to its variables (tls_bytes, 0: not known), or the first thread's. */
bool stack_extent_nested(const struct root_thread *t, uintptr_t tls_bytes, bool first);

/* stack_extent_dead tells where the stack of a thread begins that has ended, of which only the
 * descriptor is left.  0: it is not known, or may be memory of the program's, in use for something
 * else again. */
uintptr_t stack_extent_dead(size_t place, uintptr_t descriptor);

#endif
