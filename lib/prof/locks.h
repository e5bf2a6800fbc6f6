/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All locks of the heap, the recorder and the metadata, in the order of their ranks: who holds them
 * all knows that no other thread is amid a change of anything.  So do fork, a leak check and a
 * scavenge that is ordered begin.  It stands in this layer as no lower one knows all of them.
 */
#ifndef GM_PROF_LOCKS_H
#define GM_PROF_LOCKS_H

#include <stdbool.h>

void locks_take_all(void);
void locks_release_all(void);

/* locks_reset_all makes them free in the child of a fork, where nobody else is. */
void locks_reset_all(void);

/* locks_any_mine tells whether the calling thread holds one: it is inside the allocator, or was
 * interrupted there by the signal whose handler asks. */
bool locks_any_mine(void);

#endif
