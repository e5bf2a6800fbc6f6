/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Free pages by the length of the run that they stand in: what the page allocator can serve.
 *
 * A run is as long as it gets: free pages from one that is in use (or in a thread's page cache, or
 * not the heap's) to the next.  Runs are counted twice: of the heap as a whole, where one may go
 * from arena to arena, and of each arena, where it ends at the arena's edges.
 */
#ifndef GOINSPECT_FREERUNS_H
#define GOINSPECT_FREERUNS_H

#include "image/image.h"

#define FREERUNS_LENGTHS 10 /* 1, 2-3, 4-7, ..., 256-511, 512 and more */

/* Runs of about the same length. */
struct freerun {
    uint64_t arena;     /* its address, 0 = the whole heap */
    uint64_t min_pages; /* shortest that is counted here: a power of two, at most 512 */
    uint64_t runs;      /* at least 1 */
    uint64_t pages;     /* in all of them */
    uint64_t returned;  /* of these, given back to the kernel, or never backed */
    uint64_t longest;   /* pages */
};

struct freeruns {
    struct freerun *rows; /* by arena, the whole heap first, and length */
    size_t nrows;
};

/* freeruns_find finds the runs of an image: 0, or -ENOMEM. */
int freeruns_find(const struct image *im, struct freeruns *ret);
void freeruns_free(struct freeruns *runs);

#endif
