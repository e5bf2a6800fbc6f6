/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page allocator, recounted.  Not in Go.
 *
 * Everything that the allocator keeps besides the two bitmaps can be computed from them: this does
 * so in the simplest way there is, one bit at a time, and compares.  For tests, and for a debug
 * command; it looks at every page of the heap.
 */
#include "heap/mgcscavenge.h"
#include "heap/mpagealloc.h"
#include "heap/mpagealloc_64bit.h"

/* What the bitmaps say. */
struct recount {
    uint64_t npages;
    uint64_t in_use;
    uint64_t scavenged;
};

/* The slow twin of palloc_bits_summarize. */
static struct palloc_sum slow_summary(const struct palloc_bits *b) {
    unsigned start = 0, max = 0, run = 0;
    bool at_start = true;
    for (unsigned i = 0; i < PALLOC_CHUNK_PAGES; i++) {
        bool used = palloc_bits_get(b, i);
        run = used ? 0 : run + 1;
        at_start = at_start && !used;
        start += at_start;
        max = run > max ? run : max;
    }
    return pack_palloc_sum(start, max, run);
}

/* The slow twin of merge_summaries: adds up two at a time. */
static struct palloc_sum slow_merge(const struct palloc_sum *sums, unsigned log_max_pages) {
    uint64_t start = 0, max = 0, end = 0;
    for (unsigned i = 0; i < 1u << SUMMARY_LEVEL_BITS; i++) {
        struct palloc_sum s = sums[i];
        uint64_t whole = (uint64_t)1 << log_max_pages;
        if (start == i * whole)
            start += palloc_sum_start(s);
        uint64_t across = end + palloc_sum_start(s);
        uint64_t inside = palloc_sum_max(s);
        max = across > max ? across : max;
        max = inside > max ? inside : max;
        end = palloc_sum_end(s) == whole ? end + whole : palloc_sum_end(s);
    }
    return pack_palloc_sum(start, max, end);
}

/* Is a run of at least min free pages that are backed among the chunk's? */
static bool has_backed_run(const struct palloc_data *m, unsigned min) {
    unsigned run = 0;
    for (unsigned i = 0; i < PALLOC_CHUNK_PAGES; i++) {
        bool backed = !palloc_bits_get(&m->alloc, i) && !palloc_bits_get(&m->scavenged, i);
        run = backed ? run + 1 : 0;
        if (run >= min)
            return true;
    }
    return false;
}

static bool index_bit(const struct page_alloc *p, enum scav_kind kind, struct chunk_idx c) {
    uintptr_t i = c.i & (PALLOC_CHUNKS_PER_L2 - 1);
    return (page_alloc_l2(p, c)->scav_index[kind][i / 64] >> (i % 64) & 1) != 0;
}

static const char *check_index(const struct page_alloc *p, struct chunk_idx c) {
    const unsigned min[SCAV_NKINDS] = {[SCAV_LONG] = SCAV_LONG_PAGES, [SCAV_ANY] = 1};
    for (unsigned kind = 0; kind < SCAV_NKINDS; kind++) {
        bool marked = index_bit(p, kind, c);
        if (marked && c.i >= p->scav_search[kind].i)
            return "the scavenger's index has a bit above its search position";
        if (!marked && has_backed_run(page_alloc_chunk(p, c), min[kind]))
            return "the scavenger's index lacks a chunk";
    }
    return NULL;
}

static const char *check_chunk(const struct page_alloc *p, struct chunk_idx c,
                               struct recount *count) {
    const struct palloc_data *m = page_alloc_chunk(p, c);
    for (unsigned i = 0; i < PALLOC_CHUNK_PAGES; i++) {
        bool used = palloc_bits_get(&m->alloc, i);
        bool scavenged = palloc_bits_get(&m->scavenged, i);
        struct off_addr addr = {chunk_base(c) + i * GM_PAGE_SIZE};
        if (used && scavenged)
            return "a page in use is scavenged";
        if (!used && off_addr_less_than(addr, p->search_addr))
            return "a page below search_addr is free";
        count->npages++;
        count->in_use += used;
        count->scavenged += scavenged;
    }
    if (slow_summary(&m->alloc).v != p->summary[SUMMARY_LEAF][c.i].v)
        return "a leaf summary is wrong";
    if (c.i < p->start.i || c.i >= p->end.i)
        return "a chunk is outside of [start, end)";
    return check_index(p, c);
}

static const char *check_level(const struct page_alloc *p, unsigned l, struct addr_range r) {
    uintptr_t lo, hi;
    page_alloc_level_range(l, r, &lo, &hi);
    for (uintptr_t i = lo; i < hi; i++) {
        if (!page_alloc_summary_is_mapped(p, l, i) ||
            !page_alloc_summary_is_mapped(p, l + 1, ((i + 1) << SUMMARY_LEVEL_BITS) - 1))
            return "a summary of the heap is not mapped";
        const struct palloc_sum *children = p->summary[l + 1] + (i << SUMMARY_LEVEL_BITS);
        if (slow_merge(children, level_log_pages(l + 1)).v != p->summary[l][i].v)
            return "an inner summary is wrong";
    }
    return NULL;
}

static const char *check_range(const struct page_alloc *p, struct addr_range r,
                               struct recount *count) {
    const char *wrong = NULL;
    struct chunk_idx end = chunk_index(r.limit.a - 1);
    for (struct chunk_idx c = chunk_index(r.base.a); c.i <= end.i && wrong == NULL; c.i++)
        wrong = check_chunk(p, c, count);
    for (unsigned l = SUMMARY_LEAF; l-- > 0 && wrong == NULL;)
        wrong = check_level(p, l, r);
    return wrong;
}

const char *page_alloc_consistent(const struct page_alloc *p) {
    mutex_assert_held(p->mheap_lock);
    if (!addr_ranges_consistent(&p->in_use))
        return "in_use is not a sorted set of ranges";
    struct recount count = {0};
    for (size_t i = 0; i < p->in_use.len; i++) {
        const char *wrong = check_range(p, p->in_use.ranges[i], &count);
        if (wrong != NULL)
            return wrong;
    }
    if (count.npages != p->npages_grown || count.npages != p->in_use.total_bytes / GM_PAGE_SIZE)
        return "npages_grown is wrong";
    if (count.in_use != p->npages_in_use)
        return "npages_in_use is wrong";
    if (count.scavenged != p->npages_scavenged)
        return "npages_scavenged is wrong";
    if (p->npages_in_use > p->npages_in_use_peak)
        return "npages_in_use_peak is below npages_in_use";
    if (p->npages_reused > p->npages_released)
        return "more pages were reused than released";
    if (p->search_addr.a != MAX_OFF_ADDR.a && !addr_ranges_contains(&p->in_use, p->search_addr.a))
        return "search_addr is outside of the heap";
    return NULL;
}
