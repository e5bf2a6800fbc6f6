/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Spans: bitmaps, marks, sweeping.  Go: runtime/mheap.go mspan, mgcsweep.go sweep.
 *
 * The remote-free protocol, and why no mark is lost.  Freer F, who does not own span s:
 *
 *      F1  set the slot's bit in free_marks               (read-modify-write, seq_cst)
 *      F2  if s.pending is 1, stop                         (seq_cst)
 *      F3  exchange s.pending to 1; if it was 1, stop
 *      F4  read s.owner; if it is one with a list, push s on it, stop
 *      F5  (s is free now, or the heap's) set s.pending to 0; read s.owner again; if it is one with
 *          a list, go to F2, else stop
 *
 * Who drains a list, D:
 *
 *      D1  set s.pending to 0
 *      D2  read s.owner; if it is D, sweep s: read free_marks, fold; else go to F2 for s
 *
 * Claim: after a mark, either s is on some list, or its owner's sweep is still to read free_marks.
 * If F stops at F2 or F3 it saw pending 1, set by somebody X who has either pushed s, or is between
 * F3 and F4, or at F5.  If s gets drained, D1 comes after F2 in the total order of seq_cst
 * operations, so D2's sweep sees the mark of F1.  If X is at F5, its second reading of the owner
 * comes after its store of 0, which comes after F2; the owner was set before s had any object, so
 * before F1; hence X sees it and goes round again.
 *
 * An owner changes only by its own hand, holding the span outside of all lists but a pending one.
 * If F read the old owner at F4 and pushes on its list, the old owner's D2 hands s on.  Lists of
 * idle mcaches are drained by the library's thread and by who adopts them, so they do not rest.
 *
 * Large spans have an owner too, an mcache or the heap.  s can only be one of them if it was freed
 * and used again since F1, so that there is nothing to sweep: an mcache that drains passes over it.
 * Nobody drains the heap's list: were s pushed there, s.pending would stay 1 for all its further
 * lives.
 *
 * In a child of a fork the other threads have stopped at any of these steps: one between F3 and F4
 * has left `pending` at 1 on no list; one in D has lists in its hands.  So "1" is a number that is
 * another one in such a child (mspan_waits): no span waits, all lists are emptied, and who adopts
 * the lost threads' mcaches calls F2 for every span with marks (mcaches_after_fork,
 * rebuild_orphans).
 *
 * A freed header keeps `pending` and `pending_next` until it has been drained, which is why neither
 * is touched when a span is made or freed.
 *
 * Orders.  The argument is about one order of the operations on marks, pending and F4's owner: F
 * writes a mark and then reads pending, D writes pending and then reads the marks, and one of them
 * must see the other's store.  That is what seq_cst gives, and release and acquire do not.  D2's
 * reading of the owner needs no such order: only D (for an mcentral: who holds its lock) makes a
 * span D's, and ends that.  F4 may read an owner of the past, who hands s on.  A push (release) and
 * the taking of a list (acquire) carry pending_next; the look whether a list is empty is relaxed,
 * as what it misses is there at the next look.  The plain words of free_bits are their owner's, and
 * go to the next one by a lock: the mcentral's, the heap's, or that of the idle mcaches.
 *
 * tests/unit/test_pending_model.c goes through all interleavings of these steps, with owners that
 * give and take spans, headers that are used again, and forks.
 */
#include "heap/mspan.h"

#include "sys/lock.h"
#include "sys/persistent.h"
#include "sys/throw.h"

/* Bitmaps of 2^k words for free bits and as many for marks, linked by their first word.  No two
 * share a cache line: their spans may be those of two threads, which write them at each malloc. */
#define MAX_LOG2_WORDS 5
#define CACHE_LINE     ((size_t)64)
static uint64_t *free_bitmaps[MAX_LOG2_WORDS + 1]; /* guarded by the heap's lock */

static unsigned log2_ceil(unsigned n) {
    return n <= 1 ? 0 : 32 - (unsigned)__builtin_clz(n - 1);
}

static uint64_t *bitmap_alloc(unsigned log2) {
    uint64_t *b = free_bitmaps[log2];
    if (b != NULL) {
        free_bitmaps[log2] = (uint64_t *)b[0];
        return b;
    }
    return persistent_alloc(align_up((size_t)16 << log2, CACHE_LINE), CACHE_LINE, MEM_SPAN);
}

bool mspan_init_bits(struct mspan *s) {
    unsigned nwords = (s->nelems + 63u) / 64;
    s->nwords = (uint8_t)nwords;
    s->log2_words = (uint8_t)log2_ceil(nwords);
    uint64_t *bits = &s->free_bits0;
    if (nwords > 1) {
        bits = bitmap_alloc(s->log2_words);
        if (bits == NULL)
            return false;
        s->free_bits0 = 0; /* which is mspan.tiny */
    }
    s->bit_base = (uintptr_t)bits << 3;
    _Atomic uint64_t *marks = mspan_free_marks(s);
    for (unsigned w = 0; w < nwords; w++) {
        unsigned left = s->nelems - w * 64;
        bits[w] = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
        atomic_store_explicit(&marks[w], 0, memory_order_relaxed);
    }
    return true;
}

void mspan_release_bits(struct mspan *s) {
    if (s->nwords <= 1)
        return;
    uint64_t *bits = mspan_free_bits(s);
    bits[0] = (uintptr_t)free_bitmaps[s->log2_words];
    free_bitmaps[s->log2_words] = bits;
}

uint64_t mspan_live_word(const struct mspan *s, size_t w) {
    /* The mark first: a sweep sets the free bit before it clears the mark, so that a slot that was
     * marked when we looked is seen as free in one word or the other. */
    uint64_t marks = atomic_load_explicit(&mspan_free_marks(s)[w], memory_order_seq_cst);
    uint64_t bits = __atomic_load_n(&mspan_free_bits(s)[w], __ATOMIC_ACQUIRE);
    unsigned left = s->nelems - (unsigned)w * 64;
    uint64_t mask = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
    return ~(marks | bits) & mask;
}

size_t mspan_count_live(const struct mspan *s) {
    size_t n = 0;
    for (size_t w = 0; w < s->nwords; w++)
        n += (size_t)__builtin_popcountll(mspan_live_word(s, w));
    return n;
}

void (*heap_double_free_found)(uintptr_t p);

static gm_cold void report_double(const struct mspan *s, size_t w, uint64_t twice) {
    if (heap_double_free_found != NULL)
        heap_double_free_found(s->base +
                               (w * 64 + (size_t)__builtin_ctzll(twice)) * mspan_elem_bytes(s));
}

size_t mspan_sweep(struct mspan *s, uint32_t sweepgen) {
    size_t n = 0;
    uint64_t *bits = mspan_free_bits(s);
    for (size_t w = 0; w < s->nwords; w++) {
        uint64_t marks = atomic_load_explicit(&mspan_free_marks(s)[w], memory_order_seq_cst);
        if (marks == 0)
            continue;
        n += (size_t)__builtin_popcountll(marks);
        if (gm_unlikely((bits[w] & marks) != 0))
            report_double(s, w, bits[w] & marks);
        __atomic_store_n(&bits[w], bits[w] | marks, __ATOMIC_RELEASE);
        atomic_fetch_and_explicit(&mspan_free_marks(s)[w], ~marks, memory_order_seq_cst);
    }
    s->sweepgen = sweepgen;
    return n;
}

void mspan_finish_sweep(struct mspan *s) {
    for (size_t w = 0; w < s->nwords; w++)
        atomic_fetch_and(&mspan_free_marks(s)[w], ~mspan_free_bits(s)[w]);
}

bool mspan_has_marks(const struct mspan *s) {
    for (size_t w = 0; w < s->nwords; w++)
        if (atomic_load_explicit(&mspan_free_marks(s)[w], memory_order_relaxed) != 0)
            return true;
    return false;
}

bool mspan_has_free(const struct mspan *s) {
    const uint64_t *bits = mspan_free_bits(s);
    for (size_t w = 0; w < s->nwords; w++)
        if (bits[w] != 0)
            return true;
    return false;
}

bool mspan_is_empty(const struct mspan *s) {
    const uint64_t *bits = mspan_free_bits(s);
    size_t n = 0;
    for (size_t w = 0; w < s->nwords; w++)
        n += (size_t)__builtin_popcountll(bits[w]);
    return n == s->nelems;
}

static void push_pending(struct span_owner *o, struct mspan *s) {
    struct mspan *head = atomic_load_explicit(&o->pending, memory_order_relaxed);
    do
        atomic_store_explicit(&s->pending_next, head, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&o->pending, &head, s, memory_order_release,
                                                  memory_order_relaxed));
}

uint32_t mspan_waits = 1;

void mspan_forget_pending(void) {
    if (++mspan_waits == 0)
        mspan_waits = 1; /* 0 is a fresh header's, and one's that was taken from a list */
}

/* The owner, if it is one that drains its list, else NULL. */
static struct span_owner *draining_owner(const struct mspan *s) {
    struct span_owner *o = (struct span_owner *)(atomic_load(&s->owner) & ~SPAN_RECORDED);
    return o != NULL && o->id != GOMALLOC_OWNER_HEAP ? o : NULL;
}

void mspan_note_pending(struct mspan *s) {
    struct span_owner *o;
    do {
        if (mspan_is_pending(s) || atomic_exchange(&s->pending, mspan_waits) == mspan_waits)
            return;
        o = draining_owner(s);
        if (o != NULL) {
            push_pending(o, s);
            return;
        }
        atomic_store(&s->pending, 0);
    } while (draining_owner(s) != NULL);
}

struct mspan *mspan_take_pending(struct span_owner *o) {
    if (atomic_load_explicit(&o->pending, memory_order_relaxed) == NULL)
        return NULL;
    return atomic_exchange_explicit(&o->pending, NULL, memory_order_acquire);
}

struct mspan *mspan_pop_pending(struct mspan *s) {
    struct mspan *next = atomic_load_explicit(&s->pending_next, memory_order_relaxed);
    atomic_store(&s->pending, 0);
    return next;
}

void mspan_list_push(struct mspan_list *l, struct mspan *s) {
    s->prev = NULL;
    s->next = l->first;
    if (l->first != NULL)
        l->first->prev = s;
    l->first = s;
    l->n++;
}

void mspan_list_remove(struct mspan_list *l, struct mspan *s) {
    if (s->prev != NULL)
        s->prev->next = s->next;
    else if (l->first == s)
        l->first = s->next;
    else
        throw_values("span not in this list", s->base, (uintptr_t)l);
    if (s->next != NULL)
        s->next->prev = s->prev;
    s->next = s->prev = NULL;
    l->n--;
}
