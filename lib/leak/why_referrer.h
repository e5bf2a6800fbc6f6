/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The words that point to an object directly.
 *
 * There may be millions, mostly all alike: nodes of a table that one site has made.  So they are
 * counted together where they are, and a place of each sort is told.
 */
#ifndef GM_LEAK_WHY_REFERRER_H
#define GM_LEAK_WHY_REFERRER_H

#include "leak/why_place.h"

#define WHY_REFERRERS 16

/* Words that point to the object: one, or all those in objects that were made at one site and are
 * of one size, or in one range of a root. */
struct why_referrer {
    struct why_place place; /* of the first */
    uintptr_t value;
    uint64_t words;
    uint32_t site; /* of objects */
    bool leaked;   /* nothing leads to the objects either */
};

struct why_referrers {
    uint64_t nwords;  /* in all */
    uint64_t nleaked; /* of these, in objects that have leaked */
    uint32_t n;       /* there may be more sorts than there is room for */
    struct why_referrer all[WHY_REFERRERS];
};

/* why_referrer_object counts a word in an object, why_referrer_root one in a root's range;
 * variable: as why_place. */
void why_referrer_object(struct why_referrers *r, const struct why_place *at, uintptr_t value,
                         bool leaked);
void why_referrer_root(struct why_referrers *r, const struct roots *roots,
                       const struct root_place *range, bool variable, uintptr_t word,
                       uintptr_t value);

#endif
