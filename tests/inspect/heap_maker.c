/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Made heaps.
 */
#include "heap_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHUNK_BYTES (UINT64_C(4) << 20)

void heap_begin(struct maker *m, uint64_t rate, uint32_t nsites) {
    struct gomalloc_process p = {
        .pid = 7, .start_ticks = 1, .rate = rate, .page_size = HEAP_PAGE, .os_page_size = 4096};
    maker_init(m);
    maker_add(m, GOMALLOC_SECTION_PROCESS, &p);
    for (uint32_t site = 1; site <= nsites; site++) {
        struct gomalloc_site s = {.site = site, .samples = 1, .sample_bytes = 1};
        maker_add(m, GOMALLOC_SECTION_SITE, &s);
    }
    for (uint32_t i = 0; i < 68; i++) {
        struct gomalloc_size_class c = {i, 16 * i, i > 0, i ? HEAP_PAGE / (16 * i) : 0};
        maker_add(m, GOMALLOC_SECTION_SIZE_CLASS, &c);
    }
}

void heap_arena(struct maker *m, uint64_t base) {
    struct gomalloc_arena a = {
        .base = base, .size = 64 * HEAP_MIB, .reserved_bytes = 64 * HEAP_MIB};
    maker_add(m, GOMALLOC_SECTION_ARENA, &a);
}

size_t heap_span(struct maker *m, uint64_t base, uint32_t npages, uint32_t size_class,
                 uint32_t elem_size, bool recorded) {
    uint32_t bytes = npages * HEAP_PAGE;
    struct gomalloc_span s = {.base = base,
                              .npages = npages,
                              .elem_size = size_class ? elem_size : bytes,
                              .nelems = size_class ? bytes / elem_size : 1,
                              .owner = size_class ? GOMALLOC_OWNER_CENTRAL : GOMALLOC_OWNER_HEAP,
                              .span_class = (uint16_t)(size_class << 1),
                              .state = GOMALLOC_SPAN_IN_USE,
                              .bitmap_index = m->sections[GOMALLOC_SECTION_BITMAP].size / 8,
                              .slot_index = recorded ? m->sections[GOMALLOC_SECTION_SLOT].size /
                                                           sizeof(struct gomalloc_slot)
                                                     : GOMALLOC_NO_SLOTS};
    const uint64_t none = 0;
    const struct gomalloc_slot no_slot = {0};
    for (uint32_t w = 0; w < (s.nelems + 63) / 64; w++)
        maker_add(m, GOMALLOC_SECTION_BITMAP, &none);
    for (uint32_t i = 0; recorded && i < s.nelems; i++)
        maker_add(m, GOMALLOC_SECTION_SLOT, &no_slot);
    return maker_add(m, GOMALLOC_SECTION_SPAN, &s);
}

void heap_object(struct maker *m, size_t span, uint32_t slot, uint32_t site, uint32_t slack) {
    struct gomalloc_span *s = maker_record(m, GOMALLOC_SECTION_SPAN, span);
    uint64_t *word = maker_record(m, GOMALLOC_SECTION_BITMAP, s->bitmap_index + slot / 64);
    *word |= UINT64_C(1) << (slot % 64);
    s->live++;
    if (s->slot_index != GOMALLOC_NO_SLOTS)
        *(struct gomalloc_slot *)maker_record(m, GOMALLOC_SECTION_SLOT, s->slot_index + slot) =
            (struct gomalloc_slot){.site = site, .slack = slack};
}

/* chunk_at returns the record of the chunk that holds an address, made if there is none. */
static struct gomalloc_chunk *chunk_at(struct maker *m, uint64_t address) {
    struct gomalloc_chunk c = {.index = address / CHUNK_BYTES,
                               .base = address & ~(CHUNK_BYTES - 1)};
    size_t n = m->sections[GOMALLOC_SECTION_CHUNK].size / sizeof c;
    for (size_t i = 0; i < n; i++) {
        struct gomalloc_chunk *old = maker_record(m, GOMALLOC_SECTION_CHUNK, i);
        if (old->base == c.base)
            return old;
    }
    memset(c.alloc, 0xff, sizeof c.alloc);
    return maker_record(m, GOMALLOC_SECTION_CHUNK, maker_add(m, GOMALLOC_SECTION_CHUNK, &c));
}

void heap_pages(struct maker *m, uint64_t address, uint64_t n, char what) {
    for (uint64_t at = address; at < address + n * HEAP_PAGE; at += HEAP_PAGE) {
        struct gomalloc_chunk *c = chunk_at(m, at);
        uint64_t page = (at - c->base) / HEAP_PAGE, bit = UINT64_C(1) << (page % 64);
        bool cached = what == 'c' || what == 'C', returned = what == '_' || what == 'C';
        c->grown[page / 64] |= bit;
        c->alloc[page / 64] &= what == '#' || cached ? UINT64_MAX : ~bit;
        c->cached[page / 64] |= cached ? bit : 0;
        c->scavenged[page / 64] |= returned ? bit : 0;
    }
}

static struct gomalloc_backing *backing_at(struct maker *m, uint64_t address) {
    struct gomalloc_backing b = {.base = address & ~(CHUNK_BYTES - 1)};
    size_t n = m->sections[GOMALLOC_SECTION_BACKING].size / sizeof b;
    for (size_t i = 0; i < n; i++) {
        struct gomalloc_backing *old = maker_record(m, GOMALLOC_SECTION_BACKING, i);
        if (old->base == b.base)
            return old;
    }
    return maker_record(m, GOMALLOC_SECTION_BACKING, maker_add(m, GOMALLOC_SECTION_BACKING, &b));
}

void heap_backing(struct maker *m, uint64_t address, uint64_t n, bool swapped) {
    for (uint64_t at = address; at < address + n * 4096; at += 4096) {
        struct gomalloc_backing *b = backing_at(m, at);
        uint64_t page = (at - b->base) / 4096;
        (swapped ? b->swapped : b->resident)[page / 64] |= UINT64_C(1) << (page % 64);
    }
}

struct image *heap_open(struct maker *m) {
    struct image *im = NULL;
    char err[256] = "";
    size_t size;
    unsigned char *bytes = maker_finish(m, &size);
    if (image_open_memory(bytes, size, &im, err, sizeof err))
        fail_msg("%s", err);
    free(bytes);
    maker_free(m);
    return im;
}
