/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The conservative mark.
 */
#include "leak/mark.h"

#include <string.h>

#include "heap/msize.h"
#include "sys/throw.h"

#define HUGE_PAGE ((size_t)2 << 20)

static_assert(MARK_PAGE_LARGE > NUM_SIZE_CLASSES - 1, "a class is not taken for a large object");

/* What a size class says about a slot. */
struct class_slots {
    uint32_t mul; /* as mspan.div_mul */
    uint32_t size;
    uint32_t nelems;
};
static struct class_slots classes[NUM_SIZE_CLASSES];

#define NOSCAN 0x4000u /* in mark_arena.pages */

/* ---- setting up ---------------------------------------------------------------------------- */

static void init_classes(void) {
    for (unsigned i = 1; i < NUM_SIZE_CLASSES; i++) {
        uint32_t size = class_to_size[i];
        uint32_t bytes = (uint32_t)(class_to_allocnpages[i] << GM_PAGE_SHIFT);
        classes[i] = (struct class_slots){
            .mul = UINT32_MAX / size + 1, .size = size, .nelems = bytes / size};
    }
}

static inline struct mark_arena *arena_of(const struct mark *m, uintptr_t p) {
    return m->arenas[(p - m->lo) / HEAP_ARENA_BYTES];
}

static inline bool in_heap(const struct mark *m, uintptr_t p) {
    return p - m->lo < m->size;
}

static inline size_t bit_of(uintptr_t p) {
    return p % HEAP_ARENA_BYTES / MARK_GRANULE;
}

static bool find_bounds(struct mark *m) {
    uintptr_t lo = UINTPTR_MAX, hi = 0;
    for (size_t i = 0; i < mheap_.narenas; i++) {
        uintptr_t base = mheap_.all_arenas[i]->base;
        lo = base < lo ? base : lo;
        hi = base + HEAP_ARENA_BYTES > hi ? base + HEAP_ARENA_BYTES : hi;
    }
    m->lo = hi != 0 ? lo : 0;
    m->size = hi != 0 ? hi - lo : 0;
    return m->size / HEAP_ARENA_BYTES <= MARK_MAX_ARENAS;
}

/* make_arenas has what is asked about all arenas side by side, in huge pages if there are any: most
 * accesses are at random. */
static bool make_arenas(struct mark *m) {
    size_t n = m->size / HEAP_ARENA_BYTES;
    m->arenas_bytes = align_up((n + 1) * sizeof(struct mark_arena *), PHYS_PAGE_SIZE);
    m->arenas = mem_alloc(m->arenas_bytes, MEM_AGENT);
    m->infos_bytes = align_up(mheap_.narenas * sizeof(struct mark_arena) + HUGE_PAGE, HUGE_PAGE);
    m->infos = mem_alloc(m->infos_bytes, MEM_AGENT);
    if (m->arenas == NULL || m->infos == NULL)
        return false;
    char *start = (char *)align_up((uintptr_t)m->infos, HUGE_PAGE);
    size_t skipped = (size_t)(start - m->infos);
    mem_huge(start, m->infos_bytes - skipped);
    for (size_t i = 0; i < mheap_.narenas; i++)
        m->arenas[(mheap_.all_arenas[i]->base - m->lo) / HEAP_ARENA_BYTES] =
            (struct mark_arena *)start + i;
    return true;
}

/* A span may begin in one arena and end in the next. */
static void set_live(struct mark *m, const struct mspan *s) {
    for (size_t w = 0; w < s->nwords; w++)
        for (uint64_t live = mspan_live_word(s, w); live != 0; live &= live - 1) {
            size_t i = w * 64 + (unsigned)__builtin_ctzll(live);
            if (i >= s->nelems)
                break;
            uintptr_t object = s->base + i * mspan_elem_bytes(s);
            size_t bit = bit_of(object);
            arena_of(m, object)->unseen[bit / 64] |= UINT64_C(1) << bit % 64;
            m->nlive++;
        }
}

static void add_span(struct mark *m, const struct mspan *s) {
    unsigned noscan = (s->spc.v & 1) != 0 ? NOSCAN : 0;
    for (size_t i = 0; i < s->npages; i++) {
        uintptr_t p = s->base + (i << GM_PAGE_SHIFT);
        unsigned page =
            s->elem_size == 0 ? MARK_PAGE_LARGE : (s->spc.v >> 1) | (unsigned)i << MARK_PAGE_SHIFT;
        arena_of(m, p)->pages[p % HEAP_ARENA_BYTES / GM_PAGE_SIZE] = (uint16_t)(page | noscan);
    }
    set_live(m, s);
}

bool mark_begin(struct mark *m, const struct mark_options *o) {
    *m = (struct mark){.options = *o};
    init_classes();
    if (!find_bounds(m) || !make_arenas(m)) {
        mark_end(m);
        return false;
    }
    uint32_t n = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        const struct mspan *s = mheap_.allspans[i];
        if (atomic_load_explicit(&s->state, memory_order_relaxed) == GOMALLOC_SPAN_IN_USE)
            add_span(m, s);
    }
    return true;
}

void mark_end(struct mark *m) {
    if (m->infos != NULL)
        mem_free(m->infos, m->infos_bytes, MEM_AGENT, 0, 0);
    if (m->arenas != NULL)
        mem_free(m->arenas, m->arenas_bytes, MEM_AGENT, 0, 0);
    todo_free(&m->todo);
    *m = (struct mark){.todo.failed = true};
}

/* ---- from an address to its object --------------------------------------------------------- */

/* object_of returns the first byte of the object that p, within the heap, points to; 0: none. */
static inline uintptr_t object_of(const struct mark *m, uintptr_t p, unsigned *ret_page) {
    const struct mark_arena *a = arena_of(m, p);
    if (gm_unlikely(a == NULL))
        return 0;
    unsigned page = a->pages[p % HEAP_ARENA_BYTES / GM_PAGE_SIZE];
    *ret_page = page;
    if (gm_unlikely((page & 0xff) == MARK_PAGE_LARGE)) {
        const struct mspan *s = mheap_span_covering(p);
        return s != NULL ? s->base : 0;
    }
    const struct class_slots *c = &classes[page & 0xff];
    uintptr_t base =
        align_down(p, GM_PAGE_SIZE) - ((page & ~NOSCAN) >> MARK_PAGE_SHIFT << GM_PAGE_SHIFT);
    uint64_t slot = (p - base) * c->mul >> 32;
    return gm_likely(slot < c->nelems) ? base + slot * c->size : 0; /* class 0 has none */
}

static size_t object_bytes(uintptr_t object, unsigned page) {
    return (page & 0xff) != MARK_PAGE_LARGE ? classes[page & 0xff].size
                                            : mspan_elem_bytes(mheap_span_covering(object));
}

uintptr_t mark_find(const struct mark *m, uintptr_t p, size_t *ret_bytes, bool *ret_scan) {
    unsigned page;
    uintptr_t object = in_heap(m, p) ? object_of(m, p, &page) : 0;
    if (object == 0)
        return 0;
    *ret_bytes = object_bytes(object, page);
    *ret_scan = (page & NOSCAN) == 0;
    return object;
}

bool mark_is_unseen(const struct mark *m, uintptr_t p) {
    const struct mark_arena *a = in_heap(m, p) ? arena_of(m, p) : NULL;
    return a != NULL && p % MARK_GRANULE == 0 &&
           (a->unseen[bit_of(p) / 64] >> bit_of(p) % 64 & 1) != 0;
}

/* next_bit returns the first set bit of the arena from `bit` on; MARK_BITS: none. */
static size_t next_bit(const struct mark_arena *a, size_t bit) {
    uint64_t word = a->unseen[bit / 64] >> bit % 64 << bit % 64;
    for (size_t w = bit / 64;; word = a->unseen[w]) {
        if (word != 0)
            return w * 64 + (unsigned)__builtin_ctzll(word);
        if (++w == MARK_WORDS)
            return MARK_BITS;
    }
}

uintptr_t mark_next_unseen(const struct mark *m, uintptr_t p) {
    p = p > m->lo ? align_up(p, MARK_GRANULE) : m->lo;
    while (in_heap(m, p)) {
        const struct mark_arena *a = arena_of(m, p);
        size_t bit = a != NULL ? next_bit(a, bit_of(p)) : MARK_BITS;
        p = align_down(p, HEAP_ARENA_BYTES) + bit * MARK_GRANULE;
        if (bit < MARK_BITS)
            return p;
    }
    return 0;
}

static unsigned bits_of(uint64_t word) {
    return (unsigned)__builtin_popcountll(word);
}

void mark_number(struct mark *m) {
    uint32_t n = 0;
    for (uintptr_t base = m->lo; in_heap(m, base); base += HEAP_ARENA_BYTES) {
        struct mark_arena *a = arena_of(m, base);
        for (size_t w = 0; a != NULL && w < MARK_WORDS; w++) {
            if (w % MARK_LINE == 0)
                a->before[w / MARK_LINE] = n;
            n += bits_of(a->unseen[w]);
        }
    }
}

bool mark_leads_to_unseen(const struct mark *m, uintptr_t v, uint32_t *ret_number) {
    unsigned page;
    uintptr_t object = object_of(m, v, &page);
    if (object == 0 || (object != v && !m->options.interior))
        return false;
    const struct mark_arena *a = arena_of(m, object);
    size_t bit = bit_of(object), word = bit / 64, line = word / MARK_LINE;
    if ((a->unseen[word] >> bit % 64 & 1) == 0)
        return false;
    uint32_t k = a->before[line];
    for (size_t w = line * MARK_LINE; w < word; w++)
        k += bits_of(a->unseen[w]);
    *ret_number = k + bits_of(a->unseen[word] & ((UINT64_C(1) << bit % 64) - 1));
    return true;
}

/* ---- the mark ------------------------------------------------------------------------------ */

/* reach notes that the object is reached, if it is live and was not. */
static inline void reach(struct mark *m, uintptr_t object) {
    struct mark_arena *a = arena_of(m, object);
    size_t bit = bit_of(object);
    uint64_t word = a->unseen[bit / 64];
    if ((word >> bit % 64 & 1) == 0)
        return;
    a->unseen[bit / 64] = word & ~(UINT64_C(1) << bit % 64);
    m->nreached++;
    unsigned page = a->pages[object % HEAP_ARENA_BYTES / GM_PAGE_SIZE];
    m->reached_bytes += object_bytes(object, page);
    if ((page & NOSCAN) == 0)
        todo_push(&m->todo, &a->todo[object % HEAP_ARENA_BYTES / TODO_REGION], object);
}

/* consider puts what v points to, if anything, into the first queue, and takes what is at its end.
 */
static inline void consider(struct mark *m, uintptr_t v) {
    unsigned page;
    if (gm_likely(!in_heap(m, v)))
        return;
    uintptr_t object = object_of(m, v, &page);
    if (object == 0 || (gm_unlikely(!m->options.interior) && object != v))
        return;
    __builtin_prefetch(&arena_of(m, object)->unseen[bit_of(object) / 64], 1);
    uintptr_t oldest = m->near[m->near_at];
    m->near[m->near_at] = object;
    m->near_at = (m->near_at + 1) % MARK_NEAR;
    if (oldest != 0)
        reach(m, oldest);
}

static gm_noinline void scan_unaligned(struct mark *m, const char *p, size_t n) {
    for (size_t i = 0; i + sizeof(uintptr_t) <= n; i++) {
        uintptr_t v;
        memcpy(&v, p + i, sizeof v);
        consider(m, v);
    }
}

static inline void scan(struct mark *m, const void *p, size_t n) {
    m->nwords += n / sizeof(uintptr_t);
    if (gm_unlikely(m->options.unaligned)) {
        scan_unaligned(m, p, n);
        return;
    }
    const uintptr_t *w = p;
    const uintptr_t *end = w + n / sizeof *w;
    for (; w < end; w++)
        consider(m, *w);
}

static void scan_object(struct mark *m, uintptr_t object) {
    unsigned page = arena_of(m, object)->pages[object % HEAP_ARENA_BYTES / GM_PAGE_SIZE];
    scan(m, (const void *)object, object_bytes(object, page));
}

static bool drain_near(struct mark *m) {
    bool any = false;
    for (unsigned i = 0; i < MARK_NEAR; i++) {
        uintptr_t object = m->near[i];
        m->near[i] = 0;
        if (object != 0)
            reach(m, object);
        any |= object != 0;
    }
    return any;
}

uint64_t mark_root(struct mark *m, const void *p, size_t n) {
    uint64_t before = m->nreached;
    scan(m, p, n);
    drain_near(m);
    return m->nreached - before;
}

void mark_keep(struct mark *m, uintptr_t p) {
    unsigned page;
    uintptr_t object = in_heap(m, p) ? object_of(m, p, &page) : 0;
    if (object != 0)
        reach(m, object);
}

bool mark_take(struct mark *m, uintptr_t p) {
    if (!mark_is_unseen(m, p))
        return false;
    arena_of(m, p)->unseen[bit_of(p) / 64] &= ~(UINT64_C(1) << bit_of(p) % 64);
    m->nreached++;
    return true;
}

/* next takes an object of those to do by way of the second queue; 0: there is none in either. */
static inline uintptr_t next(struct mark *m) {
    for (unsigned tries = 0; tries <= MARK_FAR; tries++) {
        uintptr_t in = todo_pop(&m->todo);
        uintptr_t out = m->far[m->far_at];
        if (in != 0) {
            __builtin_prefetch((const void *)in);
            __builtin_prefetch((const void *)(in + 64));
        }
        m->far[m->far_at] = in;
        m->far_at = (m->far_at + 1) % MARK_FAR;
        if (out != 0)
            return out;
    }
    return 0;
}

bool mark_all(struct mark *m) {
    do {
        for (uintptr_t object; (object = next(m)) != 0;)
            scan_object(m, object);
    } while (drain_near(m));
    return !m->todo.failed;
}
