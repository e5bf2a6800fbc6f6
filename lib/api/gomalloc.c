/* SPDX-License-Identifier: BSD-3-Clause
 *
 * gomalloc's own functions: gomalloc(3).
 */
#include "gomalloc/gomalloc.h"

#include <errno.h>
#include <string.h>

#include "image/image_write.h"
#include "api/malloc.h"
#include "heap/malloc.h"
#include "heap/mtiny.h"
#include "prof/prof.h"

gm_export void *gomalloc_alloc(size_t size, unsigned flags) {
    struct mcache *c = mcache_self;
    if (flags & GOMALLOC_TINY && flags & GOMALLOC_NOSCAN && size < TINY_SIZE &&
        c->next_sample > (int64_t)size) {
        void *p = tiny_alloc(c, size);
        if (p != NULL) {
            c->next_sample -= (int64_t)size;
            return flags & GOMALLOC_ZERO ? memset(p, 0, size) : p;
        }
    }
    return api_allocate(size, flags & GOMALLOC_ZERO, flags & GOMALLOC_NOSCAN);
}

gm_export const char *gomalloc_version(void) {
    return GOMALLOC_VERSION;
}

gm_export uint64_t gomalloc_rate(void) {
    return prof_rate();
}

gm_export uint64_t gomalloc_set_rate(uint64_t bytes) {
    return prof_set_rate(bytes);
}

gm_export size_t gomalloc_scavenge(void) {
    if (mcache_self != &mcache0)
        mcache_flush(mcache_self);
    if (!mheap_is_ready(&mheap_))
        return 0;
    mheap_reclaim(&mheap_);
    return mheap_scavenge(&mheap_);
}

gm_export int gomalloc_snapshot(const char *path) {
    char err[128];
    int r = image_write_file(path, 0, err, sizeof err);
    if (r == 0)
        return 0;
    errno = -r;
    return -1;
}
