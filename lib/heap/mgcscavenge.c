/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Giving free pages back to the kernel.  Go: runtime/mgcscavenge.go.  When and how much is decided
 * in mgcpacer.c; here is how.
 *
 * A page is backed by memory from its first touch on, also when it is free again.  To scavenge it
 * is to let the kernel have the memory (madvise) and to set its bit in the chunk's scavenged
 * bitmap.  Such a page reads as zero and costs a page fault when it is used again.  What can be
 * scavenged is thus what is 0 in both bitmaps:
 *
 *     alloc      0 0 1 1 0 0 0 1
 *     scavenged  1 0 0 0 0 0 1 0      candidates: page 1, and pages 4-5
 *
 * Highest addresses first: allocation is first fit, so those are the least likely to be used soon.
 * madvise may take long, so it runs without the heap lock: the run is marked in use first, so that
 * nobody takes it, and is freed, as scavenged, afterwards.  One run at a time: scav_lock.
 *
 * Which chunk to look at is told by an index of a bit for each chunk: free sets it, a look that
 * finds nothing clears it.  Nothing that frees pages may forget to set it.  Where the search goes
 * on (scav_search) only goes down until a free raises it.  Finding the next chunk looks at one word
 * for 64 chunks (256 MiB): a heap of 1 TiB with nothing to give back is 4096 words, once.
 *
 * Departures from Go.
 *  - Only runs of at least SCAV_LONG_PAGES are taken unless all is wanted: see there.  So there are
 *    two indexes, one for each kind of look.
 *  - The index is read under the heap lock (Go: atomics, an address with a mark in its sign bit),
 *    since the lock is taken for the chunk in the next step anyway; it lies beside the chunks'
 *    bitmaps instead of in 8 MiB of its own.
 *  - A page of the heap is two of the kernel's, on x86-64: Go's rounding for kernels with larger
 *    pages (fillAligned) falls away.
 *  - With huge pages (option thp=on) only whole ones are taken unless all is wanted: a part would
 *    make the kernel split it, and the rest never be one again.  As a huge page comes as a whole,
 *    pages in it that are marked scavenged may be backed, so that it goes back as a whole if one of
 *    its pages is not.  Go only avoids cutting through one.
 *  - The kernel may refuse (the program has locked its memory): then the pages stay backed and
 *    free, and scavenging stops.
 */
#include "heap/mgcscavenge.h"

#include "heap/intrinsics.h"
#include "sys/throw.h"

/*
 * SCAV_LONG_PAGES.  Measured: madvise(MADV_DONTNEED) costs 1.7-2.0 us for 8 KiB in one call,
 * 0.6-0.8 us per 8 KiB in calls of 64 KiB, 0.2-0.5 in calls of 1 MiB; touching 8 KiB again costs
 * 4-6 us.  Runs below 64 KiB (8 pages) cost more to return than they hold, and short runs are what
 * first fit uses next.
 */
static_assert(SCAV_LONG_PAGES * GM_PAGE_SIZE == 64 << 10, "64 KiB");

/* set_index_bits sets the bits [i, i+n) of the index of one L2. */
static void set_index_bits(uint64_t *index, uintptr_t i, uintptr_t n) {
    while (n > 0) {
        unsigned shift = i % 64;
        unsigned width = n < 64 - shift ? (unsigned)n : 64 - shift;
        index[i / 64] |= ~(uint64_t)0 >> (64 - width) << shift;
        i += width;
        n -= width;
    }
}

void scavenge_index_mark(struct page_alloc *p, uintptr_t base, uintptr_t limit) {
    struct chunk_idx c = chunk_index(base);
    uintptr_t end = chunk_index(limit - 1).i + 1;
    for (unsigned kind = 0; kind < SCAV_NKINDS; kind++) {
        if (p->scav_search[kind].i < end)
            p->scav_search[kind].i = end;
    }
    if (c.i + 1 == end) { /* nearly always */
        uintptr_t i = c.i & (PALLOC_CHUNKS_PER_L2 - 1);
        struct palloc_chunks *l2 = page_alloc_l2(p, c);
        for (unsigned kind = 0; kind < SCAV_NKINDS; kind++)
            l2->scav_index[kind][i / 64] |= (uint64_t)1 << (i % 64);
        return;
    }
    while (c.i < end) {
        uintptr_t i = c.i & (PALLOC_CHUNKS_PER_L2 - 1);
        uintptr_t n = PALLOC_CHUNKS_PER_L2 - i;
        if (n > end - c.i)
            n = end - c.i;
        struct palloc_chunks *l2 = page_alloc_l2(p, c);
        for (unsigned kind = 0; kind < SCAV_NKINDS; kind++)
            set_index_bits(l2->scav_index[kind], i, n);
        c.i += n;
    }
}

static void scavenge_index_clear(struct page_alloc *p, enum scav_kind kind, struct chunk_idx c) {
    uintptr_t i = c.i & (PALLOC_CHUNKS_PER_L2 - 1);
    page_alloc_l2(p, c)->scav_index[kind][i / 64] &= ~((uint64_t)1 << (i % 64));
}

/* scavenge_index_find returns the highest chunk whose bit is set, or 0. */
static struct chunk_idx scavenge_index_find(struct page_alloc *p, enum scav_kind kind) {
    uintptr_t end = p->scav_search[kind].i; /* no chunk from here on */
    while (end > p->start.i) {
        struct chunk_idx last = {end - 1};
        const struct palloc_chunks *l2 = page_alloc_l2(p, last);
        if (l2 == NULL) { /* 32 GiB without a heap */
            end = align_down(last.i, PALLOC_CHUNKS_PER_L2);
            continue;
        }
        uintptr_t i = last.i & (PALLOC_CHUNKS_PER_L2 - 1);
        uint64_t word = l2->scav_index[kind][i / 64] & ~(uint64_t)0 >> (63 - i % 64);
        if (word != 0) {
            end = align_down(last.i, 64) + 64 - leading_zeros64(word);
            p->scav_search[kind].i = end;
            return (struct chunk_idx){end - 1};
        }
        end = align_down(last.i, 64);
    }
    p->scav_search[kind].i = 0;
    return (struct chunk_idx){0};
}

/* find_backed_run returns the length of the highest run of pages that are 0 in both bitmaps and at
 * or below page `last`, and its first page. */
static unsigned find_backed_run(const struct palloc_data *m, unsigned last, unsigned *ret_base) {
    unsigned end = last + 1; /* all pages from here on are no candidates */
    unsigned run = 0;
    while (end > 0) {
        unsigned k = (end - 1) / 64;
        unsigned drop = 63 - (end - 1) % 64; /* pages of the word that are at `end` or above */
        /* Candidates are 1, page end-1 is the top bit. */
        uint64_t x = ~(m->alloc.w[k] | m->scavenged.w[k]) << drop;
        if (run == 0 && x == 0) {
            end = k * 64;
            continue;
        }
        if (run == 0) {
            unsigned skip = leading_zeros64(x);
            end -= skip;
            drop += skip;
            x <<= skip;
        }
        unsigned ones = leading_zeros64(~x);
        run += ones;
        if (ones < 64 - drop) { /* it ends inside the word */
            *ret_base = end - ones;
            return run;
        }
        end = k * 64;
    }
    *ret_base = 0;
    return run;
}

/* cut_run shortens a run of pages from its lower end; min and max as in find_scavenge_candidate. */
static unsigned cut_run(unsigned *base, unsigned run, unsigned min, unsigned max,
                        unsigned huge_pages) {
    unsigned low = *base;
    unsigned end = low + run;
    if (run <= max || run - max < min)
        return run;
    unsigned start = end - max;
    if (huge_pages != 0) {
        /* Does the cut go through a huge page that is in the run as a whole?  Then take all of it:
         * the kernel would have to split it. */
        unsigned above = (unsigned)align_up(start, huge_pages);
        unsigned below = (unsigned)align_down(start, huge_pages);
        if (above <= end && below >= low)
            start = below;
    }
    *base = start;
    return end - start;
}

unsigned find_scavenge_candidate(const struct palloc_data *m, unsigned search_idx, unsigned min,
                                 unsigned max, unsigned huge_pages, unsigned *ret_base) {
    for (unsigned last = search_idx;;) {
        unsigned run = find_backed_run(m, last, ret_base);
        if (run >= min && run != 0)
            return cut_run(ret_base, run, min, max > min ? max : min, huge_pages);
        if (*ret_base == 0)
            return 0;
        last = *ret_base - 1;
    }
}

/* find_huge_candidate returns the highest huge page that is free as a whole, and of which not all
 * is scavenged: its first page, or PALLOC_CHUNK_PAGES. */
static unsigned find_huge_candidate(const struct palloc_data *m, unsigned huge_pages) {
    for (unsigned i = PALLOC_CHUNK_PAGES; i > 0;) {
        i -= huge_pages;
        if (palloc_bits_is_clear(&m->alloc, i, huge_pages) &&
            palloc_bits_popcnt_range(&m->scavenged, i, huge_pages) != huge_pages)
            return i;
    }
    return PALLOC_CHUNK_PAGES;
}

/* Pages that are being given back: in use, as far as anybody else can see. */
struct scavenge_run {
    struct chunk_idx c;
    unsigned i;
    unsigned n;
    unsigned nscav; /* of these, scavenged: only in a huge page */
};

/* find_run finds the highest run in r->c.  False: there is none. */
static bool find_run(const struct page_alloc *p, enum scav_kind kind, unsigned max,
                     struct scavenge_run *r) {
    const struct palloc_data *m = page_alloc_chunk(p, r->c);
    if (p->huge) {
        r->n = p->phys_huge_pages;
        r->i = find_huge_candidate(m, r->n);
        if (r->i != PALLOC_CHUNK_PAGES)
            return true;
        if (kind == SCAV_LONG)
            return false;
    }
    const unsigned min = kind == SCAV_LONG ? SCAV_LONG_PAGES : 1;
    r->n = find_scavenge_candidate(m, PALLOC_CHUNK_PAGES - 1, min, max, p->phys_huge_pages, &r->i);
    return r->n != 0;
}

/* take_run finds the next run and marks it in use.  False: there is none. */
static bool take_run(struct page_alloc *p, enum scav_kind kind, uintptr_t max_pages,
                     struct scavenge_run *ret) {
    const unsigned min = kind == SCAV_LONG ? SCAV_LONG_PAGES : 1;
    const unsigned max =
        (unsigned)(max_pages < PALLOC_CHUNK_PAGES ? max_pages : PALLOC_CHUNK_PAGES);
    for (;;) {
        ret->c = scavenge_index_find(p, kind);
        if (ret->c.i == 0)
            return false;
        if (palloc_sum_max(p->summary[SUMMARY_LEAF][ret->c.i]) >= min &&
            find_run(p, kind, max, ret))
            break;
        scavenge_index_clear(p, kind, ret->c);
    }
    uintptr_t addr = chunk_base(ret->c) + ret->i * GM_PAGE_SIZE;
    uint64_t peak = p->npages_in_use_peak, reused = p->npages_reused;
    ret->nscav = (unsigned)(page_alloc_alloc_range(p, addr, ret->n) / GM_PAGE_SIZE);
    if (ret->nscav != 0 && !p->huge)
        throw_values("scavenging what is scavenged", ret->c.i, ret->i);
    p->npages_in_use_peak = peak; /* they aren't used, they only look so */
    p->npages_reused = reused;
    return true;
}

/* put_run frees the run again. */
static void put_run(struct page_alloc *p, const struct scavenge_run *r, bool scavenged) {
    page_alloc_free(p, chunk_base(r->c) + r->i * GM_PAGE_SIZE, r->n, scavenged);
    if (!scavenged)
        return;
    palloc_bits_set_range(&page_alloc_chunk(p, r->c)->scavenged, r->i, r->n);
    palloc_bits_set_range(&page_alloc_l2(p, r->c)->returned[r->c.i & (PALLOC_CHUNKS_PER_L2 - 1)],
                          r->i, r->n);
    p->npages_released += r->n;
    p->nscavenge_calls++;
}

/* unback lets the kernel have the run's memory. */
static bool unback(const struct scavenge_run *r) {
    void *addr = (void *)(chunk_base(r->c) + r->i * GM_PAGE_SIZE);
    if (r->nscav != 0)
        mem_used(addr, r->nscav * GM_PAGE_SIZE, MEM_HEAP);
    return mem_unused(addr, r->n * GM_PAGE_SIZE, MEM_HEAP);
}

/* scavenge_one gives one run of about max_pages back and returns how many of its pages were not
 * scavenged.  0: there is none, or the kernel refused. */
static unsigned scavenge_one(struct page_alloc *p, enum scav_kind kind, uintptr_t max_pages) {
    struct scavenge_run r;
    mutex_assert_held(&p->scav_lock);
    mutex_lock(p->mheap_lock);
    bool found = take_run(p, kind, max_pages, &r);
    mutex_unlock(p->mheap_lock);
    if (!found)
        return 0;
    bool done = p->test || unback(&r);
    mutex_lock(p->mheap_lock);
    put_run(p, &r, done);
    mutex_unlock(p->mheap_lock);
    return done ? r.n - r.nscav : 0;
}

size_t page_alloc_scavenge(struct page_alloc *p, size_t nbytes) {
    const uintptr_t want = nbytes / GM_PAGE_SIZE + (nbytes % GM_PAGE_SIZE != 0);
    uintptr_t released = 0;
    enum scav_kind kind = nbytes == SCAVENGE_ALL ? SCAV_ANY : SCAV_LONG;
    while (released < want) {
        mutex_lock(&p->scav_lock);
        unsigned n = scavenge_one(p, kind, want - released);
        mutex_unlock(&p->scav_lock);
        if (n == 0)
            break;
        released += n;
    }
    return released * GM_PAGE_SIZE;
}
