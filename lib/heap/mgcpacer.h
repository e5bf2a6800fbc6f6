/* SPDX-License-Identifier: BSD-3-Clause
 *
 * When the heap gives pages back, and how many.  See mgcpacer.c.
 */
#ifndef GM_HEAP_MGCPACER_H
#define GM_HEAP_MGCPACER_H

#include "heap/mgcscavenge.h"

/* The policy for one heap.  nanotime and pages: set by scavenger_init.  Fields of the first group
 * are guarded by the heap lock, those of the second belong to the thread that calls
 * scavenger_tick. */
struct scavenger {
    struct page_alloc *pages;
    uint64_t (*nanotime)(void); /* any clock, for the time that the work takes */

    uint64_t last_peak;     /* pages: the most in use during the last window; 0 = none has ended */
    uint64_t released_base; /* npages_released when the window began */
    uint64_t reused_base;   /* npages_reused when the window began */
    uint64_t released_last; /* pages released during the window before */
    uint64_t window_ns;     /* length of a window: memory must have been idle for one, or two */
    uint64_t window_end_ns; /* when this one ends; 0 = no tick yet */
    uint32_t ncalm;         /* windows without regret since the length was last changed */
    bool regretful;         /* too much of what was given back came into use again: no scavenging on
                               growth */
    uint64_t nwindows;      /* windows ended so far */
    uint64_t nregrets;      /* of these, the regretted ones */

    bool working;       /* began giving back, and isn't down at the goal yet */
    uint64_t worked_ns; /* time spent on it */
};

void scavenger_init(struct scavenger *s, struct page_alloc *p, uint64_t (*nanotime)(void));

/* scavenger_tick looks at the heap, gives pages back for about a millisecond if there is reason
 * to, and returns after how many nanoseconds it wants to be called again.  now_ns: monotonic, not
 * 0.  One thread only, without the heap lock. */
uint64_t scavenger_tick(struct scavenger *s, uint64_t now_ns);

/* scavenge_for_growth gives up to `growth` bytes back if the heap, which has just been grown by
 * that much, retains more than it should.  Any thread, without the heap lock.  Returns the bytes
 * given back. */
size_t scavenge_for_growth(struct scavenger *s, size_t growth);

/* scavenger_goal returns how many bytes the heap should retain at most.  Heap lock held. */
uint64_t scavenger_goal(const struct scavenger *s);

/* page_alloc_retained returns how many bytes of the heap are backed: in use, or free and not given
 * back.  Heap lock held. */
uint64_t page_alloc_retained(const struct page_alloc *p);

#endif
