/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The bitmap of one chunk.  Go: runtime/mpallocbits.go.  Departure: Go has two types with the same
 * bits (pageBits, pallocBits); here they are one.
 *
 * 512 pages are 8 words: page p is bit p % 64 of word p / 64, so that the lowest page is the lowest
 * bit.  In the allocation bitmap 1 means in use.  Three questions are asked of it, and none looks
 * at single pages:
 *
 *   the first run of n free pages     palloc_bits_find
 *   the longest run of free pages     palloc_bits_summarize
 *   how many pages of a range         palloc_bits_popcnt_range
 *
 * Runs inside a word are found by shrinking.  c &= c >> 1 takes the top bit off each run of ones:
 * after n - 1 such steps what remains of a run of n is one bit, at the run's first page.  Shifts
 * double, so that a run of 64 takes 6 steps.  Example, 3 free pages in c = 0110'1110 (1 = free):
 * c & c >> 1 = 0010'0110, & >> 1 again = 0000'0010: bit 1 is the first page of a run of 3.
 * Runs over word boundaries are the zeros at the end of one word and at the beginning of the next.
 *
 * It stops scaling where the walk over all words gets longer than the walk up the tree: 8 words are
 * one cache line.
 */
#include "heap/mpallocbits.h"

#include "heap/intrinsics.h"

/* The bits [i, i+n) of a word; i + n <= 64, n >= 1. */
static uint64_t word_mask(unsigned i, unsigned n) {
    return ~(uint64_t)0 >> (64 - n) << i;
}

/* The bits of word k that are in the range of pages [i, i+n), which touches the word. */
static uint64_t range_mask(unsigned k, unsigned i, unsigned n) {
    uint64_t mask = ~(uint64_t)0;
    if (k == i / 64)
        mask &= ~(uint64_t)0 << (i % 64);
    unsigned last = i + n - 1;
    if (k == last / 64)
        mask &= ~(uint64_t)0 >> (63 - last % 64);
    return mask;
}

void palloc_bits_set_range(struct palloc_bits *b, unsigned i, unsigned n) {
    if (i % 64 + n <= 64) {
        b->w[i / 64] |= word_mask(i % 64, n);
        return;
    }
    for (unsigned k = i / 64; k <= (i + n - 1) / 64; k++)
        b->w[k] |= range_mask(k, i, n);
}

void palloc_bits_clear_range(struct palloc_bits *b, unsigned i, unsigned n) {
    if (i % 64 + n <= 64) {
        b->w[i / 64] &= ~word_mask(i % 64, n);
        return;
    }
    for (unsigned k = i / 64; k <= (i + n - 1) / 64; k++)
        b->w[k] &= ~range_mask(k, i, n);
}

void palloc_bits_set_all(struct palloc_bits *b) {
    for (unsigned k = 0; k < PALLOC_WORDS; k++)
        b->w[k] = ~(uint64_t)0;
}

void palloc_bits_clear_all(struct palloc_bits *b) {
    for (unsigned k = 0; k < PALLOC_WORDS; k++)
        b->w[k] = 0;
}

unsigned palloc_bits_popcnt_range(const struct palloc_bits *b, unsigned i, unsigned n) {
    if (i % 64 + n <= 64) {
        uint64_t x = b->w[i / 64] & word_mask(i % 64, n);
        return x == 0 ? 0 : ones_count64(x); /* x86-64 has no popcnt to count on */
    }
    unsigned s = 0;
    for (unsigned k = i / 64; k <= (i + n - 1) / 64; k++)
        s += ones_count64(b->w[k] & range_mask(k, i, n));
    return s;
}

bool palloc_bits_is_clear(const struct palloc_bits *b, unsigned i, unsigned n) {
    for (unsigned k = i / 64; k <= (i + n - 1) / 64; k++) {
        if ((b->w[k] & range_mask(k, i, n)) != 0)
            return false;
    }
    return true;
}

/* All words of a bitmap, for the compiler to compute with at once (SSE2 does it two by two). */
typedef uint64_t palloc_vector __attribute__((vector_size(sizeof(struct palloc_bits))));

/* any_bit says whether a bit is set in any word. */
gm_inline bool any_bit(const palloc_vector *c) {
    uint64_t any = 0;
    for (unsigned i = 0; i < PALLOC_WORDS; i++)
        any |= (*c)[i];
    return any != 0;
}

/* longest_inner_run returns the longest run of free pages inside a word if it is longer than max,
 * or else max < 62.  Take max off the top of all runs; if anything remains, max was too small. */
static unsigned longest_inner_run(const struct palloc_bits *b, unsigned max) {
    palloc_vector c;
    __builtin_memcpy(&c, b->w, sizeof(c));
    c = ~c;
    unsigned n = max;
    for (unsigned k = 1; n > k; k *= 2) {
        c &= c >> k;
        n -= k;
    }
    c &= c >> n;
    while (any_bit(&c)) {
        max++;
        c &= c >> 1;
    }
    return max;
}

/* Departure: Go looks inside one word after the other, and first cuts off the runs at its ends.
 * But those are no longer than max, which knows them already, and so all words can be looked into
 * at once. */
struct palloc_sum palloc_bits_summarize(const struct palloc_bits *b) {
    const unsigned not_set_yet = UINT32_MAX;
    unsigned start = not_set_yet;
    unsigned max = 0;
    unsigned cur = 0; /* length of the run that reaches up to here */
    for (unsigned k = 0; k < PALLOC_WORDS; k++) {
        uint64_t x = b->w[k];
        if (x == 0) {
            cur += 64;
            continue;
        }
        cur += (unsigned)__builtin_ctzll(x);
        if (start == not_set_yet)
            start = cur;
        if (cur > max)
            max = cur;
        cur = (unsigned)__builtin_clzll(x);
    }
    if (start == not_set_yet)
        return FREE_CHUNK_SUM;
    if (cur > max)
        max = cur;
    /* A run inside a word has a 1 on both sides: at most 62 pages. */
    if (max >= 64 - 2)
        return pack_palloc_sum(start, max, cur);
    return pack_palloc_sum(start, longest_inner_run(b, max), cur);
}

unsigned find_bit_range64(uint64_t c, unsigned n) {
    unsigned p = n - 1; /* ones still to be taken off the top of each run */
    for (unsigned k = 1; p > 0; k *= 2) {
        if (p <= k) {
            c &= c >> (p & 63);
            break;
        }
        c &= c >> (k & 63);
        if (c == 0)
            return 64;
        p -= k;
    }
    return trailing_zeros64(c);
}

static unsigned find1(const struct palloc_bits *b, unsigned search_idx) {
    for (unsigned k = search_idx / 64; k < PALLOC_WORDS; k++) {
        if (b->w[k] != ~(uint64_t)0)
            return k * 64 + trailing_zeros64(~b->w[k]);
    }
    return PALLOC_NOT_FOUND;
}

/* A run of at most 64 pages crosses at most one word boundary. */
static unsigned find_small_n(const struct palloc_bits *b, unsigned npages, unsigned search_idx,
                             unsigned *ret_search_idx) {
    unsigned end = 0; /* free pages at the end of the word before */
    for (unsigned k = search_idx / 64; k < PALLOC_WORDS; k++) {
        uint64_t x = b->w[k];
        if (x == ~(uint64_t)0) {
            end = 0;
            continue;
        }
        if (*ret_search_idx == PALLOC_NOT_FOUND)
            *ret_search_idx = k * 64 + trailing_zeros64(~x);
        if (end + trailing_zeros64(x) >= npages)
            return k * 64 - end;
        unsigned j = find_bit_range64(~x, npages);
        if (j < 64)
            return k * 64 + j;
        end = leading_zeros64(x);
    }
    return PALLOC_NOT_FOUND;
}

/* A run of more than 64 pages reaches the end of the word it begins in. */
static unsigned find_large_n(const struct palloc_bits *b, uintptr_t npages, unsigned search_idx,
                             unsigned *ret_search_idx) {
    unsigned start = PALLOC_NOT_FOUND;
    unsigned size = 0;
    for (unsigned k = search_idx / 64; k < PALLOC_WORDS; k++) {
        uint64_t x = b->w[k];
        if (x == ~(uint64_t)0) {
            size = 0;
            continue;
        }
        if (*ret_search_idx == PALLOC_NOT_FOUND)
            *ret_search_idx = k * 64 + trailing_zeros64(~x);
        unsigned s = trailing_zeros64(x);
        if (size != 0 && size + s >= npages)
            return start;
        if (size != 0 && s == 64) {
            size += 64;
            continue;
        }
        size = leading_zeros64(x);
        start = k * 64 + 64 - size;
    }
    return size < npages ? PALLOC_NOT_FOUND : start;
}

unsigned palloc_bits_find(const struct palloc_bits *b, uintptr_t npages, unsigned search_idx,
                          unsigned *ret_search_idx) {
    *ret_search_idx = PALLOC_NOT_FOUND;
    if (npages == 1)
        return *ret_search_idx = find1(b, search_idx);
    if (npages <= 64)
        return find_small_n(b, (unsigned)npages, search_idx, ret_search_idx);
    return find_large_n(b, npages, search_idx, ret_search_idx);
}

void palloc_data_alloc_range(struct palloc_data *m, unsigned i, unsigned n) {
    palloc_bits_set_range(&m->alloc, i, n);
    palloc_bits_clear_range(&m->scavenged, i, n);
}

void palloc_data_alloc_all(struct palloc_data *m) {
    palloc_bits_set_all(&m->alloc);
    palloc_bits_clear_all(&m->scavenged);
}
