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

/* longest_inner_run returns the longest run of free pages inside a word, for words none of which is
 * free altogether.  runs[k]: the bits at which a run of 2^k begins.  The longest run is put
 * together from its length's binary digits, the highest first. */
static unsigned longest_inner_run(const struct palloc_bits *b) {
    palloc_vector runs[6];
    __builtin_memcpy(&runs[0], b->w, sizeof runs[0]);
    runs[0] = ~runs[0];
    unsigned k = 0;
    for (; k < 5; k++) {
        runs[k + 1] = runs[k] & runs[k] >> (1u << k);
        if (!any_bit(&runs[k + 1]))
            break;
    }
    if (k == 0)
        return any_bit(&runs[0]) ? 1 : 0;
    palloc_vector begin = runs[k];
    unsigned n = 1u << k;
    while (k-- > 0) {
        palloc_vector longer = begin & runs[k] >> n;
        if (any_bit(&longer)) {
            begin = longer;
            n += 1u << k;
        }
    }
    return n;
}

/* Departure: Go looks inside one word after the other; here it is all words at once. */
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
    if (max < 64 - 2) {
        unsigned inner = longest_inner_run(b);
        max = inner > max ? inner : max;
    }
    return pack_palloc_sum(start, max, cur);
}

/* How many pages right below page i, and right from page i on, are free. */
static unsigned free_below(const struct palloc_bits *b, unsigned i) {
    unsigned n = 0;
    while (i > 0) {
        unsigned room = (i - 1) % 64 + 1;
        uint64_t x = b->w[(i - 1) / 64] << (64 - room);
        if (x != 0)
            return n + (unsigned)__builtin_clzll(x);
        n += room;
        i -= room;
    }
    return n;
}

static unsigned free_from(const struct palloc_bits *b, unsigned i) {
    unsigned n = 0;
    while (i < PALLOC_CHUNK_PAGES) {
        uint64_t x = b->w[i / 64] >> i % 64;
        if (x != 0)
            return n + (unsigned)__builtin_ctzll(x);
        n += 64 - i % 64;
        i += 64 - i % 64;
    }
    return n;
}

struct palloc_sum palloc_bits_sum_after_free(const struct palloc_bits *b, struct palloc_sum old,
                                             unsigned i, unsigned n) {
    unsigned below = free_below(b, i), above = free_from(b, i + n);
    unsigned run = below + n + above;
    if (run == PALLOC_CHUNK_PAGES)
        return FREE_CHUNK_SUM;
    uint64_t max = palloc_sum_max(old);
    return pack_palloc_sum(i == below ? run : palloc_sum_start(old), run > max ? run : max,
                           i + n + above == PALLOC_CHUNK_PAGES ? run : palloc_sum_end(old));
}

struct palloc_sum palloc_bits_sum_after_alloc(const struct palloc_bits *b, struct palloc_sum old,
                                              unsigned i, unsigned n) {
    unsigned below = free_below(b, i), above = free_from(b, i + n);
    uint64_t max = palloc_sum_max(old);
    if (below + n + above == max) /* who knows how long the next one is? */
        return palloc_bits_summarize(b);
    return pack_palloc_sum(i == below ? below : palloc_sum_start(old), max,
                           i + n + above == PALLOC_CHUNK_PAGES ? above : palloc_sum_end(old));
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
