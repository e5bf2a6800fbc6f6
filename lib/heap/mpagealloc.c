/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The page allocator.  Go: runtime/mpagealloc.go.
 *
 * It knows which 8 KiB pages of the heap are free, and finds the first run of n free pages in
 * address order ("first fit": what is used stays together at low addresses, and high addresses come
 * free and can be given back).  It knows nothing of spans or objects, and never touches the pages.
 *
 * The truth is a bitmap: page p of a chunk of 512 pages (4 MiB) is in use if its bit is 1.  Bitmaps
 * exist for the chunks that have been grown.  Above them stands a radix tree of summaries, five
 * arrays, one for each level (mpagealloc_64bit.c); an entry says of its stretch of addresses how
 * many pages are free at its start, how many at its end, and how long the longest free run in it is
 * (mpallocsum.h).  8 entries of a level make up one entry of the level above; a leaf is a chunk.
 *
 *     root  [ 16 GiB ][ 16 GiB ] ...
 *              |
 *     1     [ 2 GiB ] x 8
 *              |
 *     2     [ 256 MiB ] x 8
 *              |
 *     3     [ 32 MiB ] x 8
 *              |
 *     leaf  [ 4 MiB ] x 8   ->  bitmap of 512 bits
 *
 * A search for n pages walks down.  At each level it adds up neighbours: the run at the end of one
 * entry goes on in the start of the next, through any that are free altogether.  The first time
 * that the sum reaches n, the run lies across a boundary and its address is known, without a look
 * at lower levels.  If before that an entry has max >= n, the run is inside it: go down to its 8
 * children.  At the leaf the bitmap says where.
 *
 * Example.  200 pages are wanted; four chunks A B C D have the summaries
 *     A (0,30,12)  B (180,180,0)  C (512,512,512)  D (7,7,0).
 * Their entry at level 3 has max = 519, so the search goes down to them.  A: start 0, max 30: no,
 * and 12 free pages at its end begin a run.  B: 12 + 180 = 192, not enough; max 180: no; its end is
 * 0: no run.  C: 0 + 512 >= 200: the run begins at the first page of C.  Afterwards C is
 * (0,312,312); of D and the rest nothing was read but the summaries.
 *
 * search_addr is below which nothing is free.  It cuts each level's walk, and for most requests the
 * chunk it points into has the answer and the tree isn't used at all.  free lowers it; what a
 * search has seen raises it.
 *
 * Each change works out the chunk's new summary, mostly from the old one and the free run around
 * the pages (mpallocbits.c), and goes up for as long as a summary changed: at most four merges of 8
 * entries.  That is most of the cost, which is why threads take 64 pages at once (mpagecache.c).
 *
 * It stops scaling at the lock, long before the tree: 16 TiB are a thousand root entries.  More
 * address bits need one more level, and wider fields in a summary.
 *
 * Departures from Go.  Growing reports failure.  The search at the root ends at the heap's end, not
 * at the address space's.  Pages are counted here (npages_*), since the counts of Go's heap are
 * spread over its collector.  page_alloc_alloc_at and _aligned are new: C can grow a block in place
 * and wants alignment.
 */
#include "heap/mpagealloc.h"

#include "heap/mgcscavenge.h"
#include "heap/mpagealloc_64bit.h"
#include "sys/throw.h"

static const unsigned level_bits[SUMMARY_LEVELS] = {
    SUMMARY_L0_BITS, SUMMARY_LEVEL_BITS, SUMMARY_LEVEL_BITS, SUMMARY_LEVEL_BITS, SUMMARY_LEVEL_BITS,
};

void page_alloc_level_range(unsigned level, struct addr_range r, uintptr_t *ret_lo,
                            uintptr_t *ret_hi) {
    /* The limit may lie inside an entry: the last address does, too, and is never in the next. */
    *ret_lo = off_addr_to_level_index(level, r.base);
    *ret_hi = off_addr_to_level_index(level, (struct off_addr){r.limit.a - 1}) + 1;
}

bool page_alloc_init(struct page_alloc *p, struct mutex *mheap_lock, bool test) {
    p->mheap_lock = mheap_lock;
    p->scav_lock = (struct mutex)MUTEX_INIT(LOCK_RANK_SCAVENGE);
    p->test = test;
    p->phys_huge_pages = (2 << 20) / GM_PAGE_SIZE;
    p->search_addr = MAX_OFF_ADDR;
    return addr_ranges_init(&p->in_use, MEM_CHUNK) && page_alloc_sys_init(p);
}

void page_alloc_took(struct page_alloc *p, uint64_t npages, uint64_t nscav) {
    p->npages_in_use += npages;
    p->npages_scavenged -= nscav;
    if (p->npages_in_use > p->npages_in_use_peak)
        p->npages_in_use_peak = p->npages_in_use;
}

void page_alloc_gave(struct page_alloc *p, uint64_t npages, uint64_t nscav) {
    p->npages_in_use -= npages;
    p->npages_scavenged += nscav;
}

static void lower_search_addr(struct page_alloc *p, uintptr_t base) {
    if (off_addr_less_than((struct off_addr){base}, p->search_addr))
        p->search_addr = (struct off_addr){base};
}

bool page_alloc_grow(struct page_alloc *p, uintptr_t base, uintptr_t size) {
    mutex_assert_held(p->mheap_lock);
    uintptr_t limit = base + size;
    if (!page_alloc_sys_grow(p, base, limit) ||
        !addr_ranges_add(&p->in_use, make_addr_range(base, limit)))
        return false;
    struct chunk_idx start = chunk_index(base);
    struct chunk_idx end = chunk_index(limit - 1);
    end.i++;
    if (p->start.i == 0 || start.i < p->start.i)
        p->start = start;
    if (end.i > p->end.i)
        p->end = end;
    lower_search_addr(p, base);
    /* What the kernel has never backed is scavenged. */
    for (struct chunk_idx c = start; c.i < end.i; c.i++)
        palloc_bits_set_all(&page_alloc_chunk(p, c)->scavenged);
    p->npages_grown += size / GM_PAGE_SIZE;
    p->npages_scavenged += size / GM_PAGE_SIZE;
    page_alloc_update(p, base, size / GM_PAGE_SIZE, true, false);
    return true;
}

/* Pages of one chunk: what a range of pages is cut into. */
struct piece {
    struct chunk_idx c;
    unsigned i; /* first page */
    unsigned n; /* pages */
};

/* next_piece cuts the first piece off the range of *npages pages at *base.  False: it is empty. */
static bool next_piece(uintptr_t *base, uintptr_t *npages, struct piece *ret) {
    if (*npages == 0)
        return false;
    ret->c = chunk_index(*base);
    ret->i = chunk_page_index(*base);
    uintptr_t room = PALLOC_CHUNK_PAGES - ret->i;
    ret->n = (unsigned)(*npages < room ? *npages : room);
    *base += ret->n * GM_PAGE_SIZE;
    *npages -= ret->n;
    return true;
}

/* update_leaf computes the summary of a piece's chunk.  False: it has not changed. */
static bool update_leaf(struct page_alloc *p, const struct piece *q, bool contig, bool alloc) {
    const struct palloc_bits *bits = &page_alloc_chunk(p, q->c)->alloc;
    struct palloc_sum *leaf = &p->summary[SUMMARY_LEAF][q->c.i];
    struct palloc_sum old = *leaf;
    if (!contig)
        *leaf = palloc_bits_summarize(bits);
    else if (q->n == PALLOC_CHUNK_PAGES)
        *leaf = alloc ? (struct palloc_sum){0} : FREE_CHUNK_SUM;
    else if (alloc)
        *leaf = palloc_bits_sum_after_alloc(bits, old, q->i, q->n);
    else
        *leaf = palloc_bits_sum_after_free(bits, old, q->i, q->n);
    return leaf->v != old.v;
}

/* update_node computes entry i of a level that is not the leaves'.  False: it has not changed. */
static bool update_node(struct page_alloc *p, unsigned level, uintptr_t i) {
    struct palloc_sum *node = &p->summary[level][i];
    struct palloc_sum sum = merge_summaries(p->summary[level + 1] + (i << SUMMARY_LEVEL_BITS),
                                            level_log_pages(level + 1));
    bool changed = sum.v != node->v;
    *node = sum;
    return changed;
}

void page_alloc_update(struct page_alloc *p, uintptr_t base, uintptr_t npages, bool contig,
                       bool alloc) {
    mutex_assert_held(p->mheap_lock);
    struct addr_range r = make_addr_range(base, base + npages * GM_PAGE_SIZE);
    bool changed = false;
    struct piece q;
    while (next_piece(&base, &npages, &q))
        changed |= update_leaf(p, &q, contig, alloc);
    if (q.c.i == chunk_index(r.base.a).i) { /* nearly always one chunk, one entry of each level */
        for (unsigned l = SUMMARY_LEAF; l-- > 0 && changed;)
            changed = update_node(p, l, q.c.i >>= SUMMARY_LEVEL_BITS);
        return;
    }
    for (unsigned l = SUMMARY_LEAF; l-- > 0 && changed;) {
        changed = false;
        uintptr_t lo, hi;
        page_alloc_level_range(l, r, &lo, &hi);
        for (uintptr_t i = lo; i < hi; i++)
            changed |= update_node(p, l, i);
    }
}

/* count_reused counts scavenged pages that come into use and were in use before. */
static void count_reused(struct page_alloc *p, const struct piece *q) {
    const struct palloc_data *chunk = page_alloc_chunk(p, q->c);
    const struct palloc_bits *returned =
        &page_alloc_l2(p, q->c)->returned[q->c.i & (PALLOC_CHUNKS_PER_L2 - 1)];
    struct palloc_bits both;
    for (unsigned k = 0; k < PALLOC_WORDS; k++)
        both.w[k] = chunk->scavenged.w[k] & returned->w[k];
    p->npages_reused += palloc_bits_popcnt_range(&both, q->i, q->n);
}

/* add_stale notes a run of pages.  When there is no room for another, the last one becomes longer:
 * up to this one's end. */
static void add_stale(struct stale_runs *stale, uintptr_t base, uintptr_t limit) {
    struct stale_run *last = stale->n != 0 ? &stale->run[stale->n - 1] : NULL;
    if (last != NULL && (last->limit == base || stale->n == STALE_RUNS))
        last->limit = limit;
    else
        stale->run[stale->n++] = (struct stale_run){base, limit};
}

/* note_stale notes what is not scavenged of a piece, of which nscav pages are. */
static void note_stale(struct stale_runs *stale, const struct palloc_data *chunk,
                       const struct piece *q, unsigned nscav) {
    uintptr_t base = chunk_base(q->c);
    if (nscav == 0) {
        add_stale(stale, base + q->i * GM_PAGE_SIZE, base + (q->i + q->n) * GM_PAGE_SIZE);
        return;
    }
    for (unsigned i = q->i; i < q->i + q->n && nscav != q->n; i++)
        if ((chunk->scavenged.w[i / 64] >> i % 64 & 1) == 0)
            add_stale(stale, base + i * GM_PAGE_SIZE, base + (i + 1) * GM_PAGE_SIZE);
}

uintptr_t page_alloc_alloc_range(struct page_alloc *p, uintptr_t base, uintptr_t npages) {
    mutex_assert_held(p->mheap_lock);
    uintptr_t nscav = 0;
    uintptr_t b = base;
    uintptr_t n = npages;
    struct piece q;
    if (p->stale != NULL)
        *p->stale = (struct stale_runs){.base = base};
    while (next_piece(&b, &n, &q)) {
        struct palloc_data *chunk = page_alloc_chunk(p, q.c);
        unsigned s = palloc_bits_popcnt_range(&chunk->scavenged, q.i, q.n);
        if (p->stale != NULL)
            note_stale(p->stale, chunk, &q, s);
        if (s != 0 && p->npages_released != 0)
            count_reused(p, &q);
        nscav += s;
        palloc_data_alloc_range(chunk, q.i, q.n);
    }
    page_alloc_took(p, npages, nscav);
    page_alloc_update(p, base, npages, true, true);
    return nscav * GM_PAGE_SIZE;
}

/* find_mapped_addr returns the lowest address of the heap that is >= addr, or MAX_OFF_ADDR. */
static struct off_addr find_mapped_addr(const struct page_alloc *p, struct off_addr addr) {
    uintptr_t mapped;
    if (!addr_ranges_find_addr_greater_equal(&p->in_use, addr.a, &mapped))
        return MAX_OFF_ADDR;
    return (struct off_addr){mapped};
}

/* One walk down the tree. */
struct search {
    uintptr_t npages;
    uintptr_t i; /* entry of the level above that is being looked into; at level 0: 0 */
    /* [first_free, first_free_last]: the smallest known stretch that has the heap's first free
     * page in it.  Its beginning is the new search_addr. */
    struct off_addr first_free;
    struct off_addr first_free_last;
    uintptr_t addr; /* the answer, once it is found on the way */
};

/* found_free notes that there is something free in [addr, addr+size), which is inside the known
 * stretch, and narrows that, or beside it. */
static void found_free(struct search *s, struct off_addr addr, uintptr_t size) {
    struct off_addr last = {addr.a + (size - 1)};
    if (off_addr_less_equal(s->first_free, addr) && off_addr_less_equal(last, s->first_free_last)) {
        s->first_free = addr;
        s->first_free_last = last;
    } else if (!off_addr_less_than(last, s->first_free) &&
               !off_addr_less_than(s->first_free_last, addr)) {
        throw_values("page_alloc_find: range partially overlaps", addr.a, s->first_free.a);
    }
}

enum step { STEP_DOWN, STEP_FOUND, STEP_NOT_FOUND };

/* search_level looks for a run at one level.  STEP_DOWN: it is inside entry s->i.  STEP_FOUND: it
 * is at s->addr. */
static enum step search_level(const struct page_alloc *p, unsigned l, struct search *s) {
    const uintptr_t entries = (uintptr_t)1 << level_bits[l];
    const unsigned log_max_pages = level_log_pages(l);
    const uintptr_t first = s->i << level_bits[l]; /* the block's first entry */
    uintptr_t j = 0;
    uintptr_t end = entries;
    uintptr_t search_idx = off_addr_to_level_index(l, p->search_addr);
    if ((search_idx & ~(entries - 1)) == first)
        j = search_idx & (entries - 1);
    if (l == 0)
        end = ((p->end.i - 1) >> (SUMMARY_LEAF * SUMMARY_LEVEL_BITS)) + 1;

    /* The run that reaches up to entry j: where it begins, counted from the block's first page, and
     * how long it is. */
    uintptr_t base = 0;
    uintptr_t size = 0;
    bool seen_free = false;
    for (; j < end && size < s->npages; j++) {
        struct palloc_sum sum = p->summary[l][first + j];
        if (sum.v == 0) {
            size = 0;
            continue;
        }
        if (!seen_free) /* those after it lie beside the narrowed stretch */
            found_free(s, level_index_to_off_addr(l, first + j), GM_PAGE_SIZE << log_max_pages);
        seen_free = true;
        uintptr_t start = palloc_sum_start(sum);
        if (size == 0)
            base = j << log_max_pages;
        if (size + start >= s->npages) {
            size += start;
        } else if (palloc_sum_max(sum) >= s->npages) {
            s->i = first + j;
            return STEP_DOWN;
        } else if (size == 0 || start < (uintptr_t)1 << log_max_pages) {
            size = palloc_sum_end(sum);
            base = ((j + 1) << log_max_pages) - size;
        } else {
            size += start;
        }
    }
    if (size < s->npages)
        return STEP_NOT_FOUND;
    s->addr = level_index_to_off_addr(l, first).a + base * GM_PAGE_SIZE;
    return STEP_FOUND;
}

/* search_chunk finds the run in the chunk that the walk ended at. */
static void search_chunk(const struct page_alloc *p, struct search *s) {
    struct chunk_idx c = {s->i};
    unsigned first;
    unsigned j = palloc_bits_find(&page_alloc_chunk(p, c)->alloc, s->npages, 0, &first);
    if (j == PALLOC_NOT_FOUND)
        throw_values("page_alloc_find: the summary promised pages that the chunk lacks", c.i,
                     s->npages);
    s->addr = chunk_base(c) + j * GM_PAGE_SIZE;
    found_free(s, (struct off_addr){chunk_base(c) + first * GM_PAGE_SIZE},
               (PALLOC_CHUNK_PAGES - first) * GM_PAGE_SIZE);
}

uintptr_t page_alloc_find(struct page_alloc *p, uintptr_t npages, struct off_addr *ret_search) {
    mutex_assert_held(p->mheap_lock);
    struct search s = {
        .npages = npages, .first_free = MIN_OFF_ADDR, .first_free_last = MAX_OFF_ADDR};
    enum step step = STEP_DOWN;
    for (unsigned l = 0; l < SUMMARY_LEVELS && step == STEP_DOWN; l++) {
        step = search_level(p, l, &s);
        if (step == STEP_NOT_FOUND && l == 0)
            return 0;
        if (step == STEP_NOT_FOUND)
            throw_values("page_alloc_find: the summary above promised pages: level, entry", l, s.i);
    }
    if (step == STEP_DOWN)
        search_chunk(p, &s);
    *ret_search = find_mapped_addr(p, s.first_free);
    return s.addr;
}

/* find_near looks only at the chunk of search_addr: 0 if it has no such run. */
static uintptr_t find_near(const struct page_alloc *p, uintptr_t npages,
                           struct off_addr *ret_search) {
    unsigned i = chunk_page_index(p->search_addr.a);
    struct chunk_idx c = chunk_index(p->search_addr.a);
    if (PALLOC_CHUNK_PAGES - i < npages || palloc_sum_max(p->summary[SUMMARY_LEAF][c.i]) < npages)
        return 0;
    unsigned first;
    unsigned j = palloc_bits_find(&page_alloc_chunk(p, c)->alloc, npages, i, &first);
    if (j == PALLOC_NOT_FOUND)
        throw_values("page_alloc_alloc: the summary promised pages that the chunk lacks", c.i,
                     npages);
    ret_search->a = chunk_base(c) + first * GM_PAGE_SIZE;
    return chunk_base(c) + j * GM_PAGE_SIZE;
}

/* is_exhausted says whether search_addr is beyond the heap: then no page is free. */
static bool is_exhausted(const struct page_alloc *p) {
    return chunk_index(p->search_addr.a).i >= p->end.i;
}

static void raise_search_addr(struct page_alloc *p, struct off_addr search) {
    if (off_addr_less_than(p->search_addr, search))
        p->search_addr = search;
}

uintptr_t page_alloc_alloc(struct page_alloc *p, uintptr_t npages, uintptr_t *ret_scav) {
    mutex_assert_held(p->mheap_lock);
    if (is_exhausted(p))
        return 0;
    struct off_addr search = MIN_OFF_ADDR;
    uintptr_t addr = find_near(p, npages, &search);
    if (addr == 0)
        addr = page_alloc_find(p, npages, &search);
    if (addr == 0) {
        /* Not even one page: nothing is free.  (More than one: there may be shorter runs.) */
        if (npages == 1)
            p->search_addr = MAX_OFF_ADDR;
        return 0;
    }
    *ret_scav = page_alloc_alloc_range(p, addr, npages);
    raise_search_addr(p, search);
    return addr;
}

/* Go: runtime/mheap.go allocSpan, needPhysPageAlign.  The run that is found has room for the
 * aligned one, wherever it begins; only that is taken. */
uintptr_t page_alloc_alloc_aligned(struct page_alloc *p, uintptr_t npages, uintptr_t align_pages,
                                   uintptr_t *ret_scav) {
    mutex_assert_held(p->mheap_lock);
    if (align_pages <= 1)
        return page_alloc_alloc(p, npages, ret_scav);
    if (is_exhausted(p) || npages + align_pages < npages)
        return 0;
    struct off_addr search;
    uintptr_t addr = page_alloc_find(p, npages + align_pages - 1, &search);
    if (addr == 0)
        return 0;
    addr = align_up(addr, align_pages * GM_PAGE_SIZE);
    *ret_scav = page_alloc_alloc_range(p, addr, npages);
    raise_search_addr(p, search);
    return addr;
}

bool page_alloc_alloc_at(struct page_alloc *p, uintptr_t base, uintptr_t npages,
                         uintptr_t *ret_scav) {
    mutex_assert_held(p->mheap_lock);
    uintptr_t limit = base + npages * GM_PAGE_SIZE;
    if (npages > p->npages_grown ||
        !addr_ranges_contains_range(&p->in_use, make_addr_range(base, limit)))
        return false;
    uintptr_t b = base;
    uintptr_t n = npages;
    struct piece q;
    while (next_piece(&b, &n, &q)) {
        if (!palloc_bits_is_clear(&page_alloc_chunk(p, q.c)->alloc, q.i, q.n))
            return false;
    }
    /* search_addr stays: it may be lower than it could be, which only costs time. */
    *ret_scav = page_alloc_alloc_range(p, base, npages);
    return true;
}

void page_alloc_free(struct page_alloc *p, uintptr_t base, uintptr_t npages, bool scavenged) {
    mutex_assert_held(p->mheap_lock);
    lower_search_addr(p, base);
    if (!scavenged)
        scavenge_index_mark(p, base, base + npages * GM_PAGE_SIZE);
    uintptr_t b = base;
    uintptr_t n = npages;
    struct piece q;
    while (next_piece(&b, &n, &q))
        palloc_bits_clear_range(&page_alloc_chunk(p, q.c)->alloc, q.i, q.n);
    page_alloc_gave(p, npages, scavenged ? npages : 0);
    page_alloc_update(p, base, npages, true, false);
}

void page_alloc_mark_scavenged(struct page_alloc *p, uintptr_t base, uintptr_t npages) {
    mutex_assert_held(p->mheap_lock);
    struct piece q;
    while (next_piece(&base, &npages, &q)) {
        palloc_bits_set_range(&page_alloc_chunk(p, q.c)->scavenged, q.i, q.n);
        palloc_bits_clear_range(
            &page_alloc_l2(p, q.c)->returned[q.c.i & (PALLOC_CHUNKS_PER_L2 - 1)], q.i, q.n);
    }
}
