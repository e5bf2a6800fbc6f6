/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums over section "backing".
 */
#include "image/backing.h"

#define PAGES_EACH                                                                                 \
    (GOMALLOC_IMAGE_PAGE / BACKING_PAGE) /* of the kernel's, in one of the heap's                  \
                                          */

/* count_bits counts the bits [from, to) of words. */
static unsigned count_bits(const uint64_t words[16], unsigned from, unsigned to) {
    unsigned n = 0;
    while (from < to) {
        unsigned width = 64 - from % 64 < to - from ? 64 - from % 64 : to - from;
        uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
        n += (unsigned)__builtin_popcountll(words[from / 64] >> (from % 64) & mask);
        from += width;
    }
    return n;
}

bool backing_sum(const struct image *im, uint64_t from, uint64_t to, struct backing_sum *ret) {
    size_t count;
    const struct gomalloc_backing *all = image_section(im, GOMALLOC_SECTION_BACKING, &count);
    *ret = (struct backing_sum){0, 0};
    while (from < to) {
        uint64_t base = from & ~(BACKING_CHUNK - 1);
        uint64_t end = base + BACKING_CHUNK < to ? base + BACKING_CHUNK : to;
        size_t i = count ? image_find(im, GOMALLOC_SECTION_BACKING, base) : SIZE_MAX;
        if (i == SIZE_MAX)
            return false;
        unsigned first = (unsigned)((from - base) / BACKING_PAGE);
        unsigned last = (unsigned)((end - base) / BACKING_PAGE);
        ret->resident += count_bits(all[i].resident, first, last) * (uint64_t)BACKING_PAGE;
        ret->swapped += count_bits(all[i].swapped, first, last) * (uint64_t)BACKING_PAGE;
        from = end;
    }
    return true;
}

/* overlap returns how many bytes of [a, a_end) are in [b, b_end). */
static uint64_t overlap(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end) {
    uint64_t from = a > b ? a : b, to = a_end < b_end ? a_end : b_end;
    return from < to ? to - from : 0;
}

/* split_page adds what of the resident page at `at` is in slots. */
static void split_page(const struct gomalloc_span *s, const uint64_t *bits, uint64_t at,
                       uint64_t ret[2]) {
    uint64_t slot = (at - s->base) / s->elem_size, start = s->base + slot * s->elem_size;
    for (; slot < s->nelems && start < at + BACKING_PAGE; slot++, start += s->elem_size) {
        bool live = bits[slot / 64] >> (slot % 64) & 1;
        ret[live] += overlap(start, start + s->elem_size, at, at + BACKING_PAGE);
    }
}

bool backing_split(const struct image *im, const struct gomalloc_span *s, uint64_t *ret_live,
                   uint64_t *ret_free) {
    uint64_t end = s->base + s->npages * GOMALLOC_IMAGE_PAGE, split[2] = {0, 0};
    const struct gomalloc_backing *b = NULL;
    struct backing_sum sum;
    size_t n;
    const uint64_t *bits = image_section(im, GOMALLOC_SECTION_BITMAP, &n);
    const struct gomalloc_backing *all = image_section(im, GOMALLOC_SECTION_BACKING, &n);
    if (!bits || s->nelems == 0 || !backing_sum(im, s->base, end, &sum))
        return false;
    *ret_live = s->live * s->elem_size;
    *ret_free = (s->nelems - s->live) * s->elem_size;
    if (sum.resident == end - s->base)
        return true;
    for (uint64_t at = s->base; sum.resident != 0 && at < end; at += BACKING_PAGE) {
        if (!b || at - b->base >= BACKING_CHUNK)
            b = &all[image_find(im, GOMALLOC_SECTION_BACKING, at & ~(BACKING_CHUNK - 1))];
        uint64_t page = (at - b->base) / BACKING_PAGE;
        if (b->resident[page / 64] >> (page % 64) & 1)
            split_page(s, bits + s->bitmap_index, at, split);
    }
    *ret_live = split[1];
    *ret_free = split[0];
    return true;
}

uint64_t backing_free(const struct gomalloc_chunk *chunk, const struct gomalloc_backing *backing) {
    uint64_t pages = 0;
    for (unsigned page = 0; page < 512; page++) {
        uint64_t bit = UINT64_C(1) << (page % 64);
        bool in_use = chunk->alloc[page / 64] & ~chunk->cached[page / 64] & bit;
        if (!in_use && (chunk->grown[page / 64] & bit))
            pages += count_bits(backing->resident, page * PAGES_EACH, (page + 1) * PAGES_EACH);
    }
    return pages * BACKING_PAGE;
}
