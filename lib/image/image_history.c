/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sections "tick" and "history": what the recorder's history has kept.
 *
 * Both are copied under the history's lock, so they are of one state of it.  Ticks are kept by a
 * clock that only goes forward; here they get the time of day, by what that clock and the calendar
 * show now.  A site's records stand together, the sites in the order of their numbers.
 */
#include "image/image_private.h"
#include "image/rawfile.h"
#include "prof/history.h"

static bool add_tick(struct image_writer *w, const struct history_tick *t, uint64_t epoch_ns) {
    struct gomalloc_tick *r = image_add(w, GOMALLOC_SECTION_TICK, sizeof *r);
    if (r == NULL)
        return false;
    r->tick = t->number;
    r->when_ns = epoch_ns + t->when_ns;
    r->live_bytes = t->all.live_bytes;
    r->live_objects = t->all.live_objects;
    r->alloc_bytes = t->all.alloc_bytes;
    r->rss_bytes = t->rss_bytes;
    return true;
}

static bool add_row(struct image_writer *w, const struct history *h, uint32_t row) {
    for (uint32_t i = 0; i < h->nticks; i++) {
        if (!history_has(h, row, i))
            continue;
        struct gomalloc_history *r = image_add(w, GOMALLOC_SECTION_HISTORY, sizeof *r);
        if (r == NULL)
            return false;
        const struct history_point *p = &h->points[i][row];
        r->site = h->sites[row].site;
        r->tick = h->ticks[i].number;
        r->live_bytes = p->live_bytes;
        r->live_objects = p->live_objects;
        r->alloc_bytes = p->alloc_bytes;
    }
    return true;
}

/* next_row returns the row of the least site above that one; 0: there is none. */
static uint32_t next_row(const struct history *h, uint32_t site) {
    uint32_t best = 0;
    for (uint32_t row = 1; row < h->nrows; row++)
        if (h->sites[row].site > site && (best == 0 || h->sites[row].site < h->sites[best].site))
            best = row;
    return best;
}

void image_gather_history(struct image_writer *w) {
    uint64_t epoch_ns = raw_clock_ns(CLOCK_REALTIME) - raw_clock_ns(CLOCK_MONOTONIC);
    const struct history *h = history_lock();
    if (h == NULL)
        return;
    bool ok = true;
    for (uint32_t i = 0; i < h->nticks && ok; i++)
        ok = add_tick(w, &h->ticks[i], epoch_ns);
    uint32_t row = 0;
    do {
        ok = ok && image_wants(w, GOMALLOC_SECTION_HISTORY) && add_row(w, h, row);
        row = next_row(h, h->sites[row].site);
    } while (ok && row != 0);
    history_unlock();
}
