/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A span: a run of pages that holds objects of one size.  Go: runtime/mheap.go mspan.
 *
 * The bitmap is the truth.  Bit i of free_bits is 1 while slot i is free (Go's allocCache keeps the
 * same complement of allocBits).  It belongs to the span's owner, one mcache or one mcentral,
 * which writes it with plain stores.  Everybody else frees by setting bit i of free_marks with an
 * atomic operation: a mark, as the garbage collector's in Go, which the owner's next sweep folds
 * into free_bits.  So at every instant, for anybody who reads the two words without any lock,
 *
 *      slot i is live  <=>  i < nelems and bit i is set in neither word
 *
 * (the sweep sets the free bit before it clears the mark, so a free slot is never seen as live).
 *
 * Who knows that a span has marks?  The first mark since the last sweep sets `pending` and pushes
 * the span on its owner's list (mspan_note_pending): marking costs one atomic operation a free, and
 * one list operation a span and sweep.  A span may change its owner, be freed and be used again
 * while it waits on a list: span headers are type-stable (never unmapped, never used for anything
 * else), and who drains a list hands on what is not his.  The protocol is argued in mspan.c.
 *
 * Departures from Go: local frees (Go has none) set the free bit at once, and put a hint in front
 * (mcache.h); allocCache is not a shifted copy but the word of free_bits itself.
 */
#ifndef GM_HEAP_MSPAN_H
#define GM_HEAP_MSPAN_H

#include <stdatomic.h>

#include "gomalloc/image.h"
#include "heap/mconst.h"
#include "sys/compiler.h"

/* Size class * 2 + noscan.  Go: spanClass. */
struct span_class {
    uint8_t v;
};
#define NUM_SPAN_CLASSES 136

gm_inline struct span_class make_span_class(unsigned size_class, bool noscan) {
    return (struct span_class){(uint8_t)(size_class << 1 | noscan)};
}

/* Who may write a span's free_bits: an mcache, an mcentral or the heap itself.  The first member of
 * each of them. */
struct span_owner {
    _Atomic(struct mspan *) pending; /* spans with marks, linked by pending_next; anybody pushes,
                                        the owner takes the whole list */
    uint32_t id;                     /* mcache index, or GOMALLOC_OWNER_*: for the image */
    uint32_t reserved;
};

/* mspan.owner is the address of a span_owner, plus SPAN_RECORDED if the span has a slot table: so
 * that free's one comparison tells "mine, and nothing recorded here". */
#define SPAN_RECORDED ((uintptr_t)1)

struct mslots_table;

struct mspan {
    /* Line 0: what malloc and free of the owner touch. */
    uintptr_t base;          /* address of slot 0 */
    uint32_t div_mul;        /* ceil(2^32 / elem_size): slot index = offset * div_mul >> 32 */
    uint32_t elem_size;      /* bytes of a slot; 0: one large object of npages */
    _Atomic uintptr_t owner; /* span_owner | SPAN_RECORDED; 0 = free.  Changed by the owner only;
                                of a large span by who frees its object */
    uintptr_t bit_base;      /* free_bits as a bit address: (uintptr_t)free_bits << 3 */
    uint32_t entry_off;      /* offset of the class's entry in mcache.alloc */
    uint16_t nelems;         /* slots */
    uint16_t freeindex;      /* word of free_bits at which the owner's search stands */
    struct span_class spc;
    uint8_t place;         /* enum gomalloc_span_place.  Owner */
    _Atomic uint8_t state; /* enum gomalloc_span_state.  Written under the heap's lock */
    uint8_t needzero;      /* 1: slots may hold old data.  Heap's lock */
    uint8_t nwords;        /* of free_bits, (nelems + 63) / 64 */
    uint8_t log2_words;    /* size class of the bitmap memory */
    uint16_t reserved0;
    uint64_t limit; /* bytes from base to the end of the last slot; 0: class 0.  Go: limit */
    union {
        uint64_t free_bits0;              /* the bitmap itself if nwords == 1 */
        _Atomic(_Atomic uint32_t *) tiny; /* of tiny blocks' spans, whose nwords is 8: a word for
                                             each block, NULL: none.  See mtiny.h */
    };

    /* Line 1: what others write, and what is seldom looked at. */
    _Atomic uint64_t free_marks0; /* the marks if nwords == 1 */
    _Atomic(struct mspan *) pending_next;
    _Atomic uint32_t pending; /* mspan_waits: on some owner's list, or about to be; else: not */
    _Atomic uint32_t gen;     /* odd while the header is being filled or emptied; a reader without
                                 the lock reads it before and after.  Heap's lock */
    _Atomic(struct mslots_table *) sites; /* slot table, or NULL: nothing recorded.  Set under
                                             mslots_lock; see mslots.h */
    struct mspan *next;                   /* owner's list of listed spans */
    struct mspan *prev;
    uint32_t npages;
    uint32_t index; /* in the heap's allspans */
    union {
        struct {
            uint32_t sweepgen;  /* heap's sweepgen when last swept.  Owner */
            uint32_t set_index; /* position in its mcentral span set */
        };
        uint64_t large_requested; /* class 0: bytes asked for, 0 = not recorded.  Owner */
        struct {                  /* manual spans */
            uint32_t pooled;      /* bit i: stack i is free and in the pool.  Pool's lock */
            uint32_t guard;       /* bytes below its one stack that fault, 0: none */
        };
    };
} __attribute__((aligned(64)));

static_assert(sizeof(struct mspan) == 128, "a span header is two cache lines");
static_assert(offsetof(struct mspan, free_marks0) == 64, "others do not write the owner's line");

gm_inline uint64_t *mspan_free_bits(const struct mspan *s) {
    return (uint64_t *)(s->bit_base >> 3);
}

/* The marks lie behind the free bits, in the header too. */
gm_inline _Atomic uint64_t *mspan_free_marks(const struct mspan *s) {
    return (_Atomic uint64_t *)mspan_free_bits(s) + ((size_t)1 << s->log2_words);
}

gm_inline struct span_owner *mspan_owner(const struct mspan *s) {
    return (struct span_owner *)(atomic_load_explicit(&s->owner, memory_order_acquire) &
                                 ~SPAN_RECORDED);
}

/* mspan_elem_bytes returns the bytes given to each object. */
gm_inline size_t mspan_elem_bytes(const struct mspan *s) {
    return s->elem_size != 0 ? s->elem_size : (size_t)s->npages << GM_PAGE_SHIFT;
}

/* mspan_object_index returns the slot that p points into, or nelems or more if none. */
gm_inline size_t mspan_object_index(const struct mspan *s, uintptr_t p) {
    return s->elem_size != 0 ? (p - s->base) * s->div_mul >> 32 : 0;
}

/* mspan_small_slot finds the slot of small objects that begins at p, live or not; false if none
 * does, whatever p is.  Lemire: the low half of offset * ceil(2^32 / size) is less than the
 * multiplier exactly if offset is a multiple of size; the high half is the quotient. */
gm_inline bool mspan_small_slot(const struct mspan *s, uintptr_t p, size_t *ret_slot) {
    uint64_t offset = p - s->base;
    if (gm_unlikely(offset >= s->limit))
        return false;
    return mul32((uint32_t)offset, &s->div_mul, ret_slot) < s->div_mul;
}

/* mspan_live_word returns the live bits of word w: an atomic reading, whoever owns the span. */
uint64_t mspan_live_word(const struct mspan *s, size_t w);

/* mspan_count_live counts the live slots. */
size_t mspan_count_live(const struct mspan *s);

/* mspan_init_bits gives the span bitmaps for its nelems, all free and none marked.  False: out of
 * memory.  The heap's lock is held. */
bool mspan_init_bits(struct mspan *s);

/* mspan_release_bits takes them back for reuse.  The heap's lock is held. */
void mspan_release_bits(struct mspan *s);

/* Called by a sweep that finds a slot freed twice, by its owner and by another thread, with its
 * address; locks may be held.  The owner's free does not look at marks, so it can't tell earlier.
 */
extern void (*heap_double_free_found)(uintptr_t p);

/* mspan_sweep folds the marks into free_bits; returns how many there were.  The caller owns the
 * span. */
size_t mspan_sweep(struct mspan *s, uint32_t sweepgen);

/* mspan_finish_sweep ends a sweep of a thread that was lost in a fork, which may have set free bits
 * and not cleared their marks.  The caller has inherited the span. */
void mspan_finish_sweep(struct mspan *s);

/* mspan_has_marks tells whether there is something to sweep. */
bool mspan_has_marks(const struct mspan *s);

/* mspan_has_free tells whether free_bits has a bit.  The caller owns the span. */
bool mspan_has_free(const struct mspan *s);

/* mspan_is_empty tells whether all slots are free.  The caller owns the span and has swept it. */
bool mspan_is_empty(const struct mspan *s);

enum mark_result { MARK_OK, MARK_DOUBLE_FREE };

/* What mspan.pending holds while the span waits.  Another number in a child of a fork that lost
 * threads, which may have set the flag of a span and not pushed it, or taken a list and not drained
 * it: so nobody waits any more.  Written by mspan_forget_pending only. */
extern uint32_t mspan_waits;

gm_inline bool mspan_is_pending(const struct mspan *s) {
    return atomic_load(&s->pending) == mspan_waits;
}

/* mspan_forget_pending makes every span one that does not wait; the caller empties all lists, is
 * the only thread, and has mspan_note_pending called for each span with marks later. */
void mspan_forget_pending(void);

/* mspan_take_pending takes the whole pending list of an owner. */
struct mspan *mspan_take_pending(struct span_owner *o);

/* mspan_pop_pending clears the flag of a span taken from a list and returns the one behind it.
 * After it, and only after it, the caller may sweep the span if it is his, else must hand it on
 * (mspan_note_pending). */
struct mspan *mspan_pop_pending(struct mspan *s);

/* mspan_note_pending puts the span on its present owner's list, unless it is on one. */
void mspan_note_pending(struct mspan *s);

/* mspan_mark_free frees slot i for a caller who does not own the span.  The steps F1 and F2 of the
 * protocol in mspan.c. */
gm_inline enum mark_result mspan_mark_free(struct mspan *s, size_t i) {
    size_t w = i / 64;
    uint64_t bit = UINT64_C(1) << (i % 64);
    if (gm_unlikely((__atomic_load_n(&mspan_free_bits(s)[w], __ATOMIC_RELAXED) & bit) != 0) ||
        gm_unlikely((atomic_fetch_or(&mspan_free_marks(s)[w], bit) & bit) != 0))
        return MARK_DOUBLE_FREE;
    if (gm_unlikely(!mspan_is_pending(s)))
        mspan_note_pending(s);
    return MARK_OK;
}

/* A list of spans linked by next and prev. */
struct mspan_list {
    struct mspan *first;
    size_t n;
};
void mspan_list_push(struct mspan_list *l, struct mspan *s);
void mspan_list_remove(struct mspan_list *l, struct mspan *s);

#endif
