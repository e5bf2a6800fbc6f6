/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counting live objects by site and size: one pass over the bitmaps into a hash table, which is
 * then sorted in place.
 *
 * The weight.  Samples are a Poisson process along the bytes asked for, one in `rate` bytes, so an
 * object of s bytes is recorded with probability 1 - exp(-s / rate), and each recorded one stands
 * for the inverse of that.  The rate is the one under which it was recorded.  Weighting object by
 * object is right for sites that ask for different sizes, where scaling the site's sum by its mean
 * size is not.
 */
#include "image/site_live.h"

#include <math.h>
#include <stdlib.h>

struct table {
    struct site_live_row *rows;
    size_t capacity; /* a power of two, 0 before the first row */
    size_t used;
};

static uint64_t hash(uint32_t site, uint64_t given, uint64_t requested) {
    uint64_t h = (site + UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ given ^ (h >> 31)) * UINT64_C(0x94d049bb133111eb);
    h = (h ^ requested ^ (h >> 29)) * UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ (h >> 32);
}

static struct site_live_row *place(const struct table *t, uint32_t site, uint64_t given,
                                   uint64_t requested) {
    size_t i = hash(site, given, requested) & (t->capacity - 1);
    for (;; i = (i + 1) & (t->capacity - 1)) {
        struct site_live_row *r = &t->rows[i];
        if (r->objects == 0 || (r->site == site && r->given == given && r->requested == requested))
            return r;
    }
}

static int grow(struct table *t) {
    struct table larger = {.capacity = t->capacity ? 2 * t->capacity : 1024, .used = t->used};
    larger.rows = calloc(larger.capacity, sizeof *larger.rows);
    if (!larger.rows)
        return -1;
    for (size_t i = 0; i < t->capacity; i++) {
        const struct site_live_row *r = &t->rows[i];
        if (r->objects)
            *place(&larger, r->site, r->given, r->requested) = *r;
    }
    free(t->rows);
    *t = larger;
    return 0;
}

double site_live_weight(uint64_t rate, uint32_t site, uint64_t requested) {
    if (rate <= 1 || site == 0)
        return 1;
    return -1 / expm1(-(double)(requested ? requested : 1) / (double)rate);
}

/* count adds an object; *last is the row of the object before, since neighbours are often alike. */
static int count(struct table *t, const struct image_object *o, struct site_live_row **last) {
    uint64_t given = o->span->elem_size;
    uint64_t requested = o->requested_known ? o->requested : SITE_LIVE_UNKNOWN;
    struct site_live_row *r = *last;
    if (!r || r->site != o->site || r->given != given || r->requested != requested) {
        if (2 * t->used >= t->capacity && grow(t))
            return -1;
        r = *last = place(t, o->site, given, requested);
    }
    if (r->objects == 0) {
        *r = (struct site_live_row){.given = given, .requested = requested, .site = o->site};
        t->used++;
    }
    r->objects++;
    r->weight +=
        site_live_weight(o->rate, o->site, requested); /* the sum, as long as they are counted */
    return 0;
}

static int compare_rows(const void *a, const void *b) {
    const struct site_live_row *x = a, *y = b;
    if (x->site != y->site)
        return x->site < y->site ? -1 : 1;
    if (x->given != y->given)
        return x->given < y->given ? -1 : 1;
    return (x->requested > y->requested) - (x->requested < y->requested);
}

struct site_live *site_live_new(const struct image *im) {
    struct site_live *live = calloc(1, sizeof *live);
    struct table t = {NULL, 0, 0};
    struct image_object_iter it;
    struct image_object o;
    struct site_live_row *last = NULL;
    image_object_begin_watched(im, "summing up sites", &it);
    while (live && image_object_next(&it, &o)) {
        if (count(&t, &o, &last)) {
            free(t.rows);
            free(live);
            return NULL;
        }
    }
    if (!live)
        return NULL;
    for (size_t i = 0; i < t.capacity; i++) {
        if (!t.rows[i].objects)
            continue;
        t.rows[i].weight /= (double)t.rows[i].objects;
        t.rows[live->nrows++] = t.rows[i];
    }
    if (live->nrows)
        qsort(t.rows, live->nrows, sizeof *t.rows, compare_rows);
    live->rows = t.rows;
    return live;
}

void site_live_free(struct site_live *live) {
    if (!live)
        return;
    free(live->rows);
    free(live);
}

size_t site_live_find(const struct site_live *live, uint32_t site) {
    size_t low = 0, high = live->nrows;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (live->rows[mid].site < site)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}
