/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Believing an image: every field of every record that anything else depends on.
 *
 * First what the column tables know (string offsets, figures that SQLite's signed integers can
 * hold, finite doubles), then section by section what the records say of each other.  Anything that
 * could not have been written by the library is damage, and the first one found ends the reading.
 *
 * Two kinds of contradiction are not damage but corrected here, because a correct library can
 * write them.  An image of some sections only (GOMALLOC_IMAGE_PARTIAL) may lack what an index
 * points into: the index becomes "none".  And in an image taken while threads ran
 * (GOMALLOC_IMAGE_LIVE) an object may name a site that was made after the sites were written: it
 * becomes "not recorded".  gomalloc_span.live is set to what the bitmap says, which is the truth.
 *
 * Work is bounded by the size of the file: spans may not share bitmap words or slots beyond the
 * number that there are, nor overlap.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image/column.h"
#include "image/image_checker.h"

#define MAX_ADDRESS     (UINT64_C(1) << 62) /* no user address or size is near */
#define NSIZE_CLASSES   68u
#define NSUMMARY_LEVELS 5u

int damaged(struct checker *c, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->err, c->errlen, fmt, ap);
    va_end(ap);
    return IMAGE_DAMAGED;
}

/* Strings, and what the column tables know. */

static int check_strings(struct checker *c) {
    size_t n;
    const char *s = records(c, GOMALLOC_SECTION_STRING, &n);
    if (n && (s[0] != '\0' || s[n - 1] != '\0'))
        return damaged(c, "strings do not begin and end with NUL");
    return 0;
}

static bool field_is_sound(const struct checker *c, const struct image_column *col,
                           const char *record) {
    double real;
    uint32_t length;
    switch (col->type) {
    case COLUMN_UINT:
        return column_uint(col, record) <= INT64_MAX;
    case COLUMN_STRING:
        return column_uint(col, record) < c->im->sections[GOMALLOC_SECTION_STRING].count ||
               column_uint(col, record) == 0 || lacks(c, GOMALLOC_SECTION_STRING);
    case COLUMN_REAL:
        memcpy(&real, record + col->offset, sizeof real);
        return isfinite(real) && real >= 0;
    case COLUMN_BUILD_ID:
        memcpy(&length, record + col->offset - sizeof length, sizeof length);
        return length <= col->width;
    default:
        return true;
    }
}

/* any_will_do says that whatever stands in a field of the column is sound: slots, which are the
 * most by far, have no others. */
static bool any_will_do(const struct image_column *col) {
    return col->type != COLUMN_STRING && col->type != COLUMN_REAL && col->type != COLUMN_BUILD_ID &&
           (col->type != COLUMN_UINT || col->width < sizeof(uint64_t));
}

static int check_fields(struct checker *c, const struct image_table *t) {
    size_t n;
    const char *records_begin = records(c, t->section, &n);
    for (size_t k = 0; k < t->ncolumns; k++) {
        if (any_will_do(&t->columns[k]))
            continue;
        const char *record = records_begin;
        for (size_t i = 0; i < n; i++, record += t->record_size)
            if (!field_is_sound(c, &t->columns[k], record))
                return damaged(c, "%s %zu: senseless %s", t->name, i, t->columns[k].name);
    }
    return 0;
}

/* Keys: ascending, or put into order; never twice the same. */

struct keyed {
    uint64_t key;
    uint32_t number;
};

static int compare_keyed(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static uint64_t key_of(const struct image_records *r, const struct image_table *t, size_t i) {
    return column_uint(&t->columns[t->key], (const char *)r->records + i * t->record_size);
}

static bool ascending(const struct image_records *r, const struct image_table *t) {
    for (size_t i = 1; i < r->count; i++)
        if (key_of(r, t, i - 1) >= key_of(r, t, i))
            return false;
    return true;
}

static int order_records(struct checker *c, const struct image_table *t) {
    struct image_records *r = &c->im->sections[t->section];
    if (ascending(r, t))
        return 0;
    struct keyed *keyed = calloc(r->count, sizeof *keyed);
    r->order = calloc(r->count, sizeof *r->order);
    if (!keyed || !r->order) {
        free(keyed);
        return -ENOMEM;
    }
    for (size_t i = 0; i < r->count; i++)
        keyed[i] = (struct keyed){key_of(r, t, i), (uint32_t)i};
    qsort(keyed, r->count, sizeof *keyed, compare_keyed);
    int rc = 0;
    for (size_t i = 0; i < r->count; i++) {
        r->order[i] = keyed[i].number;
        if (i && keyed[i].key == keyed[i - 1].key && !rc)
            rc = damaged(c, "%s: two records have the same %s", t->name, t->columns[t->key].name);
    }
    free(keyed);
    return rc;
}

/* Sections without references. */

static int check_process(struct checker *c) {
    size_t n;
    const struct gomalloc_process *p = records(c, GOMALLOC_SECTION_PROCESS, &n);
    if (n == 0 && lacks(c, GOMALLOC_SECTION_PROCESS))
        return 0;
    if (n != 1)
        return damaged(c, "%zu records of the process", n);
    if (p->page_size != GOMALLOC_IMAGE_PAGE)
        return damaged(c, "pages of %llu bytes", (unsigned long long)p->page_size);
    return 0;
}

/* check_ranges checks the order, too: mappings, arenas may not overlap. */
static int check_range(struct checker *c, const char *what, size_t rank, uint64_t start,
                       uint64_t size, uint64_t *end) {
    if (size == 0 || size > MAX_ADDRESS || start > MAX_ADDRESS || (rank && start < *end))
        return damaged(c, "%s at 0x%llx: senseless or overlaps another", what,
                       (unsigned long long)start);
    *end = start + size;
    return 0;
}

static int check_mappings(struct checker *c) {
    const struct image_records *r = &c->im->sections[GOMALLOC_SECTION_MAPPING];
    const struct gomalloc_mapping *maps = r->records;
    uint64_t end = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct gomalloc_mapping *m = &maps[image_ordered(r, i)];
        /* [vsyscall] lies above every user address. */
        if (m->start >= m->end || (i && m->start < end))
            return damaged(c, "mapping at 0x%llx: senseless or overlaps another",
                           (unsigned long long)m->start);
        end = m->end;
    }
    return 0;
}

static int check_arenas(struct checker *c) {
    const struct image_records *r = &c->im->sections[GOMALLOC_SECTION_ARENA];
    const struct gomalloc_arena *arenas = r->records;
    uint64_t end = 0;
    int rc = 0;
    for (size_t i = 0; i < r->count && !rc; i++) {
        const struct gomalloc_arena *a = &arenas[image_ordered(r, i)];
        rc = check_range(c, "arena", i, a->base, a->size, &end);
        if (!rc && (a->in_use_pages > MAX_ADDRESS / GOMALLOC_IMAGE_PAGE ||
                    a->free_pages > MAX_ADDRESS / GOMALLOC_IMAGE_PAGE))
            rc = damaged(c, "arena at 0x%llx: senseless pages", (unsigned long long)a->base);
    }
    return rc;
}

static int check_size_classes(struct checker *c) {
    size_t n;
    const struct gomalloc_size_class *k = records(c, GOMALLOC_SECTION_SIZE_CLASS, &n);
    for (size_t i = 0; i < n; i++)
        if (k[i].size_class >= NSIZE_CLASSES)
            return damaged(c, "size class %u", k[i].size_class);
    return 0;
}

static int check_summaries(struct checker *c) {
    size_t n;
    const struct gomalloc_summary *s = records(c, GOMALLOC_SECTION_SUMMARY, &n);
    for (size_t i = 0; i < n; i++)
        if (s[i].level >= NSUMMARY_LEVELS || s[i].max > s[i].npages || s[i].start > s[i].max ||
            s[i].end > s[i].max || s[i].npages > MAX_ADDRESS || s[i].base > MAX_ADDRESS)
            return damaged(c, "summary %zu: senseless", i);
    return 0;
}

static int check_chunks(struct checker *c) {
    const struct image_records *r = &c->im->sections[GOMALLOC_SECTION_CHUNK];
    const struct gomalloc_chunk *chunks = r->records;
    uint64_t end = 0;
    int rc = 0;
    for (size_t i = 0; i < r->count && !rc; i++)
        rc = check_range(c, "chunk", i, chunks[image_ordered(r, i)].base,
                         CHUNK_PAGES * GOMALLOC_IMAGE_PAGE, &end);
    return rc;
}

/* Spans. */

static uint64_t nwords(uint32_t nelems) {
    return ((uint64_t)nelems + 63) / 64;
}

static bool span_is_sound(const struct gomalloc_span *s) {
    uint64_t objects;
    if (s->npages > MAX_ADDRESS / GOMALLOC_IMAGE_PAGE || s->elem_size > MAX_ADDRESS)
        return false;
    if (s->nelems &&
        (s->elem_size == 0 || __builtin_mul_overflow(s->elem_size, (uint64_t)s->nelems, &objects) ||
         objects > s->npages * GOMALLOC_IMAGE_PAGE))
        return false;
    if (s->state == GOMALLOC_SPAN_IN_USE && s->nelems == 0)
        return false;
    return s->state <= GOMALLOC_SPAN_MANUAL && s->place <= GOMALLOC_PLACE_CACHED_LARGE &&
           s->span_class < 2 * NSIZE_CLASSES && s->needzero <= 1 && s->freeindex <= s->nelems &&
           s->marked <= s->nelems && s->live <= s->nelems && s->large_requested <= s->elem_size;
}

static bool inside(uint64_t index, uint64_t n, uint64_t count) {
    return index <= count && n <= count - index;
}

static int check_span(struct checker *c, const struct gomalloc_span *s) {
    const struct image_records *bits = &c->im->sections[GOMALLOC_SECTION_BITMAP];
    const struct image_records *slots = &c->im->sections[GOMALLOC_SECTION_SLOT];
    unsigned long long base = s->base;
    if (!span_is_sound(s))
        return damaged(c, "span at 0x%llx: senseless", base);
    if (!lacks(c, GOMALLOC_SECTION_BITMAP) &&
        !inside(s->bitmap_index, nwords(s->nelems), bits->count))
        return damaged(c, "span at 0x%llx: its bitmap lies outside", base);
    if (!lacks(c, GOMALLOC_SECTION_SLOT) && s->slot_index != GOMALLOC_NO_SLOTS &&
        !inside(s->slot_index, s->nelems, slots->count))
        return damaged(c, "span at 0x%llx: its slots lie outside", base);
    return 0;
}

static int check_spans(struct checker *c) {
    const struct image_records *r = &c->im->sections[GOMALLOC_SECTION_SPAN];
    const struct gomalloc_span *spans = r->records;
    uint64_t end = 0, words = 0, slots = 0;
    int rc = 0;
    for (size_t i = 0; i < r->count && !rc; i++) {
        const struct gomalloc_span *s = &spans[image_ordered(r, i)];
        rc = check_span(c, s);
        if (!rc)
            rc = check_range(c, "span", i, s->base, s->npages * GOMALLOC_IMAGE_PAGE, &end);
        words += nwords(s->nelems);
        slots += s->slot_index == GOMALLOC_NO_SLOTS ? 0 : s->nelems;
    }
    if (!rc && ((words > c->im->sections[GOMALLOC_SECTION_BITMAP].count &&
                 !lacks(c, GOMALLOC_SECTION_BITMAP)) ||
                (slots > c->im->sections[GOMALLOC_SECTION_SLOT].count &&
                 !lacks(c, GOMALLOC_SECTION_SLOT))))
        rc = damaged(c, "spans share bitmaps or slots");
    return rc;
}

static uint32_t bitmap_count(const uint64_t *words, uint32_t nelems) {
    uint32_t live = 0;
    for (uint32_t i = 0; i < nelems / 64; i++)
        live += (uint32_t)__builtin_popcountll(words[i]);
    if (nelems % 64)
        live += (uint32_t)__builtin_popcountll(words[nelems / 64] &
                                               ((UINT64_C(1) << (nelems % 64)) - 1));
    return live;
}

/* correct_span makes a span say what its bitmap says, and nothing about what is absent. */
static void correct_span(const struct checker *c, const struct gomalloc_span *s,
                         struct gomalloc_span *ret) {
    const struct image_records *bits = &c->im->sections[GOMALLOC_SECTION_BITMAP];
    *ret = *s;
    if (bits->present)
        ret->live = bitmap_count((const uint64_t *)bits->records + s->bitmap_index, s->nelems);
    if (lacks(c, GOMALLOC_SECTION_SLOT))
        ret->slot_index = GOMALLOC_NO_SLOTS;
}

static int correct_spans(struct checker *c) {
    const struct image_records *r = &c->im->sections[GOMALLOC_SECTION_SPAN];
    for (size_t i = 0; i < r->count; i++) {
        const struct gomalloc_span *s = (const struct gomalloc_span *)r->records + i;
        struct gomalloc_span right;
        correct_span(c, s, &right);
        if (right.live == s->live && right.slot_index == s->slot_index)
            continue;
        struct gomalloc_span *own = image_own(c->im, GOMALLOC_SECTION_SPAN);
        if (!own)
            return -ENOMEM;
        own[i] = right;
    }
    return 0;
}

/* Stacks and sites. */

static int check_frames(struct checker *c) {
    size_t n;
    const struct gomalloc_frame *f = records(c, GOMALLOC_SECTION_FRAME, &n);
    for (size_t i = 0; i < n; i++) {
        uint32_t outer = f[i].parent && f[i].parent <= i ? f[f[i].parent - 1].depth : 0;
        if (f[i].parent > i || f[i].depth != outer + 1)
            return damaged(c, "frame %zu: senseless parent or depth", i + 1);
    }
    return 0;
}

static int check_sites(struct checker *c) {
    size_t n, nframes;
    const struct gomalloc_site *s = records(c, GOMALLOC_SECTION_SITE, &n);
    records(c, GOMALLOC_SECTION_FRAME, &nframes);
    for (size_t i = 0; i < n; i++) {
        if (s[i].site == 0)
            return damaged(c, "site 0");
        if (s[i].frame <= nframes)
            continue;
        struct gomalloc_site *own = image_own(c->im, GOMALLOC_SECTION_SITE);
        if (!lacks(c, GOMALLOC_SECTION_FRAME))
            return damaged(c, "site %u: its stack lies outside", s[i].site);
        if (!own)
            return -ENOMEM;
        own[i].frame = 0;
        s = own;
    }
    return 0;
}

static int correct_slot(struct checker *c, uint64_t index) {
    const uint64_t may = GOMALLOC_IMAGE_LIVE | GOMALLOC_IMAGE_PARTIAL | GOMALLOC_IMAGE_CUT;
    struct gomalloc_slot *own;
    if (!(c->im->header.flags & may))
        return damaged(c, "slot %llu: no such site", (unsigned long long)index);
    if (!(own = image_own(c->im, GOMALLOC_SECTION_SLOT)))
        return -ENOMEM;
    own[index] = (struct gomalloc_slot){.site = 0};
    return 0;
}

/* Sites that exist, each at the place of its lowest bits: to search for the site of every slot
 * would take as long as all else together. */
#define KNOWN_SITES 4096u

static bool site_exists(const struct checker *c, uint32_t known[KNOWN_SITES], uint32_t site) {
    if (known[site % KNOWN_SITES] == site)
        return true;
    if (image_find(c->im, GOMALLOC_SECTION_SITE, site) == SIZE_MAX)
        return false;
    known[site % KNOWN_SITES] = site;
    return true;
}

/* check_slots looks at the slots of live objects; what stands in the others means nothing. */
static int check_slots(struct checker *c) {
    struct image_object_iter it;
    struct image_object o;
    uint32_t known[KNOWN_SITES] = {0}; /* no object asks for site 0 */
    image_object_begin(c->im, &it);
    while (image_object_next(&it, &o)) {
        if (o.site == 0)
            continue;
        const struct gomalloc_slot *slots = c->im->sections[GOMALLOC_SECTION_SLOT].records;
        uint64_t index = o.span->slot_index + o.slot;
        if (slots[index].slack > o.span->elem_size)
            return damaged(c, "slot %llu: more slack than bytes", (unsigned long long)index);
        if (site_exists(c, known, o.site))
            continue;
        int rc = correct_slot(c, index);
        if (rc)
            return rc;
    }
    return 0;
}

int image_check(struct image *im, char *err, size_t errlen) {
    static int (*const checks[])(struct checker *) = {
        check_process,   check_mappings, check_arenas, check_size_classes,
        check_summaries, check_chunks,   check_spans,  correct_spans,
        check_frames,    check_sites,    check_slots};
    struct checker c = {im, err, errlen};
    int rc = check_strings(&c);
    for (size_t i = 0; i < nimage_tables && !rc; i++) {
        const struct image_table *t = &image_tables[i];
        if (t->section == GOMALLOC_NSECTIONS)
            continue;
        rc = check_fields(&c, t);
        if (!rc && t->key >= 0)
            rc = order_records(&c, t);
    }
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && !rc; i++)
        rc = checks[i](&c);
    if (!rc)
        rc = image_check_heap(im, err, errlen);
    if (!rc)
        rc = image_check_escape(im, err, errlen);
    return rc ? rc : image_check_leak(im, err, errlen);
}
