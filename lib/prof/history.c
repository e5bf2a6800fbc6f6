/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The history's table: which sites are followed, and which ticks are kept.  history.h has the
 * rules.
 */
#include "prof/history.h"

#include <string.h>

#define GROWTH_FACTOR 4 /* a byte that a site has grown by counts so many times */
#define REPLACE_RATIO 2 /* who takes another's place has so many times its score */
#define MAX_REPLACED  (HISTORY_SITES / 8) /* at one tick: most rows stay comparable */

static_assert((HISTORY_HASH & (HISTORY_HASH - 1)) == 0 && HISTORY_HASH >= 4 * HISTORY_SITES,
              "short chains");

void history_clear(struct history *h, uint64_t rate) {
    h->nticks = 0;
    h->nrows = 1;
    h->rate = rate;
    h->window = 0;
}

/* ---- from a site to its row --------------------------------------------------------------- */

static inline uint32_t hash_of(uint32_t site) {
    return (site * 0x9e3779b1u) >> 21 & (HISTORY_HASH - 1);
}

static void index_row(struct history *h, uint32_t row) {
    uint32_t i = hash_of(h->sites[row].site);
    while (h->rows[i] != 0)
        i = (i + 1) & (HISTORY_HASH - 1);
    h->rows[i] = (uint16_t)row;
}

static void index_all(struct history *h) {
    memset(h->rows, 0, sizeof h->rows);
    for (uint32_t row = 1; row < h->nrows; row++)
        index_row(h, row);
}

/* find_row returns the site's row, 0: it is not followed. */
static uint32_t find_row(const struct history *h, uint32_t site) {
    uint32_t i = hash_of(site);
    while (h->rows[i] != 0 && h->sites[h->rows[i]].site != site)
        i = (i + 1) & (HISTORY_HASH - 1);
    return h->rows[i];
}

/* ---- summing a tick up -------------------------------------------------------------------- */

static uint32_t window_end(const struct history *h) {
    uint32_t end = h->window + HISTORY_WINDOW;
    return end <= h->nsites ? end : h->nsites + 1;
}

void history_begin(struct history *h, uint32_t nsites) {
    h->nsites = nsites;
    h->window += HISTORY_WINDOW;
    if (h->window == HISTORY_WINDOW || h->window > nsites)
        h->window = 1;
    index_all(h);
    memset(h->sums, 0, h->nrows * sizeof h->sums[0]);
    memset(h->candidates, 0, (window_end(h) - h->window) * sizeof h->candidates[0]);
    h->last_sum = NULL;
}

/* look_up sets last_sum and last_candidate to where the site's figures go. */
static inline void look_up(struct history *h, uint32_t site) {
    if (gm_likely(site == h->last && h->last_sum != NULL))
        return;
    uint32_t row = find_row(h, site);
    h->last = site;
    h->last_sum = &h->sums[row];
    h->last_candidate = row == 0 && site >= h->window && site < window_end(h)
                            ? &h->candidates[site - h->window]
                            : NULL;
}

void history_add_live(struct history *h, uint32_t site, double bytes, double objects) {
    look_up(h, site);
    h->last_sum->live_bytes += bytes;
    h->last_sum->live_objects += objects;
    if (h->last_candidate != NULL) {
        h->last_candidate->live_bytes += bytes;
        h->last_candidate->live_objects += objects;
    }
}

void history_add_alloc(struct history *h, uint32_t site, double bytes) {
    look_up(h, site);
    h->last_sum->alloc_bytes += bytes;
    if (h->last_candidate != NULL)
        h->last_candidate->alloc_bytes += bytes;
}

/* ---- which sites are followed ------------------------------------------------------------- */

static void add_point(struct history_point *to, const struct history_point *p) {
    to->live_bytes += p->live_bytes;
    to->live_objects += p->live_objects;
    to->alloc_bytes += p->alloc_bytes;
}

/* take_point is its reverse; rounding leaves nothing below zero. */
static void take_point(struct history_point *from, const struct history_point *p) {
    from->live_bytes = from->live_bytes > p->live_bytes ? from->live_bytes - p->live_bytes : 0;
    from->live_objects =
        from->live_objects > p->live_objects ? from->live_objects - p->live_objects : 0;
    from->alloc_bytes = from->alloc_bytes > p->alloc_bytes ? from->alloc_bytes - p->alloc_bytes : 0;
}

bool history_has(const struct history *h, uint32_t row, uint32_t i) {
    return h->ticks[i].number >= h->sites[row].first;
}

static double score(const struct history *h, uint32_t row) {
    double now = h->sums[row].live_bytes;
    for (uint32_t i = 0; i < h->nticks; i++)
        if (history_has(h, row, i)) {
            double grown = now - h->points[i][row].live_bytes;
            return grown > 0 ? now + GROWTH_FACTOR * grown : now;
        }
    return now;
}

/* best_candidate returns the site of the window that holds most and is not followed, 0: none. */
static uint32_t best_candidate(const struct history *h) {
    uint32_t best = 0;
    for (uint32_t site = h->window; site < window_end(h); site++) {
        double bytes = h->candidates[site - h->window].live_bytes;
        if ((best == 0 || bytes > h->candidates[best - h->window].live_bytes) &&
            find_row(h, site) == 0)
            best = site;
    }
    return best;
}

static uint32_t worst_row(const struct history *h) {
    uint32_t worst = 1;
    double least = score(h, 1);
    for (uint32_t row = 2; row < h->nrows; row++) {
        double s = score(h, row);
        if (s < least) {
            least = s;
            worst = row;
        }
    }
    return worst;
}

/* follow gives the site that row, from the tick on that is being made. */
static void follow(struct history *h, uint32_t row, uint32_t site) {
    h->sites[row] = (struct history_site){.site = site, .first = h->number + 1};
    h->sums[row] = h->candidates[site - h->window];
    take_point(&h->sums[0], &h->sums[row]);
}

/* unfollow adds what is known of the row's site to the rest. */
static void unfollow(struct history *h, uint32_t row) {
    for (uint32_t i = 0; i < h->nticks; i++)
        if (history_has(h, row, i))
            add_point(&h->points[i][0], &h->points[i][row]);
    add_point(&h->sums[0], &h->sums[row]);
}

static void admit(struct history *h) {
    uint32_t site;
    while (h->nrows <= HISTORY_SITES && (site = best_candidate(h)) != 0) {
        follow(h, h->nrows, site);
        index_row(h, h->nrows++);
    }
    for (unsigned n = 0; n < MAX_REPLACED && (site = best_candidate(h)) != 0; n++) {
        uint32_t row = worst_row(h);
        if (h->candidates[site - h->window].live_bytes <= REPLACE_RATIO * score(h, row))
            return;
        unfollow(h, row);
        follow(h, row, site);
        index_all(h);
    }
}

/* ---- which ticks are kept ----------------------------------------------------------------- */

/* dispensable returns the tick that is dropped: see history.h. */
static uint32_t dispensable(const struct history *h, uint64_t now_ns) {
    uint32_t best = 1;
    double least = 0;
    for (uint32_t i = 1; i + 1 < h->nticks; i++) {
        double gap = (double)(h->ticks[i + 1].when_ns - h->ticks[i - 1].when_ns);
        double age = (double)(now_ns - h->ticks[i].when_ns);
        if (i == 1 || gap < least * age) {
            best = i;
            least = age > 0 ? gap / age : 0;
        }
    }
    return best;
}

static void drop_tick(struct history *h, uint32_t i) {
    size_t behind = h->nticks - i - 1;
    memmove(&h->ticks[i], &h->ticks[i + 1], behind * sizeof h->ticks[0]);
    memmove(&h->points[i], &h->points[i + 1], behind * sizeof h->points[0]);
    h->nticks--;
}

void history_commit(struct history *h, uint64_t when_ns, double rss_bytes) {
    if (h->nticks > 0 && when_ns < h->ticks[h->nticks - 1].when_ns)
        when_ns = h->ticks[h->nticks - 1].when_ns;
    if (h->nticks == HISTORY_TICKS)
        drop_tick(h, dispensable(h, when_ns));
    admit(h);
    struct history_tick *t = &h->ticks[h->nticks];
    *t = (struct history_tick){.when_ns = when_ns, .rss_bytes = rss_bytes, .number = ++h->number};
    memcpy(h->points[h->nticks], h->sums, h->nrows * sizeof h->sums[0]);
    for (uint32_t row = 0; row < h->nrows; row++)
        add_point(&t->all, &h->sums[row]);
    h->nticks++;
    h->last_sum = NULL;
}

/* ---- checking ----------------------------------------------------------------------------- */

static bool nearly(double a, double b) {
    double d = a > b ? a - b : b - a;
    return d <= 1e-9 * (a + b) + 1e-6;
}

static bool adds_up(const struct history *h, uint32_t i) {
    struct history_point sum = {0, 0, 0};
    for (uint32_t row = 0; row < h->nrows; row++)
        if (history_has(h, row, i))
            add_point(&sum, &h->points[i][row]);
    const struct history_point *all = &h->ticks[i].all;
    return nearly(sum.live_bytes, all->live_bytes) && nearly(sum.live_objects, all->live_objects) &&
           nearly(sum.alloc_bytes, all->alloc_bytes);
}

bool history_consistent(const struct history *h) {
    if (h->nticks > HISTORY_TICKS || h->nrows > 1 + HISTORY_SITES || h->sites[0].site != 0)
        return false;
    for (uint32_t i = 0; i < h->nticks; i++) {
        const struct history_tick *t = &h->ticks[i];
        if (!adds_up(h, i) || (i > 0 && (t->number <= t[-1].number || t->when_ns < t[-1].when_ns)))
            return false;
    }
    for (uint32_t row = 1; row < h->nrows; row++)
        for (uint32_t other = 0; other < row; other++)
            if (h->sites[row].site == h->sites[other].site)
                return false;
    return h->nticks == 0 || h->ticks[h->nticks - 1].number == h->number;
}
