/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gomalloc's own functions, for programs that link with the library or look it up with dlsym().
 * Everything else is malloc(3) under its usual names.  Described in gomalloc(3).
 */
#ifndef GOMALLOC_GOMALLOC_H
#define GOMALLOC_GOMALLOC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GOMALLOC_VERSION "0.1.0"

/* Flags of gomalloc_alloc(). */
#define GOMALLOC_NOSCAN 0x1u /* the object will hold no pointers: a leak check need not read it */
#define GOMALLOC_ZERO   0x2u /* the object is cleared */
#define GOMALLOC_TINY                                                                              \
    0x4u /* with NOSCAN and size < 16: may share a 16-byte block with others                       \
            (Go's tiny allocator); alignment is that of the size: 8, 4, 2, 1 */

/* gomalloc_alloc returns size bytes, or NULL with errno ENOMEM.  free() takes them back. */
void *gomalloc_alloc(size_t size, unsigned flags);

/* Flags of gomalloc_stack_alloc(). */
#define GOMALLOC_STACK_GUARD 0x100u /* the page below the stack faults at any access */

/* gomalloc_stack_alloc returns the lowest byte of a stack, for a coroutine for instance, of size
 * bytes, rounded up to a power of two: 2048 at least, or 4096 with a guard.  The guard is not part
 * of these bytes.  Their contents are whatever was there.  The address is a multiple of 2048, of
 * 4096 with a guard.  NULL: errno is ENOMEM, no memory or too many guards; or EINVAL, an unknown
 * flag. */
void *gomalloc_stack_alloc(size_t size, unsigned flags);

/* gomalloc_stack_free takes a stack back, in any thread; NULL is none.  free() does not.  0; or, if
 * the program is to live on after it, -1 with errno EINVAL: stack is none, or is free already. */
int gomalloc_stack_free(void *stack);

/* gomalloc_stack_size returns the bytes of a stack in use, 0 if it is none. */
size_t gomalloc_stack_size(const void *stack);

/* gomalloc_root_add has leak checks begin also at the size bytes at p, wherever they are: what a
 * word there points to is no leak, nor is what that leads to.  Once more if they are named already.
 * gomalloc_root_remove undoes one such call for the same bytes.  0, or -1 with errno: EINVAL, p is
 * NULL, size is 0, or they reach beyond the address space; ENOSPC, 1024 regions are named; ENOENT,
 * these are not. */
int gomalloc_root_add(const void *p, size_t size);
int gomalloc_root_remove(const void *p, size_t size);

/* gomalloc_ignore has leak checks not report the object that p points to or into, nor what it leads
 * to, until it is freed.  0, or -1 with errno: EINVAL, there is no such object; ENOMEM. */
int gomalloc_ignore(const void *p);

/* gomalloc_version returns GOMALLOC_VERSION of the library in use. */
const char *gomalloc_version(void);

/* gomalloc_rate returns the mean number of bytes between two samples: 1 = every allocation is
 * recorded, 0 = none is. */
uint64_t gomalloc_rate(void);

/* gomalloc_set_rate sets it for all threads and returns the old one. */
uint64_t gomalloc_set_rate(uint64_t bytes);

/* gomalloc_scavenge gives free pages back to the kernel; returns the bytes given back. */
size_t gomalloc_scavenge(void);

/* gomalloc_snapshot writes a heap image (gomalloc-image(5)) to path by way of a temporary file
 * beside it.  0, or -1 with errno; on failure nothing is left under path that was not there. */
int gomalloc_snapshot(const char *path);

#ifdef __cplusplus
}
#endif
#endif
