/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A summary: what the radix tree knows of a stretch of pages.  Go: runtime/mpagealloc.go pallocSum.
 *
 * Three numbers of pages in one word:
 *
 *     start  free pages at the beginning of the stretch    bits  0..20
 *     max    longest run of free pages anywhere in it      bits 21..41
 *     end    free pages at the end of it                   bits 42..62
 *
 * A root summary covers 2^21 pages (16 GiB), one more than 21 bits can say; but only a stretch that
 * is free altogether needs that number, and then all three are it: bit 63 alone says so.  A zero
 * word therefore means "nothing free", also for memory that was never grown.
 *
 * Two neighbours merge without a look at their pages.  8 pages [..xx x...]: left (2,2,1),
 * right (0,3,3) gives start 2, max = the largest of 2, 3 and 1+0 = 3, end 3.  More than 2^21 pages
 * in a stretch would need wider fields: that, and the root's size, is where this stops scaling.
 */
#ifndef GM_HEAP_MPALLOCSUM_H
#define GM_HEAP_MPALLOCSUM_H

#include "heap/mconst.h"

#define LOG_MAX_PACKED_VALUE (LOG_PALLOC_CHUNK_PAGES + (SUMMARY_LEVELS - 1) * SUMMARY_LEVEL_BITS)
#define MAX_PACKED_VALUE     ((uint64_t)1 << LOG_MAX_PACKED_VALUE)

struct palloc_sum {
    uint64_t v;
};

/* A chunk without a page in use. */
#define FREE_CHUNK_SUM                                                                             \
    ((struct palloc_sum){(uint64_t)PALLOC_CHUNK_PAGES |                                            \
                         (uint64_t)PALLOC_CHUNK_PAGES << LOG_MAX_PACKED_VALUE |                    \
                         (uint64_t)PALLOC_CHUNK_PAGES << (2 * LOG_MAX_PACKED_VALUE)})

gm_inline struct palloc_sum pack_palloc_sum(uint64_t start, uint64_t max, uint64_t end) {
    if (max == MAX_PACKED_VALUE)
        return (struct palloc_sum){(uint64_t)1 << 63};
    return (struct palloc_sum){start | max << LOG_MAX_PACKED_VALUE |
                               end << (2 * LOG_MAX_PACKED_VALUE)};
}

gm_inline bool palloc_sum_all_free(struct palloc_sum s) {
    return s.v >> 63 != 0;
}

gm_inline uint64_t palloc_sum_start(struct palloc_sum s) {
    return palloc_sum_all_free(s) ? MAX_PACKED_VALUE : s.v & (MAX_PACKED_VALUE - 1);
}

gm_inline uint64_t palloc_sum_max(struct palloc_sum s) {
    return palloc_sum_all_free(s) ? MAX_PACKED_VALUE
                                  : s.v >> LOG_MAX_PACKED_VALUE & (MAX_PACKED_VALUE - 1);
}

gm_inline uint64_t palloc_sum_end(struct palloc_sum s) {
    return palloc_sum_all_free(s) ? MAX_PACKED_VALUE
                                  : s.v >> (2 * LOG_MAX_PACKED_VALUE) & (MAX_PACKED_VALUE - 1);
}

/* merge_summaries returns the summary of 8 neighbouring stretches of 1 << log_max_pages pages each,
 * log_max_pages below LOG_MAX_PACKED_VALUE. */
struct palloc_sum merge_summaries(const struct palloc_sum *sums, unsigned log_max_pages);

#endif
