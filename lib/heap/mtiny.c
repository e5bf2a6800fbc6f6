/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tiny allocator.  Go: runtime/malloc.go mallocgc, "Tiny allocator".
 *
 * A block's word: bits 0..15, an object that begins at this byte lives; bit 16, a thread still adds
 * to the block; bit 16 + e for e in 1..15, an object ends before byte e (kept until the block is
 * free, so that a usable size can be told).  The thread that fills a block and those that free its
 * objects change the word by atomic operations; who clears the last of bits 0..16 frees the block.
 *
 * A span with such words is marked as recorded (SPAN_RECORDED), so that free's fast path, which
 * would take an object at byte 0 for the whole block, leaves it to heap_free_slow.
 */
#include "heap/mtiny.h"

#include "heap/malloc.h"
#include "sys/persistent.h"
#include "sys/throw.h"

#define FILLING     (1u << 16)
#define LIVE_MASK   ((FILLING << 1) - 1)
#define TABLE_WORDS (GM_PAGE_SIZE / TINY_SIZE)

/* Tables of freed spans, linked by their first two words.  Heap's lock. */
static _Atomic uint32_t *free_tables;

static size_t block_of(const struct mspan *s, uintptr_t p) {
    return (p - s->base) / TINY_SIZE;
}

static _Atomic uint32_t *word_at(const struct mspan *s, uintptr_t p) {
    if (s == NULL)
        throw_("a tiny block is in no span");
    return &atomic_load_explicit(&s->tiny, memory_order_acquire)[block_of(s, p)];
}

static unsigned align_of(size_t size) {
    return size % 8 == 0 ? 8 : size % 4 == 0 ? 4 : size % 2 == 0 ? 2 : 1;
}

static uint32_t object_bits(size_t start, size_t end) {
    uint32_t ends = end < TINY_SIZE ? FILLING << end : 0;
    return 1u << start | ends;
}

static _Atomic uint32_t *new_table(void) {
    mutex_lock(&mheap_.lock);
    _Atomic uint32_t *t = free_tables;
    if (t != NULL) {
        __builtin_memcpy(&free_tables, (const void *)t, sizeof free_tables);
        for (size_t i = 0; i < 2; i++)
            atomic_store_explicit(&t[i], 0, memory_order_relaxed);
    }
    mutex_unlock(&mheap_.lock);
    return t != NULL ? t : persistent_alloc(TABLE_WORDS * sizeof *t, 64, MEM_SPAN);
}

void tiny_release_table(struct mspan *s) {
    mutex_assert_held(&mheap_.lock);
    if (s->spc.v != TINY_SPAN_CLASS)
        return;
    _Atomic uint32_t *t = atomic_load_explicit(&s->tiny, memory_order_relaxed);
    if (t == NULL)
        return;
    /* All its blocks are free, so all words are zero: nothing but the link to be cleared. */
    __builtin_memcpy((void *)t, &free_tables, sizeof free_tables);
    free_tables = t;
    atomic_store_explicit(&s->tiny, NULL, memory_order_relaxed);
}

static bool prepare_span(struct mspan *s) {
    if (tiny_span(s))
        return true;
    _Atomic uint32_t *t = new_table();
    if (t == NULL)
        return false;
    atomic_store_explicit(&s->tiny, t, memory_order_release);
    atomic_fetch_or(&s->owner, SPAN_RECORDED);
    return true;
}

static void *new_block(struct mcache *c, size_t size) {
    struct span_class spc = {TINY_SPAN_CLASS};
    uintptr_t p;
    if (!mcache_take(&c->alloc[spc.v], &p))
        p = mcache_alloc_slow(c, spc);
    if (p == 0)
        return NULL;
    struct mspan *s = mheap_span_of(p);
    if (s == NULL || !prepare_span(s)) {
        heap_free_slow(p);
        return NULL;
    }
    atomic_store_explicit(word_at(s, p), FILLING | object_bits(0, size), memory_order_release);
    c->tiny = p;
    c->tiny_offset = size;
    return (void *)p;
}

void tiny_flush(struct mcache *c) {
    uintptr_t block = c->tiny;
    if (block == 0)
        return;
    c->tiny = 0;
    _Atomic uint32_t *word = word_at(mheap_span_of(block), block);
    uint32_t old = atomic_fetch_and(word, ~FILLING);
    if ((old & LIVE_MASK) == FILLING) {
        atomic_store_explicit(word, 0, memory_order_release);
        heap_free_slow(block);
    }
}

void *tiny_alloc(struct mcache *c, size_t size) {
    if (c == &mcache0)
        return NULL;
    if (size == 0)
        size = 1;
    size_t start = align_up(c->tiny_offset, align_of(size));
    if (c->tiny != 0 && start + size <= TINY_SIZE) {
        uintptr_t block = c->tiny;
        atomic_fetch_or(word_at(mheap_span_of(block), block), object_bits(start, start + size));
        c->tiny_offset = start + size;
        return (void *)(block + start);
    }
    tiny_flush(c);
    return new_block(c, size);
}

enum tiny_result tiny_release(struct mspan *s, uintptr_t p) {
    _Atomic uint32_t *word = word_at(s, p);
    uint32_t bit = 1u << (p % TINY_SIZE);
    uint32_t old = atomic_load(word);
    if ((old & LIVE_MASK) == 0)
        return TINY_NOT;
    old = atomic_fetch_and(word, ~bit);
    if ((old & bit) == 0)
        return TINY_DOUBLE;
    if ((old & LIVE_MASK) != bit)
        return TINY_LIVES;
    atomic_store_explicit(word, 0, memory_order_release);
    return TINY_EMPTY;
}

size_t tiny_usable(const void *ptr) {
    uintptr_t p = (uintptr_t)ptr;
    struct mspan *s = mheap_span_of(p);
    if (s == NULL || !tiny_span(s) || p - s->base >= GM_PAGE_SIZE)
        return 0; /* the last: a stale entry of the arena's table */
    uint32_t word = atomic_load(word_at(s, p));
    unsigned start = p % TINY_SIZE;
    if ((word >> start & 1) == 0)
        return 0;
    uint32_t ends = word >> 16 & ~((2u << start) - 1);
    return (ends != 0 ? (unsigned)__builtin_ctz(ends) : TINY_SIZE) - start;
}

bool tiny_filling(const struct mspan *s, uintptr_t p) {
    return (atomic_load(word_at(s, p)) & FILLING) != 0;
}

const char *tiny_recount(const struct mspan *s, uint64_t *filling) {
    if (!tiny_span(s))
        return NULL;
    for (size_t i = 0; i < s->nelems; i++) {
        uint32_t word = atomic_load(word_at(s, s->base + i * TINY_SIZE));
        if (word != 0 && (word & LIVE_MASK) == 0)
            return "a tiny block without objects was not freed";
        if (word != 0 && (mspan_live_word(s, i / 64) >> i % 64 & 1) == 0)
            return "a tiny object lives in a free slot";
        *filling += (word & FILLING) != 0;
    }
    return NULL;
}
