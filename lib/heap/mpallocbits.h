/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bitmaps of one chunk of 512 pages: bit p belongs to page p.  See mpallocbits.c.
 */
#ifndef GM_HEAP_MPALLOCBITS_H
#define GM_HEAP_MPALLOCBITS_H

#include "heap/mconst.h"
#include "heap/mpallocsum.h"

#define PALLOC_WORDS (PALLOC_CHUNK_PAGES / 64)

/* What a search answers when it found nothing. */
#define PALLOC_NOT_FOUND UINT32_MAX

/* One bit for each page of a chunk. */
struct palloc_bits {
    uint64_t w[PALLOC_WORDS];
};

/* What is known of each page of a chunk. */
struct palloc_data {
    struct palloc_bits alloc;     /* 1 = in use, also: in a thread's page cache */
    struct palloc_bits scavenged; /* 1 = not backed by memory and reads as zero; pages in use: 0 */
};

/* All of these: i a page of the chunk, n >= 1 pages, i + n <= 512.  Like all bitmaps of the page
 * allocator, guarded by the heap lock. */
gm_inline bool palloc_bits_get(const struct palloc_bits *b, unsigned i) {
    return (b->w[i / 64] >> (i % 64) & 1) != 0;
}

void palloc_bits_set_range(struct palloc_bits *b, unsigned i, unsigned n);
void palloc_bits_clear_range(struct palloc_bits *b, unsigned i, unsigned n);
void palloc_bits_set_all(struct palloc_bits *b);
void palloc_bits_clear_all(struct palloc_bits *b);

/* palloc_bits_popcnt_range counts the set bits of a range. */
unsigned palloc_bits_popcnt_range(const struct palloc_bits *b, unsigned i, unsigned n);

/* palloc_bits_is_clear says whether no bit of a range is set. */
bool palloc_bits_is_clear(const struct palloc_bits *b, unsigned i, unsigned n);

/* palloc_bits_summarize computes the leaf summary of an allocation bitmap. */
struct palloc_sum palloc_bits_summarize(const struct palloc_bits *b);

/* The same after pages [i, i+n) have all become free, or all come into use, from the summary
 * before. What happened is told by the run of free pages around them, and by the bitmap only if
 * that was the longest run. */
struct palloc_sum palloc_bits_sum_after_free(const struct palloc_bits *b, struct palloc_sum old,
                                             unsigned i, unsigned n);
struct palloc_sum palloc_bits_sum_after_alloc(const struct palloc_bits *b, struct palloc_sum old,
                                              unsigned i, unsigned n);

/* palloc_bits_find returns the first page of the first run of npages clear bits, or
 * PALLOC_NOT_FOUND.  search_idx: no page before it is free.  *ret_search_idx becomes the first free
 * page seen, if there is any: the next search_idx. */
unsigned palloc_bits_find(const struct palloc_bits *b, uintptr_t npages, unsigned search_idx,
                          unsigned *ret_search_idx);

/* find_bit_range64 returns the first bit of the first run of n >= 1 set bits in c, or 64. */
unsigned find_bit_range64(uint64_t c, unsigned n);

/* palloc_data_alloc_range marks pages in use; what is in use is not scavenged. */
void palloc_data_alloc_range(struct palloc_data *m, unsigned i, unsigned n);
void palloc_data_alloc_all(struct palloc_data *m);

#endif
