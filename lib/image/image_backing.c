/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Section "backing": what the kernel has behind the pages of the heap.
 *
 * A record for each record of section "chunk", in the same order, with two bits for each page of
 * the kernel's.  They are set by who counts what is resident (image_resident.c), as he passes.
 *
 * Which pages are huge the kernel tells for each mapping as a sum.  Only 2 MiB that are resident
 * throughout can be one: where the sum is that of all of these, or 0, it is known of each; else
 * each gets its part of the sum.
 */
#include "image/image_private.h"
#include "heap/mheap.h"

#define HUGE_BYTES  ((uint64_t)2 << 20)
#define HUGE_WORDS  (HUGE_BYTES / PHYS_PAGE_SIZE / 64) /* of a bitmap */
#define CHUNK_HUGES (PALLOC_CHUNK_BYTES / HUGE_BYTES)

static struct gomalloc_backing *records(struct image_writer *w, size_t *ret_n) {
    *ret_n = image_count(w, GOMALLOC_SECTION_BACKING, sizeof(struct gomalloc_backing));
    return (struct gomalloc_backing *)w->table[GOMALLOC_SECTION_BACKING].p;
}

void image_backing_start(struct image_writer *w) {
    const struct gomalloc_chunk *c =
        (const struct gomalloc_chunk *)w->table[GOMALLOC_SECTION_CHUNK].p;
    size_t n = image_count(w, GOMALLOC_SECTION_CHUNK, sizeof *c);
    image_table_cut(&w->table[GOMALLOC_SECTION_BACKING], 0);
    for (size_t i = 0; i < n; i++) {
        struct gomalloc_backing *r =
            image_add(w, GOMALLOC_SECTION_BACKING, sizeof(struct gomalloc_backing));
        if (r == NULL) {
            image_table_cut(&w->table[GOMALLOC_SECTION_BACKING], 0);
            return;
        }
        r->base = c[i].base;
    }
}

void image_backing_none(struct image_writer *w) {
    image_table_cut(&w->table[GOMALLOC_SECTION_BACKING], 0);
}

static void set_bit(uint64_t *words, unsigned i, bool to) {
    uint64_t bit = (uint64_t)1 << (i % 64);
    words[i / 64] = to ? words[i / 64] | bit : words[i / 64] & ~bit;
}

void image_backing_page(struct image_writer *w, const struct gomalloc_chunk *c, uint64_t addr,
                        bool resident, bool swapped) {
    size_t n;
    struct gomalloc_backing *all = records(w, &n);
    size_t i = (size_t)(c - (const struct gomalloc_chunk *)w->table[GOMALLOC_SECTION_CHUNK].p);
    unsigned page = (unsigned)(addr % PALLOC_CHUNK_BYTES / PHYS_PAGE_SIZE);
    if (i >= n)
        return;
    set_bit(all[i].resident, page, resident);
    set_bit(all[i].swapped, page, swapped);
}

/* may_be_huge tells whether half k of a chunk lies in [start, end) and is wholly resident. */
static bool may_be_huge(const struct gomalloc_backing *r, unsigned k, uint64_t start,
                        uint64_t end) {
    uint64_t at = r->base + k * HUGE_BYTES, all = UINT64_MAX;
    if (at < start || at + HUGE_BYTES > end)
        return false;
    for (unsigned i = 0; i < HUGE_WORDS; i++)
        all &= r->resident[k * HUGE_WORDS + i];
    return all == UINT64_MAX;
}

void image_backing_huge(struct image_writer *w, uint64_t start, uint64_t end, uint64_t huge) {
    size_t n, lo = 0;
    uint64_t most = 0, given = 0;
    struct gomalloc_backing *all = records(w, &n);
    while (lo < n && all[lo].base + PALLOC_CHUNK_BYTES <= start)
        lo++;
    for (size_t i = lo; huge != 0 && i < n && all[i].base < end; i++)
        for (unsigned k = 0; k < CHUNK_HUGES; k++)
            most += may_be_huge(&all[i], k, start, end) ? HUGE_BYTES : 0;
    uint64_t sum = huge < most ? huge : most;
    for (size_t i = lo; sum != 0 && i < n && all[i].base < end; i++)
        for (unsigned k = 0; k < CHUNK_HUGES; k++)
            if (may_be_huge(&all[i], k, start, end)) {
                uint64_t before = (uint64_t)((unsigned __int128)sum * given / most);
                given += HUGE_BYTES;
                all[i].huge_bytes += (uint64_t)((unsigned __int128)sum * given / most) - before;
                all[i].flags |= sum < most ? GOMALLOC_BACKING_HUGE_SHARE : 0;
            }
}
