/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a size to its class.  Go: runtime/msize.go, malloc.go mallocgc.  The tables are made by
 * mksizeclasses.c.
 */
#ifndef GM_HEAP_MSIZE_H
#define GM_HEAP_MSIZE_H

#include "heap/mconst.h"
#include "heap/sizeclasses.h" /* generated */

/* size_to_class returns the smallest class that has room for size <= MAX_SMALL_SIZE bytes; 0 for
 * 0.  Departure: Go looks at the two tables in the caller. */
gm_inline unsigned size_to_class(uintptr_t size) {
    if (size <= SMALL_SIZE_MAX - 8)
        return size_to_class8[(size + SMALL_SIZE_DIV - 1) / SMALL_SIZE_DIV];
    return size_to_class128[(size - SMALL_SIZE_MAX + LARGE_SIZE_DIV - 1) / LARGE_SIZE_DIV];
}

/* round_up_size returns the bytes of the block that a request of `size` bytes gets.  A size that
 * can't be rounded up without overflow comes back as it is. */
gm_inline uintptr_t round_up_size(uintptr_t size) {
    if (size < MAX_SMALL_SIZE)
        return class_to_size[size_to_class(size)];
    if (size + GM_PAGE_SIZE < size)
        return size;
    return align_up(size, GM_PAGE_SIZE);
}

#endif
