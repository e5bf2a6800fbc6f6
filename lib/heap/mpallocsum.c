/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Summaries of neighbouring pages merged into one.  Go: runtime/mpagealloc.go mergeSummaries.
 */
#include "heap/mpallocsum.h"

/* start, max and end are those of sums[0..i-1] as one stretch.  This runs up to four times for
 * each operation on pages: no branch depends on more than one entry. */
struct palloc_sum merge_summaries(const struct palloc_sum *sums, unsigned n,
                                  unsigned log_max_pages) {
    uint64_t start = palloc_sum_start(sums[0]);
    uint64_t max = palloc_sum_max(sums[0]);
    uint64_t end = palloc_sum_end(sums[0]);
    for (unsigned i = 1; i < n; i++) {
        uint64_t si = palloc_sum_start(sums[i]);
        uint64_t mi = palloc_sum_max(sums[i]);
        uint64_t ei = palloc_sum_end(sums[i]);
        /* The run at the start goes on only if everything so far is free. */
        if (start == (uint64_t)i << log_max_pages)
            start += si;
        /* The longest run: the one so far, one across the boundary, or one inside the new entry. */
        if (end + si > max)
            max = end + si;
        if (mi > max)
            max = mi;
        /* The run at the end grows if the new entry is free altogether, or else begins anew. */
        end = ei == (uint64_t)1 << log_max_pages ? end + ei : ei;
    }
    return pack_palloc_sum(start, max, end);
}
