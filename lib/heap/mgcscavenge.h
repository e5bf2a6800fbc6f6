/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Giving free pages back to the kernel.  See mgcscavenge.c; when it is done: mgcpacer.h.
 */
#ifndef GM_HEAP_MGCSCAVENGE_H
#define GM_HEAP_MGCSCAVENGE_H

#include "heap/mpagealloc.h"

/* Runs of free pages that are shorter are not worth a system call (mgcscavenge.c). */
#define SCAV_LONG_PAGES 8u

/* What page_alloc_scavenge is to take when it is to take everything. */
#define SCAVENGE_ALL SIZE_MAX

/* page_alloc_scavenge gives about nbytes of free pages back to the kernel, highest addresses
 * first, in runs of at least 64 KiB; with SCAVENGE_ALL every free page.  Takes the heap lock, for
 * a short time for each run, and scav_lock around it; neither is held by the caller.  Returns the
 * bytes given back: less than nbytes if there is no more. */
size_t page_alloc_scavenge(struct page_alloc *p, size_t nbytes);

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
