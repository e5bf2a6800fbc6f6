/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page allocator's own memory.  See mpagealloc_64bit.c.
 */
#ifndef GM_HEAP_MPAGEALLOC_64BIT_H
#define GM_HEAP_MPAGEALLOC_64BIT_H

#include "heap/mpagealloc.h"

/* page_alloc_sys_init reserves the summaries' address space.  False: the kernel refused, and
 * nothing is left reserved. */
bool page_alloc_sys_init(struct page_alloc *p);

/* page_alloc_sys_grow makes sure that bitmaps and summaries for [base, limit), multiples of 4 MiB,
 * can be written.  False: no memory; what was mapped on the way stays and is used next time. */
bool page_alloc_sys_grow(struct page_alloc *p, uintptr_t base, uintptr_t limit);

/* page_alloc_summary_is_mapped says whether an entry may be read. */
bool page_alloc_summary_is_mapped(const struct page_alloc *p, unsigned level, uintptr_t index);

#endif
