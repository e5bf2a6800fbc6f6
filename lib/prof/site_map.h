/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two words for each site that a thread has met.
 *
 * Sites are numbered in the order in which the program meets them, so those of one thread lie in
 * runs; and what is new in a program that is recorded in full is its own run.  So the records stand
 * in pages of 64, 1 KiB each, and a page is found by two steps of 512 pointers.  A thread that has
 * met few sites has 8 KiB of pointers, of which a few lines are touched, and a page or two.
 *
 *      site 70,000 = 2 * 32,768 + 69 * 64 + 48    dirs[2]->pages[69][48]
 *
 * The thread writes, anybody reads; nothing is ever moved or taken away.
 */
#ifndef GM_PROF_SITE_MAP_H
#define GM_PROF_SITE_MAP_H

#include <stdatomic.h>

#include "sys/compiler.h"

#define SITE_PAGE_SHIFT 6
#define SITE_DIR_SHIFT  9
#define SITE_DIRS       512 /* 2^24 sites */

struct site_words {
    _Atomic uint64_t word[2];
};

struct site_dir {
    _Atomic(struct site_words *) pages[1 << SITE_DIR_SHIFT];
};

/* All zero to begin with. */
struct site_map {
    _Atomic(struct site_dir *) dirs[SITE_DIRS];
};

/* site_map_find returns the site's words, or NULL: its page has not been made.  site < 2^24. */
gm_inline struct site_words *site_map_find(const struct site_map *m, uint32_t site) {
    struct site_dir *d = atomic_load_explicit(&m->dirs[site >> (SITE_PAGE_SHIFT + SITE_DIR_SHIFT)],
                                              memory_order_acquire);
    if (gm_unlikely(d == NULL))
        return NULL;
    uint32_t page = site >> SITE_PAGE_SHIFT & ((1u << SITE_DIR_SHIFT) - 1);
    struct site_words *p = atomic_load_explicit(&d->pages[page], memory_order_acquire);
    return gm_likely(p != NULL) ? &p[site & ((1u << SITE_PAGE_SHIFT) - 1)] : NULL;
}

/* site_map_make returns the site's words, made if need be; NULL: no memory, or a site beyond all.
 * For the thread whose map it is. */
struct site_words *site_map_make(struct site_map *m, uint32_t site);

#endif
