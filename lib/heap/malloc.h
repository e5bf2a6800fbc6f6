/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Allocation and free: the fast paths.  Go: runtime/malloc.go mallocgc.
 *
 * heap_alloc serves small objects from the thread's mcache and large ones from the heap;
 * heap_free gives them back.  Nothing here sets errno, prints or records.
 */
#ifndef GM_HEAP_MALLOC_H
#define GM_HEAP_MALLOC_H

#include "heap/mheap.h"
#include "heap/mslots.h"
#include "heap/msize.h"

enum free_result {
    FREE_OK,
    FREE_INVALID, /* not the start of an object of ours */
    FREE_DOUBLE,  /* the object is free already */
};

/* heap_alloc returns size bytes, aligned as malloc must, or NULL.  noscan: they will hold no
 * pointers. */
void *heap_alloc(size_t size, bool noscan);

/* heap_alloc_zeroed is heap_alloc of cleared memory. */
void *heap_alloc_zeroed(size_t size, bool noscan);

/* heap_alloc_aligned returns size bytes at a multiple of align (a power of two, any), or NULL. */
void *heap_alloc_aligned(size_t size, size_t align);

/* heap_realloc_in_place makes the object at p hold size bytes without moving it, if it can and if
 * it would not waste half of it. */
bool heap_realloc_in_place(void *p, size_t size);

/* heap_usable returns the bytes of the object that begins at p, 0 if there is none. */
size_t heap_usable(const void *p);

/* heap_free frees the object that begins at p, which is not NULL. */
enum free_result heap_free(void *p);

/* heap_free_slow is heap_free without the fast path. */
enum free_result heap_free_slow(uintptr_t p);

/* heap_alloc_slow is heap_alloc without it. */
void *heap_alloc_slow(size_t size, bool noscan);

#endif
