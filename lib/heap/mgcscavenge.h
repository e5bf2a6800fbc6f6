/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The scavenger: gives free pages back to the kernel.  See mgcscavenge.c.
 */
#ifndef GM_HEAP_MGCSCAVENGE_H
#define GM_HEAP_MGCSCAVENGE_H

#include <stdatomic.h>

#include "heap/mpagealloc.h"

/* Runs of free pages that are shorter are not worth a system call (mgcscavenge.c). */
#define SCAV_LONG_PAGES 8u

/* What page_alloc_scavenge is to take when it is to take everything. */
#define SCAVENGE_ALL SIZE_MAX

/* page_alloc_scavenge gives about nbytes of free pages back to the kernel, highest addresses
 * first, in runs of at least 64 KiB; with SCAVENGE_ALL every free page.  Takes the heap lock, for
 * a short time for each run; not held by the caller.  Returns the bytes given back: less than
 * nbytes if there is no more. */
size_t page_alloc_scavenge(struct page_alloc *p, size_t nbytes);

/* When and how much: the policy. */
struct scavenger {
    struct page_alloc *pages;
    uint64_t (*nanotime)(void); /* a clock for the work done, any zero */

    /* Written by scavenger_tick only. */
    uint64_t window_ns;     /* how long memory must have been idle; grows when it was a mistake */
    uint64_t window_end_ns; /* end of the current window; 0 = no tick yet */
    uint64_t released_base; /* npages_released and npages_reused when the window began */
    uint64_t reused_base;
    bool working;       /* above the goal by enough to have started, not yet down at it */
    uint64_t nwindows;  /* windows ended so far */
    uint64_t nregrets;  /* of these, in which too much came back into use */
    uint64_t worked_ns; /* time spent on giving back */

    /* Pages: the highest in use during the last window; 0 = none has ended.  Written by the tick,
     * read by growing threads: a value of its own, no order needed. */
    _Atomic uint64_t last_peak;
    /* The last verdict was regret: don't scavenge on growth. */
    _Atomic bool regretful;
};

void scavenger_init(struct scavenger *s, struct page_alloc *p, uint64_t (*nanotime)(void));

/* scavenger_tick looks at the heap, works for at most some milliseconds, and returns the
 * nanoseconds after which it wants to be called again.  now_ns: monotonic.  One thread only; takes
 * the heap lock. */
uint64_t scavenger_tick(struct scavenger *s, uint64_t now_ns);

/* scavenge_for_growth gives back up to `growth` bytes if the heap, which has just been grown by
 * that much, retains more than its goal.  Any thread; takes the heap lock.  Returns the bytes given
 * back. */
size_t scavenge_for_growth(struct scavenger *s, size_t growth);

/* scavenger_goal returns how many bytes the heap may retain now.  Heap lock held. */
uint64_t scavenger_goal(const struct scavenger *s);

/* For the page allocator.  Heap lock held. */

/* scavenge_index_mark notes that there may be something to scavenge in [base, limit). */
void scavenge_index_mark(struct page_alloc *p, uintptr_t base, uintptr_t limit);

/* find_scavenge_candidate returns the length of a run of free pages that are backed, at or below
 * page search_idx, the highest such run of at least min pages, and stores its first page.  If it
 * is longer than max, its upper end of max pages is returned, or more if a huge page (of
 * huge_pages pages; 0 = don't care) would be broken or less than min pages would be left. 0: none.
 */
unsigned find_scavenge_candidate(const struct palloc_data *m, unsigned search_idx, unsigned min,
                                 unsigned max, unsigned huge_pages, unsigned *ret_base);

#endif
