/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Regions of memory that the program has named as roots: gomalloc_root_add.
 *
 * A table of fixed size without locks: a leak check may come while a thread adds a region, and so
 * may a fork, after which that thread is no more.  What such a thread leaves behind in the child is
 * at most a place that is not used again.
 */
#ifndef GM_LEAK_REGION_H
#define GM_LEAK_REGION_H

#include "leak/roots.h"

#define REGIONS_MAX 1024

/* region_add makes the n bytes at start a root, once more if they are one already.  0, or -EINVAL:
 * there are none, or they go beyond the address space; -ENOSPC: the table is full. */
int region_add(uintptr_t start, size_t n);

/* region_remove undoes one region_add of the same bytes.  0, or -ENOENT: there was none. */
int region_remove(uintptr_t start, size_t n);

/* region_list fills `to`, which has room for REGIONS_MAX, and returns how many there are. */
size_t region_list(struct root_region *to);

#endif
