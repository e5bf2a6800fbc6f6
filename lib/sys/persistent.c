/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that is never freed, for metadata.  Go: runtime/malloc.go persistentalloc.  Departure: a
 * chunk belongs to one purpose, so that each purpose's resident bytes can be told.
 */
#include "sys/persistent.h"

#include "sys/throw.h"

#define PERSISTENT_CHUNK ((size_t)256 << 10) /* Go: persistentChunkSize */

/* The rest of a purpose's current chunk.  Guarded by persistent_lock. */
struct persistent {
    char *pos;
    char *end;
};

struct mutex persistent_lock = MUTEX_INIT(LOCK_RANK_PERSISTENT);
static struct persistent chunks[MEM_NPURPOSES];

static bool new_chunk(struct persistent *c, enum mem_purpose why) {
    char *p = mem_alloc_sparse(PERSISTENT_CHUNK, why);
    if (p == NULL)
        return false;
    c->pos = p;
    c->end = p + PERSISTENT_CHUNK;
    return true;
}

void *persistent_alloc(size_t n, size_t align, enum mem_purpose why) {
    if (align == 0 || (align & (align - 1)) != 0 || align > 4096)
        throw_values("persistent_alloc: alignment", align, n);
    atomic_fetch_add_explicit(&mem_stats[why].used, n, memory_order_relaxed);
    if (n >= PERSISTENT_CHUNK / 4)
        return mem_alloc_sparse((n + 4095) & ~(size_t)4095, why);
    struct persistent *c = &chunks[why];
    void *ret = NULL;
    mutex_lock(&persistent_lock);
    char *p = (char *)(((uintptr_t)c->pos + align - 1) & ~(align - 1));
    if (c->pos == NULL || p + n > c->end) {
        if (!new_chunk(c, why))
            goto out;
        p = c->pos;
    }
    c->pos = p + n;
    ret = p;
out:
    mutex_unlock(&persistent_lock);
    return ret;
}
