/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Allocation and free: what the fast paths leave.  Go: runtime/malloc.go mallocgc.
 */
#include "heap/malloc.h"

#include <string.h>

#include "heap/mtiny.h"
#include "sys/throw.h"

uint16_t malloc_entry[SMALL_SIZE_MAX + 1];
uint16_t malloc_entry128[(MAX_SMALL_SIZE - SMALL_SIZE_MAX) / LARGE_SIZE_DIV + 1];
bool malloc_tiny;

static unsigned aligned_class(size_t size) {
    unsigned size_class = size_to_class(size == 0 ? 1 : size);
    while (size > 8 && class_to_size[size_class] % 16 != 0)
        size_class++;
    return size_class;
}

static_assert(sizeof mcache0.alloc <= UINT16_MAX, "an entry's offset has 16 bits");

static uint16_t entry_offset(size_t size) {
    struct span_class spc = make_span_class(aligned_class(size), false);
    return (uint16_t)(spc.v * sizeof(struct mcache_entry));
}

void heap_init_classes(void) {
    for (size_t size = malloc_tiny ? TINY_SIZE / 2 : 0; size <= SMALL_SIZE_MAX; size++)
        malloc_entry[size] = entry_offset(size);
    for (size_t i = 0; i <= (MAX_SMALL_SIZE - SMALL_SIZE_MAX) / LARGE_SIZE_DIV; i++)
        malloc_entry128[i] = entry_offset(SMALL_SIZE_MAX + i * LARGE_SIZE_DIV);
}

/* NULL for a thread that is ending: its caller sees to it that what it attaches comes back. */
static struct mcache *self_or_attach(void) {
    struct mcache *c = mcache_self;
    return c != &mcache0 ? c : mcache_ending ? NULL : mcache_attach();
}

void *heap_alloc_slow(size_t size, bool noscan) {
    struct mcache *c = self_or_attach();
    if (c == NULL)
        return NULL;
    if (malloc_tiny && size < TINY_SIZE / 2)
        return tiny_alloc(c, size);
    if (size <= MAX_SMALL_SIZE)
        return (void *)mcache_alloc_slow(c, make_span_class(aligned_class(size), noscan));
    struct mspan *s = large_alloc(c, size, 1, noscan);
    return s != NULL ? (void *)s->base : NULL;
}

static void *alloc_small_zeroed(struct mcache *c, size_t size, struct span_class spc) {
    struct mcache_entry *e = &c->alloc[spc.v];
    uintptr_t p;
    if (mcache_pop_any(e, &p))
        return memset((void *)p, 0, size);
    p = mcache_alloc_slow(c, spc); /* from a word, as there is no hint now */
    return p != 0 && !e->fresh ? memset((void *)p, 0, size) : (void *)p;
}

/* Clears the object of s, but for what the kernel has cleared. */
static void clear_large(const struct mspan *s, size_t size, const struct stale_runs *stale) {
    uintptr_t end = s->base + size;
    if (stale->base != s->base) {
        memset((void *)s->base, 0, size);
        return;
    }
    for (unsigned i = 0; i < stale->n && stale->run[i].base < end; i++) {
        const struct stale_run *r = &stale->run[i];
        memset((void *)r->base, 0, (r->limit < end ? r->limit : end) - r->base);
    }
}

void *heap_alloc_zeroed(struct mcache *c, size_t size, bool noscan) {
    c = self_or_attach();
    if (c == NULL)
        return NULL;
    if (malloc_tiny && size < TINY_SIZE / 2) {
        void *p = tiny_alloc(c, size);
        return p != NULL ? memset(p, 0, size) : NULL;
    }
    if (size <= MAX_SMALL_SIZE)
        return alloc_small_zeroed(c, size, make_span_class(aligned_class(size), noscan));
    struct stale_runs stale = {.base = 0};
    c->large.stale = &stale;
    struct mspan *s = large_alloc(c, size, 1, noscan);
    c->large.stale = NULL;
    if (s == NULL)
        return NULL;
    if (s->needzero)
        clear_large(s, size, &stale);
    return (void *)s->base;
}

/* Slots begin at multiples of their size from a page boundary, so a class whose size is a multiple
 * of the alignment will do. */
static void *alloc_aligned_small(struct mcache *c, size_t size, size_t align) {
    for (unsigned k = size_to_class(size < align ? align : size); k < NUM_SIZE_CLASSES; k++)
        if (class_to_size[k] % align == 0) {
            uintptr_t p;
            if (!mcache_take(&c->alloc[k << 1], &p))
                p = mcache_alloc_slow(c, make_span_class(k, false));
            return (void *)p;
        }
    return NULL;
}

void *heap_alloc_aligned(struct mcache *c, size_t size, size_t align) {
    if (align <= 8 || (align == 16 && size > 8))
        return heap_alloc(c, size, false);
    c = self_or_attach();
    if (c == NULL || size > MAX_ALLOC || align > MAX_ALLOC || size + align > MAX_ALLOC)
        return NULL;
    if (size <= MAX_SMALL_SIZE && align <= GM_PAGE_SIZE) {
        void *p = alloc_aligned_small(c, size, align);
        if (p != NULL)
            return p;
    }
    struct mspan *s = large_alloc(c, size == 0 ? 1 : size, align, false);
    return s != NULL ? (void *)s->base : NULL;
}

/* The slot that begins at p, live or not; false if none does. */
static bool slot_at(const struct mspan *s, uintptr_t p, size_t *ret_slot) {
    if (s->elem_size == 0) {
        *ret_slot = 0;
        return p == s->base;
    }
    return mspan_small_slot(s, p, ret_slot);
}

static struct mspan *span_in_use(uintptr_t p) {
    struct mspan *s = mheap_span_of(p);
    return s != NULL &&
                   atomic_load_explicit(&s->state, memory_order_acquire) == GOMALLOC_SPAN_IN_USE &&
                   p - s->base < (uintptr_t)s->npages << GM_PAGE_SHIFT
               ? s
               : NULL;
}

struct mspan *heap_find(const void *ptr, size_t *ret_slot) {
    struct mspan *s = span_in_use((uintptr_t)ptr);
    if (s == NULL || !slot_at(s, (uintptr_t)ptr, ret_slot) ||
        (mspan_live_word(s, *ret_slot / 64) >> *ret_slot % 64 & 1) == 0)
        return NULL;
    return s;
}

size_t heap_usable(const void *ptr) {
    size_t slot;
    struct mspan *s = heap_find(ptr, &slot);
    return s != NULL ? mspan_elem_bytes(s) : 0;
}

/* A free in a span of the thread's own. */
static enum free_result free_local(struct mcache *c, struct mspan *s, size_t i, uintptr_t p) {
    uintptr_t bit_addr = s->bit_base + i;
    uint64_t *word = (uint64_t *)(bit_addr >> 6 << 3);
    uint64_t v = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (bit_set(&v, bit_addr))
        return FREE_DOUBLE;
    if (gm_unlikely((mslots_tag(s, i) & MSLOTS_ASK) != 0))
        return FREE_ASK;
    /* A thread that records everything (next_sample < 0) would settle in vain. */
    if (mslots_clear(s, i) && __atomic_load_n(&c->next_sample, __ATOMIC_RELAXED) >= 0)
        mslots_settle(s);
    __atomic_store_n(word, v, __ATOMIC_RELAXED);
    mcache_note_free(c, s, p, bit_addr);
    return FREE_OK;
}

enum free_result heap_free_slow(uintptr_t p) {
    struct mspan *s = span_in_use(p);
    size_t i;
    if (s != NULL && tiny_span(s)) {
        enum tiny_result t = tiny_release(s, p);
        if (t == TINY_LIVES || t == TINY_DOUBLE)
            return t == TINY_LIVES ? FREE_OK : FREE_DOUBLE;
        if (t == TINY_EMPTY)
            p = align_down(p, TINY_SIZE);
    }
    if (s == NULL || !slot_at(s, p, &i))
        return FREE_INVALID;
    if (s->elem_size == 0) {
        if (gm_unlikely((mslots_tag(s, 0) & MSLOTS_ASK) != 0)) /* so it lives */
            return FREE_ASK;
        return large_free(s) ? FREE_OK : FREE_DOUBLE;
    }
    struct mcache *c = mcache_self;
    if (mspan_owner(s) == &c->owner)
        return free_local(c, s, i, p);
    if (atomic_load_explicit(&s->sites, memory_order_acquire) != NULL &&
        (mspan_live_word(s, i / 64) >> i % 64 & 1) != 0) {
        if (gm_unlikely((mslots_tag(s, i) & MSLOTS_ASK) != 0))
            return FREE_ASK;
        mslots_clear(s, i);
    }
    return mspan_mark_free(s, i) == MARK_OK ? FREE_OK : FREE_DOUBLE;
}

bool heap_resizable(const struct mspan *s, size_t size) {
    if (s->elem_size == 0)
        return size > MAX_SMALL_SIZE && size <= MAX_ALLOC;
    return heap_fits(s->elem_size, size);
}

bool heap_realloc_in_place(struct mspan *s, size_t size) {
    return heap_resizable(s, size) && (s->elem_size != 0 || large_resize(s, size));
}
