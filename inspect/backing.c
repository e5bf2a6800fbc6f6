/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sums over section "backing".
 */
#include "backing.h"

#define PAGES_EACH (GOMALLOC_IMAGE_PAGE / BACKING_PAGE) /* of the kernel's, in one of the heap's   \
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
