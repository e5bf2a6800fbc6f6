/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that is never freed, for metadata.  Go: runtime/malloc.go persistentalloc.
 */
#ifndef GM_SYS_PERSISTENT_H
#define GM_SYS_PERSISTENT_H

#include "sys/lock.h"
#include "sys/mem.h"

/* persistent_alloc returns n zeroed bytes aligned to align (a power of two, at most 4096), counted
 * under `why`, or NULL.  Chunks of 256 KiB are taken from the kernel, one a purpose. */
void *persistent_alloc(size_t n, size_t align, enum mem_purpose why);

extern struct mutex persistent_lock; /* for fork handlers */

#endif
