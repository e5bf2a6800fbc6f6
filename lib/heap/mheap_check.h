/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap recounted from scratch, for tests.  See mheap_check.c.
 */
#ifndef GM_HEAP_MHEAP_CHECK_H
#define GM_HEAP_MHEAP_CHECK_H

#include "heap/mheap.h"

/* What was counted in one way, to be compared with what was counted in another. */
struct recount {
    uint64_t npages;             /* in spans, manual ones too */
    uint64_t npages_cached;      /* in page caches */
    uint64_t nspans;             /* in use */
    uint64_t npending;           /* spans that wait on a list for their marks to be swept */
    uint64_t ncurrent;           /* spans that mcaches allocate from */
    uint64_t nlisted;            /* spans on mcaches' lists */
    uint64_t ncentral;           /* spans in sets of mcentrals */
    uint64_t nfilling;           /* tiny blocks that a thread still fills */
    struct stack_recount stacks; /* in manual spans */
};

/* mcache_recount looks at one mcache: its hints, its words, its current spans, its lists, its page
 * cache, its large spans, its tiny block.  NULL, or what is wrong; adds to *found.  The heap's lock
 * is held, and the mcache's thread at rest. */
const char *mcache_recount(const struct mheap *h, const struct mcache *c, struct recount *found);

/* mcaches_recount looks at all of them, and at the list of idle ones. */
const char *mcaches_recount(const struct mheap *h, struct recount *found);

#endif
