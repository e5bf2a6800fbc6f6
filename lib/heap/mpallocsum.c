/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Summaries of neighbouring pages merged into one.  Go: runtime/mpagealloc.go mergeSummaries.
 */
#include "heap/mpallocsum.h"

/* start, max and end are those of sums[0..i-1] as one stretch.  This runs up to four times for
 * each operation on pages.  Departure: Go asks of each entry whether it is the root's special
 * value; but the root's entries are nobody's children. */
struct palloc_sum merge_summaries(const struct palloc_sum *sums, unsigned log_max_pages) {
    const uint64_t mask = MAX_PACKED_VALUE - 1;
    const uint64_t whole = (uint64_t)1 << log_max_pages;
    uint64_t start = 0;
    uint64_t max = 0;
    uint64_t end = 0;
#pragma GCC unroll 8
    for (uint64_t i = 0; i < 1 << SUMMARY_LEVEL_BITS; i++) {
        uint64_t v = sums[i].v;
        uint64_t si = v & mask;
        uint64_t mi = v >> LOG_MAX_PACKED_VALUE & mask;
        uint64_t ei = v >> (2 * LOG_MAX_PACKED_VALUE);
        /* The run at the start goes on only if everything so far is free. */
        start += start == i << log_max_pages ? si : 0;
        /* The longest run: the one so far, one across the boundary, or one inside the new entry. */
        uint64_t across = end + si;
        max = across > max ? across : max;
        max = mi > max ? mi : max;
        /* The run at the end grows if the new entry is free altogether, or else begins anew. */
        end = ei == whole ? end + ei : ei;
    }
    return pack_palloc_sum(start, max, end);
}
