/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tiny allocator: several pointer-free objects of less than 16 bytes in one block of 16.
 * Go: runtime/malloc.go mallocgc, "Tiny allocator".
 *
 * Go never frees such an object by itself; C does.  So each block of a span that the tiny allocator
 * has used has a word of its own (mspan.tiny): bit b (0..15) is 1 while an object that begins at
 * byte b lives, and bit 16 while its thread still adds objects.  When the word becomes zero the
 * block's slot is freed like any other.  The bitmap of the span counts blocks, not their objects.
 *
 * malloc's promise of 8-byte alignment leaves nothing to combine but pairs, which class 8 serves as
 * well; so malloc uses this only when asked (tiny=on), where alignment is that of the size: 8, 4, 2
 * or 1, as in Go.
 */
#ifndef GM_HEAP_MTINY_H
#define GM_HEAP_MTINY_H

#include "heap/mheap.h"

#define TINY_SIZE       16u /* Go: maxTinySize */
#define TINY_SPAN_CLASS 5   /* of the blocks: 16 bytes, noscan.  Go: tinySpanClass */

/* tiny_span tells whether the tiny allocator has blocks in the span. */
gm_inline bool tiny_span(const struct mspan *s) {
    /* the owner's word is in the line that every free and realloc looks at */
    return (atomic_load_explicit(&s->owner, memory_order_acquire) & SPAN_RECORDED) != 0 &&
           s->spc.v == TINY_SPAN_CLASS &&
           atomic_load_explicit(&s->tiny, memory_order_acquire) != NULL;
}

/* tiny_alloc returns size < TINY_SIZE bytes for the thread of c, or NULL: no mcache yet, or out of
 * memory. */
void *tiny_alloc(struct mcache *c, size_t size);

/* tiny_release says that the object at p in a block of s is dead. */
enum tiny_result {
    TINY_NOT,    /* p is no tiny object: an ordinary slot, or nothing */
    TINY_LIVES,  /* others in the block live on */
    TINY_EMPTY,  /* the block's slot is to be freed */
    TINY_DOUBLE, /* the object was dead already */
};
enum tiny_result tiny_release(struct mspan *s, uintptr_t p);

/* tiny_usable returns the bytes of the live tiny object at p, 0 if there is none. */
size_t tiny_usable(const void *p);

/* tiny_flush ends the thread's current block. */
void tiny_flush(struct mcache *c);

/* tiny_recount looks at the words of a span for mheap_consistent, and counts the blocks that a
 * thread still fills.  NULL, or what is wrong.  tiny_filling: whether the one at p is. */
const char *tiny_recount(const struct mspan *s, uint64_t *filling);
bool tiny_filling(const struct mspan *s, uintptr_t p);

/* tiny_release_table takes the words from an empty span.  Heap's lock held. */
void tiny_release_table(struct mspan *s);

#endif
