/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Finding pins: one walk over the live objects in the order of their addresses.
 *
 * For each unit there is one block open at a time, since addresses only grow: an object that
 * reaches into the next block closes the one before.  The objects of the open block are counted by
 * site in a list with a hash table beside it, which is as large as the block with most sites needs.
 */
#include "image/pins.h"

#include <stdbool.h>
#include <stdlib.h>

static const uint64_t unit_size[PIN_NUNITS] = {
    [PIN_HUGE] = UINT64_C(2) << 20, [PIN_ARENA] = UINT64_C(64) << 20};

#define CHUNK_BYTES (512 * (uint64_t)GOMALLOC_IMAGE_PAGE)

struct tally {
    uint64_t objects;
    uint32_t site;
    uint32_t place; /* in block.places */
};

struct block {
    uint64_t base;
    uint64_t bytes; /* a span's; for other units asked for at the end */
    uint64_t used;
    uint64_t objects;      /* 0: no block is open */
    struct tally *tallies; /* one for each site, ordered by first appearance */
    uint32_t ntallies;
    uint32_t capacity; /* of tallies; a power of two, 0 before the first */
    uint32_t last;     /* tally of the object before: neighbours are often alike */
    uint32_t *places;  /* 2 * capacity: number of a tally + 1, by hash of its site; 0 = none */
};

struct walk {
    const struct image *im;
    struct block blocks[PIN_NUNITS];
    struct pins *pins;
    size_t capacity; /* of pins->rows */
    bool failed;     /* memory is short */
};

/* What keeps a block: an object, or a stack. */
struct keeper {
    const struct gomalloc_span *span;
    uint64_t address;
    uint32_t site;
};

/* ---- sites of a block --------------------------------------------------------------------- */

static uint32_t place_of(const struct block *b, uint32_t site) {
    uint32_t mask = 2 * b->capacity - 1;
    uint32_t i = (site * 0x9e3779b1u) >> 7 & mask;
    while (b->places[i] && b->tallies[b->places[i] - 1].site != site)
        i = (i + 1) & mask;
    return i;
}

static bool grow_block(struct block *b) {
    uint32_t capacity = b->capacity ? 2 * b->capacity : 64;
    struct tally *tallies = realloc(b->tallies, capacity * sizeof *tallies);
    uint32_t *places = calloc(2 * (size_t)capacity, sizeof *places);
    if (tallies)
        b->tallies = tallies;
    if (!tallies || !places) {
        free(places);
        return false;
    }
    free(b->places);
    b->places = places;
    b->capacity = capacity;
    for (uint32_t i = 0; i < b->ntallies; i++) {
        b->tallies[i].place = place_of(b, b->tallies[i].site);
        places[b->tallies[i].place] = i + 1;
    }
    return true;
}

static bool count(struct block *b, uint32_t site) {
    if (b->ntallies == 0 || b->tallies[b->last].site != site) {
        if (b->ntallies == b->capacity && !grow_block(b))
            return false;
        uint32_t place = place_of(b, site);
        if (b->places[place] == 0) {
            b->tallies[b->ntallies] = (struct tally){0, site, place};
            b->places[place] = ++b->ntallies;
        }
        b->last = b->places[place] - 1;
    }
    b->tallies[b->last].objects++;
    b->objects++;
    return true;
}

/* empty_block forgets the sites: by the places that they have, which are few in most spans. */
static void empty_block(struct block *b) {
    for (uint32_t i = 0; i < b->ntallies; i++)
        b->places[b->tallies[i].place] = 0;
    b->ntallies = 0;
    b->objects = b->used = 0;
}

/* ---- blocks that are done ----------------------------------------------------------------- */

/* backed_bytes returns how much of [base, base + size) is the heap's and not given back. */
static uint64_t backed_bytes(const struct image *im, uint64_t base, uint64_t size) {
    size_t n;
    const struct gomalloc_chunk *chunks = image_section(im, GOMALLOC_SECTION_CHUNK, &n);
    uint64_t pages = 0;
    for (uint64_t at = base; at < base + size; at += 64 * (uint64_t)GOMALLOC_IMAGE_PAGE) {
        size_t i = image_find(im, GOMALLOC_SECTION_CHUNK, at & ~(CHUNK_BYTES - 1));
        unsigned word = (unsigned)(at % CHUNK_BYTES / (64 * GOMALLOC_IMAGE_PAGE));
        if (i != SIZE_MAX)
            pages +=
                (unsigned)__builtin_popcountll(chunks[i].grown[word] & ~chunks[i].scavenged[word]);
    }
    return pages * GOMALLOC_IMAGE_PAGE;
}

static int compare_tallies(const void *a, const void *b) {
    const struct tally *x = a, *y = b;
    return (x->site > y->site) - (x->site < y->site);
}

static bool reserve(struct walk *w, size_t more) {
    struct pins *pins = w->pins;
    if (pins->nrows + more <= w->capacity)
        return true;
    size_t capacity = 2 * w->capacity + more + 64;
    struct pin *rows = realloc(pins->rows, capacity * sizeof *rows);
    if (!rows)
        return false;
    pins->rows = rows;
    w->capacity = capacity;
    return true;
}

/* share returns what the first n of all objects are answerable for. */
static uint64_t share(uint64_t bytes, uint64_t n, uint64_t all) {
    return (uint64_t)((unsigned __int128)bytes * n / all);
}

/* emit appends a row for each site of a block. */
static void emit(struct walk *w, enum pin_unit unit, const struct block *b, uint64_t bytes) {
    uint64_t before = 0;
    if (!reserve(w, b->ntallies)) {
        w->failed = true;
        return;
    }
    qsort(b->tallies, b->ntallies, sizeof *b->tallies, compare_tallies);
    for (uint32_t i = 0; i < b->ntallies; i++) {
        const struct tally *t = &b->tallies[i];
        uint64_t after = before + t->objects;
        w->pins->rows[w->pins->nrows++] = (struct pin){.unit = unit,
                                                       .base = b->base,
                                                       .site = t->site,
                                                       .objects = t->objects,
                                                       .bytes = share(bytes, after, b->objects) -
                                                                share(bytes, before, b->objects),
                                                       .block_bytes = bytes,
                                                       .block_used = b->used,
                                                       .block_objects = b->objects,
                                                       .block_sites = b->ntallies};
        before = after;
    }
}

static bool is_sparse(uint64_t used, uint64_t bytes) {
    return used * 100 <= bytes * PINS_MOST_USED;
}

static void close_block(struct walk *w, enum pin_unit unit) {
    struct block *b = &w->blocks[unit];
    if (b->objects == 0)
        return;
    uint64_t bytes = unit == PIN_SPAN ? b->bytes : backed_bytes(w->im, b->base, unit_size[unit]);
    if (is_sparse(b->used, bytes))
        emit(w, unit, b, bytes);
    empty_block(b);
}

/* ---- the walk ----------------------------------------------------------------------------- */

static void add(struct walk *w, enum pin_unit unit, uint64_t base, uint64_t used, uint32_t site) {
    struct block *b = &w->blocks[unit];
    if (b->objects && b->base != base)
        close_block(w, unit);
    b->base = base;
    b->used += used;
    if (!count(b, site))
        w->failed = true;
}

static void add_everywhere(struct walk *w, const struct keeper *k) {
    const struct gomalloc_span *s = k->span;
    uint64_t size = s->elem_size, end = k->address + size;
    uint64_t bytes = s->npages * GOMALLOC_IMAGE_PAGE;
    if (s->state == GOMALLOC_SPAN_IN_USE && s->span_class >= 2 &&
        is_sparse(s->live * size, bytes)) {
        add(w, PIN_SPAN, s->base, size, k->site);
        w->blocks[PIN_SPAN].bytes = bytes;
    }
    for (enum pin_unit u = PIN_HUGE; u < PIN_NUNITS; u++)
        for (uint64_t base = k->address & ~(unit_size[u] - 1); base < end; base += unit_size[u]) {
            uint64_t from = base > k->address ? base : k->address;
            uint64_t to = base + unit_size[u] < end ? base + unit_size[u] : end;
            add(w, u, base, to - from, k->site);
        }
}

static void add_stacks(struct walk *w, const struct gomalloc_span *s) {
    size_t n;
    const uint64_t *words = image_section(w->im, GOMALLOC_SECTION_BITMAP, &n);
    for (uint32_t slot = 0; words && slot < s->nelems; slot++)
        if (words[s->bitmap_index + slot / 64] >> (slot % 64) & 1)
            add_everywhere(w, &(struct keeper){s, s->base + slot * s->elem_size, 0});
}

static int compare_spans(const void *a, const void *b) {
    const struct gomalloc_span *const *x = a, *const *y = b;
    return ((*x)->base > (*y)->base) - ((*x)->base < (*y)->base);
}

/* stack_spans returns the spans of stacks, by address, to be freed. */
static const struct gomalloc_span **stack_spans(const struct image *im, size_t *ret_n) {
    size_t n, m = 0;
    const struct gomalloc_span *spans = image_section(im, GOMALLOC_SECTION_SPAN, &n);
    const struct gomalloc_span **ret;
    for (size_t i = 0; i < n; i++)
        m += spans[i].state == GOMALLOC_SPAN_MANUAL;
    *ret_n = m;
    ret = malloc((m + 1) * sizeof(*ret));
    for (size_t i = n; ret && i-- > 0;)
        if (spans[i].state == GOMALLOC_SPAN_MANUAL)
            ret[--m] = &spans[i];
    if (ret && *ret_n)
        qsort(ret, *ret_n, sizeof(*ret), compare_spans);
    return ret;
}

/* walk goes through objects and stacks, in the order of their addresses. */
static void walk(struct walk *w) {
    struct image_object_iter it;
    struct image_object o;
    size_t nstacks, at = 0;
    const struct gomalloc_span **stacks = stack_spans(w->im, &nstacks);
    w->failed = !stacks;
    image_object_begin_watched(w->im, "finding pins", &it);
    while (!w->failed && image_object_next(&it, &o)) {
        while (at < nstacks && stacks[at]->base < o.address)
            add_stacks(w, stacks[at++]);
        add_everywhere(w, &(struct keeper){o.span, o.address, o.site});
    }
    while (!w->failed && at < nstacks)
        add_stacks(w, stacks[at++]);
    for (enum pin_unit u = PIN_SPAN; u < PIN_NUNITS; u++)
        close_block(w, u);
    free(stacks);
}

static int compare_pins(const void *a, const void *b) {
    const struct pin *x = a, *y = b;
    if (x->unit != y->unit)
        return x->unit < y->unit ? -1 : 1;
    if (x->base != y->base)
        return x->base < y->base ? -1 : 1;
    return (x->site > y->site) - (x->site < y->site);
}

struct pins *pins_new(const struct image *im) {
    struct walk w = {.im = im, .pins = calloc(1, sizeof(struct pins))};
    if (!w.pins)
        return NULL;
    walk(&w);
    for (enum pin_unit u = PIN_SPAN; u < PIN_NUNITS; u++) {
        free(w.blocks[u].tallies);
        free(w.blocks[u].places);
    }
    if (w.failed) {
        pins_free(w.pins);
        return NULL;
    }
    if (w.pins->nrows)
        qsort(w.pins->rows, w.pins->nrows, sizeof *w.pins->rows, compare_pins);
    return w.pins;
}

void pins_free(struct pins *pins) {
    if (!pins)
        return;
    free(pins->rows);
    free(pins);
}

size_t pins_find(const struct pins *pins, int64_t unit) {
    size_t low = 0, high = pins->nrows;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if ((int64_t)pins->rows[mid].unit < unit)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}
