/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Believing what an image says of escapes and of history: the sections from "escape" on.
 *
 * As in image_check.c: what could not have been written by the library is damage.  In an image of
 * running threads (or of some sections, or one that was cut) a record may be of a site that was
 * made after the sites were written: such records are left out, as if they had come later.
 */
#include <errno.h>
#include <stdlib.h>

#include "image/image_checker.h"

/* Sites.  The number of the site is the first field of the records of each of these sections. */

static uint32_t site_of(const struct image_records *r, size_t size, size_t i) {
    return *(const uint32_t *)((const char *)r->records + i * size);
}

static bool site_is_known(const struct checker *c, enum gomalloc_section_id id, uint32_t site) {
    bool rest = site == 0 && (id == GOMALLOC_SECTION_HANDOVER || id == GOMALLOC_SECTION_HISTORY);
    return rest || image_find(c->im, GOMALLOC_SECTION_SITE, site) != SIZE_MAX;
}

/* keep_order makes the order of the records that are left from that of all. */
static void keep_order(struct image_records *r, const uint32_t *moved_to, size_t n) {
    size_t left = 0;
    for (size_t i = 0; i < n && r->order; i++)
        if (moved_to[r->order[i]] != UINT32_MAX)
            r->order[left++] = moved_to[r->order[i]];
}

/* leave_out removes the records of sites that are not known. */
static int leave_out(struct checker *c, enum gomalloc_section_id id) {
    struct image_records *r = &c->im->sections[id];
    size_t size = image_record_sizes[id], n = r->count, left = 0;
    uint32_t *moved_to = calloc(n + 1, sizeof *moved_to);
    char *own = image_own(c->im, id);
    if (!moved_to || !own) {
        free(moved_to);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        moved_to[i] = UINT32_MAX;
        if (!site_is_known(c, id, site_of(r, size, i)))
            continue;
        __builtin_memmove(own + left * size, own + i * size, size);
        moved_to[i] = (uint32_t)left++;
    }
    keep_order(r, moved_to, n);
    r->count = left;
    free(moved_to);
    return 0;
}

static int check_sites(struct checker *c) {
    static const enum gomalloc_section_id ids[] = {
        GOMALLOC_SECTION_ESCAPE, GOMALLOC_SECTION_OUTLIVED, GOMALLOC_SECTION_HANDOVER,
        GOMALLOC_SECTION_HISTORY};
    const uint64_t may = GOMALLOC_IMAGE_LIVE | GOMALLOC_IMAGE_PARTIAL | GOMALLOC_IMAGE_CUT;
    int rc = 0;
    for (size_t k = 0; k < sizeof ids / sizeof ids[0] && !rc; k++) {
        const struct image_records *r = &c->im->sections[ids[k]];
        size_t i = 0;
        if (lacks(c, GOMALLOC_SECTION_SITE))
            return 0;
        while (i < r->count && site_is_known(c, ids[k], site_of(r, image_record_sizes[ids[k]], i)))
            i++;
        if (i == r->count)
            continue;
        if (!(c->im->header.flags & may))
            return damaged(c, "verdicts or history of site %u, which does not exist",
                           site_of(r, image_record_sizes[ids[k]], i));
        rc = leave_out(c, ids[k]);
    }
    return rc;
}

/* Pairs of numbers that may stand there once, each with a count. */

struct pair {
    uint64_t key; /* the first number in the upper half */
    uint64_t count;
};

static int compare_pairs(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

/* sorted sorts pairs by key; false if one is there twice. */
static bool sorted(struct pair *pairs, size_t n) {
    qsort(pairs, n, sizeof *pairs, compare_pairs);
    for (size_t i = 1; i < n; i++)
        if (pairs[i - 1].key == pairs[i].key)
            return false;
    return true;
}

/* Verdicts. */

static bool verdict_is_sound(const struct gomalloc_escape *e) {
    return e->freed <= e->judged && e->other_thread <= e->freed && e->reentered <= e->freed &&
           e->unknown_switched <= e->freed && e->unknown_stopped <= e->freed &&
           e->unknown_deep <= e->freed && e->chains <= e->freed && e->growths >= e->chains &&
           e->judged <= INT64_MAX / 16 && e->life_ns_p50 <= e->life_ns_p99 &&
           e->life_bytes_p50 <= e->life_bytes_p99 && e->final_size_p50 <= e->final_size_p99;
}

/* told adds the objects of a site's records in "outlived", which are sorted by site. */
static uint64_t told(const struct pair *pairs, size_t n, uint32_t site) {
    size_t low = 0, high = n;
    uint64_t sum = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pairs[middle].key >> 32 < site)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < n && pairs[low].key >> 32 == site; low++)
        sum += pairs[low].count;
    return sum;
}

static int check_verdicts(struct checker *c, const struct pair *outlived, size_t noutlived) {
    size_t n;
    const struct gomalloc_escape *e = records(c, GOMALLOC_SECTION_ESCAPE, &n);
    for (size_t i = 0; i < n; i++) {
        if (!verdict_is_sound(&e[i]))
            return damaged(c, "verdicts of site %u: senseless", e[i].site);
        uint64_t rest = e[i].other_thread + e[i].reentered + e[i].unknown_switched +
                        e[i].unknown_stopped + e[i].unknown_deep;
        if (!lacks(c, GOMALLOC_SECTION_OUTLIVED) &&
            e[i].freed != rest + told(outlived, noutlived, e[i].site))
            return damaged(c, "verdicts of site %u do not add up", e[i].site);
    }
    return 0;
}

static int check_outlived(struct checker *c, struct pair *pairs) {
    size_t n;
    const struct gomalloc_outlived *o = records(c, GOMALLOC_SECTION_OUTLIVED, &n);
    for (size_t i = 0; i < n; i++) {
        if (o[i].proved > o[i].objects || o[i].objects > INT64_MAX / 16 ||
            (image_find(c->im, GOMALLOC_SECTION_ESCAPE, o[i].site) == SIZE_MAX &&
             !lacks(c, GOMALLOC_SECTION_ESCAPE)))
            return damaged(c, "objects of site %u that outlived %u frames: senseless", o[i].site,
                           o[i].frames);
        pairs[i] = (struct pair){(uint64_t)o[i].site << 32 | o[i].frames, o[i].objects};
    }
    if (!sorted(pairs, n))
        return damaged(c, "objects of a site that outlived so many frames: twice");
    return check_verdicts(c, pairs, n);
}

/* History. */

/* A site's records are found by the order in which they stand (vtab_section.c). */
static int check_history(struct checker *c) {
    size_t n;
    const struct gomalloc_history *h = records(c, GOMALLOC_SECTION_HISTORY, &n);
    for (size_t i = 0; i < n; i++) {
        if (image_find(c->im, GOMALLOC_SECTION_TICK, h[i].tick) == SIZE_MAX &&
            !lacks(c, GOMALLOC_SECTION_TICK))
            return damaged(c, "history of site %u: there is no tick %u", h[i].site, h[i].tick);
        if (i && (h[i].site < h[i - 1].site ||
                  (h[i].site == h[i - 1].site && h[i].tick <= h[i - 1].tick)))
            return damaged(c, "history of site %u at tick %u: not in order", h[i].site, h[i].tick);
    }
    return 0;
}

int image_check_escape(struct image *im, char *err, size_t errlen) {
    struct checker c = {im, err, errlen};
    int rc = check_sites(&c);
    size_t n = im->sections[GOMALLOC_SECTION_OUTLIVED].count;
    struct pair *pairs = calloc(n + 1, sizeof *pairs);
    if (!rc && !pairs)
        rc = -ENOMEM;
    if (!rc)
        rc = check_outlived(&c, pairs);
    if (!rc)
        rc = check_history(&c);
    free(pairs);
    return rc;
}
