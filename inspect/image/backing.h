/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel has behind parts of the heap: sums over section "backing", which has a bit for
 * each page of the kernel's.
 */
#ifndef GOINSPECT_BACKING_H
#define GOINSPECT_BACKING_H

#include "image/image.h"

#define BACKING_PAGE  4096u
#define BACKING_CHUNK (512 * (uint64_t)GOMALLOC_IMAGE_PAGE) /* what a record tells of */

struct backing_sum {
    uint64_t resident, swapped; /* bytes */
};

/* backing_sum sums up [from, to); false: the image does not tell of all of it. */
bool backing_sum(const struct image *im, uint64_t from, uint64_t to, struct backing_sum *ret);

/* backing_split says of a span of objects how many bytes of the resident ones are in live objects,
 * and in free slots; the rest is its end.  False: the image does not tell of all of it. */
bool backing_split(const struct image *im, const struct gomalloc_span *span, uint64_t *ret_live,
                   uint64_t *ret_free);

/* backing_free returns the resident bytes of a chunk's free pages, those in page caches included.
 */
uint64_t backing_free(const struct gomalloc_chunk *chunk, const struct gomalloc_backing *backing);

#endif
