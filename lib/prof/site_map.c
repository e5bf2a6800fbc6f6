/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two words for each site that a thread has met.
 */
#include "prof/site_map.h"

#include <assert.h>

#include "prof/stack_table.h"
#include "sys/persistent.h"

static_assert((uint64_t)SITE_DIRS << (SITE_DIR_SHIFT + SITE_PAGE_SHIFT) >= STACK_TABLE_MAX_NODES,
              "every site has a place");

struct site_words *site_map_make(struct site_map *m, uint32_t site) {
    uint32_t dir = site >> (SITE_PAGE_SHIFT + SITE_DIR_SHIFT);
    if (dir >= SITE_DIRS)
        return NULL;
    struct site_dir *d = atomic_load_explicit(&m->dirs[dir], memory_order_relaxed);
    if (d == NULL) {
        d = persistent_alloc(sizeof *d, 64, MEM_RECORDER);
        if (d == NULL)
            return NULL;
        atomic_store_explicit(&m->dirs[dir], d, memory_order_release);
    }
    uint32_t page = site >> SITE_PAGE_SHIFT & ((1u << SITE_DIR_SHIFT) - 1);
    if (atomic_load_explicit(&d->pages[page], memory_order_relaxed) == NULL) {
        struct site_words *p = persistent_alloc(sizeof *p << SITE_PAGE_SHIFT, 64, MEM_RECORDER);
        if (p == NULL)
            return NULL;
        atomic_store_explicit(&d->pages[page], p, memory_order_release);
    }
    return site_map_find(m, site);
}
