/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Allocation and free.  Go: runtime/malloc.go mallocgc.
 *
 * The fast paths are here, to be compiled into malloc and free themselves; what they can't do is in
 * malloc.c.  Nothing here sets errno, prints or records.
 */
#ifndef GM_HEAP_MALLOC_H
#define GM_HEAP_MALLOC_H

#include "heap/mheap.h"
#include "heap/mslots.h"
#include "heap/msize.h"
#include "heap/mtiny.h"

enum free_result {
    FREE_OK,
    FREE_INVALID, /* not the start of an object of ours */
    FREE_DOUBLE,  /* the object is free already */
    FREE_ASK,     /* nothing was done: the recorder is to be told first (MSLOTS_ASK) */
};

/* Size classes for malloc, which unlike Go must align everything above 8 bytes to 16: class 24 is
 * passed over.  What the tables hold is the offset in mcache.alloc of the class's entry (scan;
 * noscan is the next one), by size up to SMALL_SIZE_MAX and for each 128 sizes above.  Filled by
 * heap_init_classes; all 0 before, and then the entry is that of class 0, which never has a slot,
 * so that the first allocation takes the slow path; and for sizes below 8 if those are to go to the
 * tiny allocator.  size 0 counts as 1. */
extern uint16_t malloc_entry[SMALL_SIZE_MAX + 1];
extern uint16_t malloc_entry128[(MAX_SMALL_SIZE - SMALL_SIZE_MAX) / LARGE_SIZE_DIV + 1];
void heap_init_classes(void);
extern bool malloc_tiny; /* set before the first allocation */

/* heap_alloc_slow is heap_alloc without the fast path. */
void *heap_alloc_slow(size_t size, bool noscan);

/* heap_free_slow is heap_free without the fast path; p may be anything but NULL. */
enum free_result heap_free_slow(uintptr_t p);

gm_inline struct mcache_entry *mcache_entry_at(struct mcache *c, size_t offset) {
    return (struct mcache_entry *)((char *)c + offsetof(struct mcache, alloc) + offset);
}

/* mcache_small_entry and mcache_entry_of return the entry of malloc's class for the size, which is
 * at most SMALL_SIZE_MAX, or MAX_SMALL_SIZE. */
gm_inline struct mcache_entry *mcache_small_entry(struct mcache *c, size_t size) {
    return mcache_entry_at(c, malloc_entry[size]);
}

gm_inline struct mcache_entry *mcache_entry_of(struct mcache *c, size_t size) {
    if (size <= SMALL_SIZE_MAX)
        return mcache_small_entry(c, size);
    return mcache_entry_at(
        c, malloc_entry128[(size - SMALL_SIZE_MAX + LARGE_SIZE_DIV - 1) / LARGE_SIZE_DIV]);
}

/* mcache_pop takes the slot of the newest hint; false: there is none, or it was stale and is gone.
 * A stale one may have older ones below, so that the words no more give fresh slots only.
 * i < 64 of a bit instruction is implied: the processor takes it modulo 64. */
gm_inline bool mcache_pop(struct mcache_entry *e, uintptr_t *ret_p) {
    struct hint *h = e->sp;
    if (gm_unlikely(h == e->bottom))
        return false;
    h--;
    add_in_memory(e->sp, -(int)sizeof *h);
    uint64_t *word = (uint64_t *)(h->bit_addr >> 6 << 3);
    uint64_t v = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (gm_unlikely(!bit_clear(&v, h->bit_addr))) {
        e->fresh = 0;
        return false;
    }
    *ret_p = mcache_visible(h->p);
    __atomic_store_n(word, v, __ATOMIC_RELAXED);
    return true;
}

/* mcache_pop_any takes the slot of the newest hint that is not stale; false: none is left. */
gm_inline bool mcache_pop_any(struct mcache_entry *e, uintptr_t *ret_p) {
    while (e->sp != e->bottom)
        if (mcache_pop(e, ret_p))
            return true;
    return false;
}

/* mcache_next_free takes the next free slot of the current word; false: there is none. */
gm_inline bool mcache_next_free(struct mcache_entry *e, uintptr_t *ret_p) {
    uint64_t v = __atomic_load_n(e->word, __ATOMIC_RELAXED);
    if (gm_unlikely(v == 0))
        return false;
    *ret_p = mcache_visible(e->word_base + (unsigned)__builtin_ctzll(v) * e->elem_size);
    __atomic_store_n(e->word, v & (v - 1), __ATOMIC_RELAXED);
    return true;
}

/* mcache_take takes a slot in one of these ways. */
gm_inline bool mcache_take(struct mcache_entry *e, uintptr_t *ret_p) {
    return mcache_pop(e, ret_p) || mcache_next_free(e, ret_p);
}

/* mcache_take_zeroed is mcache_take with the slot's first bytes cleared. */
gm_inline bool mcache_take_zeroed(struct mcache_entry *e, size_t bytes, uintptr_t *ret_p) {
    if (mcache_pop(e, ret_p)) {
        __builtin_memset((void *)*ret_p, 0, bytes);
        return true;
    }
    if (!mcache_next_free(e, ret_p))
        return false;
    if (!e->fresh)
        __builtin_memset((void *)*ret_p, 0, bytes);
    return true;
}

/* mcache_take_large takes a large object that the thread has freed and that has as many pages. */
gm_inline bool mcache_take_large(struct mcache *c, size_t size, uintptr_t *ret_p) {
    if (size <= MAX_SMALL_SIZE || size > LARGE_KEEP_PAGES << GM_PAGE_SHIFT ||
        !mcache_pop(&c->large_alloc[large_pages(size)], ret_p))
        return false;
    mcache_count(&c->nlarge);
    return true;
}

/* heap_alloc returns size bytes, aligned as malloc must, or NULL.  noscan: they will hold no
 * pointers. */
gm_inline void *heap_alloc(struct mcache *c, size_t size, bool noscan) {
    if (gm_likely(size <= MAX_SMALL_SIZE)) {
        uintptr_t p;
        if (gm_likely(mcache_take(mcache_entry_of(c, size) + noscan, &p)))
            return (void *)p;
    }
    return heap_alloc_slow(size, noscan);
}

gm_inline void mcache_no_room(struct mcache *c, struct mcache_entry *e, struct mspan *s) {
    e->fresh = 0;
    if (s->place == GOMALLOC_PLACE_NONE)
        mcache_enlist(c, s);
}

/* mcache_note_free keeps a hint to the slot at p, which has just become free; the span is listed if
 * there is no room for one. */
gm_inline void mcache_note_free(struct mcache *c, struct mspan *s, uintptr_t p,
                                uintptr_t bit_addr) {
    struct mcache_entry *e = mcache_entry_at(c, s->entry_off);
    struct hint *h = e->sp;
    if (gm_likely(h != e->end)) {
        *h = (struct hint){p, bit_addr};
        add_in_memory(e->sp, sizeof *h);
    } else {
        mcache_no_room(c, e, s);
    }
}

/* heap_free_own frees the object that begins at ptr if it lies in a span of the thread's own in
 * which nothing is recorded.  False: it has done nothing, heap_free_slow is to be asked.  s: what
 * mheap_span_guess says of ptr; c: the thread's mcache. */
gm_inline bool heap_free_own(void *ptr, struct mspan *s, struct mcache *c) {
    uintptr_t p = (uintptr_t)ptr;
    if (gm_unlikely(s == NULL || !word_is(&s->owner, (uintptr_t)c)))
        return false;
    size_t i;
    if (gm_unlikely(!mspan_small_slot(s, p, &i)))
        return false;
    uintptr_t bit_addr = s->bit_base + i;
    uint64_t *word = (uint64_t *)(bit_addr >> 6 << 3);
    uint64_t v = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (gm_unlikely(bit_set(&v, bit_addr)))
        return false;
    __atomic_store_n(word, v, __ATOMIC_RELAXED);
    mcache_note_free(c, s, p, bit_addr);
    return true;
}

gm_inline bool heap_free_fast(void *ptr) {
    return heap_free_own(ptr, mheap_span_guess((uintptr_t)ptr), mcache_self);
}

/* heap_forget_recorded takes the record from slot i of a span of the thread's own, with that table,
 * if that is all there is to do for the recorder. */
gm_inline bool heap_forget_recorded(struct mspan *s, struct mslots_table *table, size_t i,
                                    struct mcache *c, bool narrow) {
    void *at = mslots_tag_at(s, table, i, narrow);
    uint32_t tag = narrow ? __atomic_load_n((uint16_t *)at, __ATOMIC_RELAXED)
                          : __atomic_load_n((uint32_t *)at, __ATOMIC_RELAXED);
    if (gm_unlikely((tag & (narrow ? mslots_narrowed(MSLOTS_ASK) : MSLOTS_ASK)) != 0))
        return false;
    if (tag == 0)
        return true;
    /* One that does not record everything may have to settle: heap_free_slow. */
    if (gm_unlikely(__atomic_load_n(&c->next_sample, __ATOMIC_RELAXED) >= 0))
        return false;
    if (narrow)
        __atomic_store_n((uint16_t *)at, 0, __ATOMIC_RELAXED);
    else
        __atomic_store_n((uint32_t *)at, 0, __ATOMIC_RELAXED);
    return true;
}

/* heap_free_recorded frees the object that begins at ptr if it lies in a span of the thread's own
 * in which something is recorded.  Otherwise as heap_free_own. */
gm_inline bool heap_free_recorded(void *ptr, struct mspan *s, struct mcache *c) {
    uintptr_t p = (uintptr_t)ptr;
    size_t i;
    if (s == NULL || !word_is(&s->owner, (uintptr_t)c + SPAN_RECORDED) ||
        !mspan_small_slot(s, p, &i))
        return false;
    struct mslots_table *table = atomic_load_explicit(&s->sites, memory_order_relaxed);
    if (gm_unlikely(table == NULL || s->spc.v == TINY_SPAN_CLASS))
        return false;
    uintptr_t bit_addr = s->bit_base + i;
    uint64_t *word = (uint64_t *)(bit_addr >> 6 << 3);
    uint64_t v = __atomic_load_n(word, __ATOMIC_RELAXED);
    if (gm_unlikely(bit_set(&v, bit_addr)))
        return false;
    if (gm_unlikely(!(gm_likely(mslots_is_narrow(table))
                          ? heap_forget_recorded(s, table, i, c, true)
                          : heap_forget_recorded(s, table, i, c, false))))
        return false;
    __atomic_store_n(word, v, __ATOMIC_RELAXED);
    mcache_note_free(c, s, p, bit_addr);
    return true;
}

/* heap_free_remote frees the small object that begins at p in a span of another thread's in which
 * nothing is recorded.  False: it has done nothing, heap_free_slow is to be asked. */
gm_inline bool heap_free_remote(uintptr_t p) {
    struct mspan *s = mheap_span_guess(p);
    if (s == NULL)
        return false;
    uintptr_t owner = atomic_load_explicit(&s->owner, memory_order_acquire);
    size_t i;
    if (owner == 0 || owner == (uintptr_t)mcache_self || (owner & SPAN_RECORDED) != 0 ||
        s->elem_size == 0 ||
        atomic_load_explicit(&s->state, memory_order_relaxed) != GOMALLOC_SPAN_IN_USE ||
        !mspan_small_slot(s, p, &i))
        return false;
    return mspan_mark_free(s, i) == MARK_OK;
}

/* heap_live_size returns the size of the small object that begins at p, a slot of s, whose owner
 * asks; 0: none lives there. */
gm_inline size_t heap_live_size(const struct mspan *s, uintptr_t p) {
    size_t i;
    if (gm_unlikely(!mspan_small_slot(s, p, &i)))
        return 0;
    uintptr_t bit_addr = s->bit_base + i;
    uint64_t v = __atomic_load_n((uint64_t *)(bit_addr >> 6 << 3), __ATOMIC_RELAXED);
    return gm_unlikely(bit_set(&v, bit_addr)) ? 0 : s->elem_size;
}

/* heap_own_size returns the size of the live small object that begins at ptr if it lies in a span
 * of the thread's own in which nothing is recorded, else 0: heap_find is to be asked. */
gm_inline size_t heap_own_size(const struct mcache *c, const void *ptr) {
    struct mspan *s = mheap_span_guess((uintptr_t)ptr);
    if (s == NULL || !word_is(&s->owner, (uintptr_t)c))
        return 0;
    return heap_live_size(s, (uintptr_t)ptr);
}

/* heap_own_usable is heap_own_size, recorded or not.  0 for blocks of the tiny allocator. */
gm_inline size_t heap_own_usable(const struct mcache *c, const void *ptr) {
    struct mspan *s = mheap_span_guess((uintptr_t)ptr);
    if (gm_unlikely(s == NULL))
        return 0;
    if (!word_is(&s->owner, (uintptr_t)c) &&
        (!word_is(&s->owner, (uintptr_t)c + SPAN_RECORDED) || s->spc.v == TINY_SPAN_CLASS))
        return 0;
    return heap_live_size(s, (uintptr_t)ptr);
}

/* heap_fits tells whether a small object of elem bytes is to stay where it is when it is to hold
 * size bytes: there is room, and no more than half of it would be waste. */
gm_inline bool heap_fits(size_t elem, size_t size) {
    return size <= elem && (size > elem / 2 || elem <= 16);
}

/* heap_alloc_zeroed is heap_alloc of cleared memory. */
void *heap_alloc_zeroed(struct mcache *c, size_t size, bool noscan);

/* heap_alloc_aligned returns size bytes at a multiple of align (a power of two, any), or NULL. */
void *heap_alloc_aligned(struct mcache *c, size_t size, size_t align);

/* heap_resizable tells whether heap_realloc_in_place is worth a try. */
bool heap_resizable(const struct mspan *s, size_t size);

/* heap_realloc_in_place makes the object of s hold size bytes without moving it.  False: it can't,
 * or more than half of the object would be waste. */
bool heap_realloc_in_place(struct mspan *s, size_t size);

/* heap_find returns the span of the live object that begins at p and its slot, or NULL. */
struct mspan *heap_find(const void *p, size_t *ret_slot);

/* heap_usable returns the bytes of the object that begins at p, 0 if there is none. */
size_t heap_usable(const void *p);

#endif
