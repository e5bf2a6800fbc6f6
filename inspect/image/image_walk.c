/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Looking things up in an image that has been checked: sections, strings, records by key, live
 * objects.  Nothing here can fail, because nothing that image_check.c let through can mislead it.
 */
#include <string.h>

#include "image/column.h"
#include "image/image_private.h"

#define WATCH_EVERY 16384 /* objects; who watches is told of so many together */

const struct gomalloc_image *image_header(const struct image *im) {
    return &im->header;
}

const void *image_bytes(const struct image *im) {
    return im->bytes;
}

size_t image_size(const struct image *im) {
    return im->size;
}

bool image_has(const struct image *im, enum gomalloc_section_id id) {
    return im->sections[id].present;
}

const void *image_section(const struct image *im, enum gomalloc_section_id id, size_t *ret_count) {
    *ret_count = im->sections[id].count;
    return im->sections[id].records;
}

const struct gomalloc_process *image_process(const struct image *im) {
    static const struct gomalloc_process none;
    const struct image_records *r = &im->sections[GOMALLOC_SECTION_PROCESS];
    return r->count ? r->records : &none;
}

const char *image_string(const struct image *im, uint32_t off) {
    const struct image_records *r = &im->sections[GOMALLOC_SECTION_STRING];
    return off < r->count ? (const char *)r->records + off : "";
}

/* Keys. */

static uint64_t key_at(const struct image_records *r, const struct image_table *t, size_t rank) {
    const char *record = (const char *)r->records + image_ordered(r, rank) * t->record_size;
    return column_uint(&t->columns[t->key], record);
}

/* rank_after returns how many records have a key <= key. */
static size_t rank_after(const struct image_records *r, const struct image_table *t, uint64_t key) {
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (key_at(r, t, mid) <= key)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t image_find(const struct image *im, enum gomalloc_section_id id, uint64_t key) {
    const struct image_records *r = &im->sections[id];
    const struct image_table *t = image_table_of(id);
    size_t after = rank_after(r, t, key);
    if (after == 0 || key_at(r, t, after - 1) != key)
        return SIZE_MAX;
    return image_ordered(r, after - 1);
}

/* at_or_below returns the record with the largest key <= address, or NULL. */
static const void *at_or_below(const struct image *im, enum gomalloc_section_id id,
                               uint64_t address) {
    const struct image_records *r = &im->sections[id];
    const struct image_table *t = image_table_of(id);
    size_t after = rank_after(r, t, address);
    if (after == 0)
        return NULL;
    return (const char *)r->records + image_ordered(r, after - 1) * t->record_size;
}

const struct gomalloc_mapping *image_mapping_at(const struct image *im, uint64_t address) {
    const struct gomalloc_mapping *m = at_or_below(im, GOMALLOC_SECTION_MAPPING, address);
    return m && address < m->end ? m : NULL;
}

const struct gomalloc_span *image_span_at(const struct image *im, uint64_t address) {
    const struct gomalloc_span *s = at_or_below(im, GOMALLOC_SECTION_SPAN, address);
    return s && address - s->base < s->npages * GOMALLOC_IMAGE_PAGE ? s : NULL;
}

/* Live objects. */

static const uint64_t *bitmap_of(const struct image *im, const struct gomalloc_span *s) {
    const struct image_records *r = &im->sections[GOMALLOC_SECTION_BITMAP];
    return r->present ? (const uint64_t *)r->records + s->bitmap_index : NULL;
}

/* next_live returns the first live slot >= slot of a span, s->nelems if there is none. */
static uint32_t next_live(const struct image *im, const struct gomalloc_span *s, uint32_t slot) {
    const uint64_t *words = bitmap_of(im, s);
    if (!words || s->state != GOMALLOC_SPAN_IN_USE)
        return s->nelems;
    while (slot < s->nelems) {
        uint64_t word = words[slot / 64] >> (slot % 64);
        if (word) {
            uint64_t found = (uint64_t)slot + (unsigned)__builtin_ctzll(word);
            return found < s->nelems ? (uint32_t)found : s->nelems;
        }
        if (s->nelems - slot <= 64 - slot % 64)
            break;
        slot += 64 - slot % 64;
    }
    return s->nelems;
}

static void fill(const struct image *im, const struct gomalloc_span *s, uint32_t slot,
                 struct image_object *ret) {
    *ret = (struct image_object){.span = s,
                                 .slot = slot,
                                 .address = s->base + slot * s->elem_size,
                                 .rate = image_process(im)->rate};
    if (s->slot_index != GOMALLOC_NO_SLOTS) {
        const struct gomalloc_slot *slots = im->sections[GOMALLOC_SECTION_SLOT].records;
        const struct gomalloc_slot *record = &slots[s->slot_index + slot];
        ret->site = record->site;
        ret->requested_known = record->site != 0;
        if (record->rate != 0)
            ret->rate = record->rate;
        ret->requested = record->site ? s->elem_size - record->slack : 0;
    }
    if (s->span_class < 2 && s->large_requested) {
        ret->requested_known = true;
        ret->requested = s->large_requested;
    }
}

static const struct gomalloc_span *span_at_rank(const struct image *im, size_t rank) {
    const struct image_records *r = &im->sections[GOMALLOC_SECTION_SPAN];
    return (const struct gomalloc_span *)r->records + image_ordered(r, rank);
}

void image_object_begin(const struct image *im, struct image_object_iter *it) {
    *it = (struct image_object_iter){.im = im, .limit = im->sections[GOMALLOC_SECTION_SPAN].count};
}

static void (*watcher)(const char *what, size_t done, size_t total);

void image_watch(void (*show)(const char *what, size_t done, size_t total)) {
    watcher = show;
}

void image_passed(const char *what, size_t done, size_t total) {
    if (watcher)
        watcher(what, done, total);
}

void image_object_begin_watched(const struct image *im, const char *what,
                                struct image_object_iter *it) {
    const struct image_records *r = &im->sections[GOMALLOC_SECTION_SPAN];
    const struct gomalloc_span *spans = r->records;
    image_object_begin(im, it);
    it->what = what;
    for (size_t i = 0; watcher && i < r->count; i++)
        it->total += spans[i].state == GOMALLOC_SPAN_IN_USE ? spans[i].live : 0;
}

void image_object_begin_span(const struct image *im, struct image_object_iter *it, size_t span) {
    const struct image_records *r = &im->sections[GOMALLOC_SECTION_SPAN];
    const struct gomalloc_span *spans = r->records;
    size_t after = rank_after(r, image_table_of(GOMALLOC_SECTION_SPAN), spans[span].base);
    *it = (struct image_object_iter){.im = im, .rank = after - 1, .limit = after};
}

bool image_object_next(struct image_object_iter *it, struct image_object *ret) {
    for (; it->rank < it->limit; it->rank++, it->slot = 0) {
        const struct gomalloc_span *s = span_at_rank(it->im, it->rank);
        uint32_t slot = next_live(it->im, s, it->slot);
        if (slot < s->nelems) {
            fill(it->im, s, slot, ret);
            it->slot = slot + 1;
            if (it->total && ++it->passed % WATCH_EVERY == 0)
                image_passed(it->what, it->passed, it->total);
            return true;
        }
    }
    return false;
}

bool image_object_at(const struct image *im, uint64_t address, struct image_object *ret) {
    const struct gomalloc_span *s = image_span_at(im, address);
    if (!s || s->nelems == 0)
        return false;
    uint64_t slot = (address - s->base) / s->elem_size;
    if (slot >= s->nelems || next_live(im, s, (uint32_t)slot) != slot)
        return false;
    fill(im, s, (uint32_t)slot, ret);
    return true;
}
