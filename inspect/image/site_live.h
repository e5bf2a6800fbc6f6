/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is live, by site and size: the sums from which all live figures of sites are made.
 */
#ifndef GOINSPECT_SITE_LIVE_H
#define GOINSPECT_SITE_LIVE_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

#define SITE_LIVE_UNKNOWN UINT64_MAX /* site_live_row.requested */

struct site_live_row {
    uint64_t given;     /* bytes of the slot */
    uint64_t requested; /* bytes asked for, or SITE_LIVE_UNKNOWN */
    uint64_t objects;   /* live ones; 0 = unused place in the hash table */
    double weight;      /* objects that each one stands for, in the mean */
    uint32_t site;      /* 0 = not recorded */
};

struct site_live {
    struct site_live_row *rows; /* ordered by site, given, requested */
    size_t nrows;
};

/* site_live_new counts the live objects of an image; NULL if memory is short. */
struct site_live *site_live_new(const struct image *im);
void site_live_free(struct site_live *live);

/* site_live_weight returns how many objects one of a site stands for that asked for so many bytes;
 * rate is the one under which it was recorded. */
double site_live_weight(uint64_t rate, uint32_t site, uint64_t requested);

/* site_live_find returns the number of the first row of a site or a later one. */
size_t site_live_find(const struct site_live *live, uint32_t site);

#endif
