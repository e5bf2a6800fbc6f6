/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What became of a site's objects.
 */
#include "prof/escape_site.h"

#include <assert.h>
#include <string.h>

#include "sys/persistent.h"

#define FEW 3

/* One freed object.  24 digits of a lifetime are enough. */
struct few {
    float life_ns;
    float life_bytes;
    uint32_t size;    /* at most UINT32_MAX */
    uint16_t growths; /* at most UINT16_MAX */
    uint16_t what;    /* WHAT_FRAMES + WHAT_PROVED; or WHAT_VERDICT + verdict */
};
#define WHAT_VERDICT 0x7ff0u
#define WHAT_PROVED  0x8000u

/* Of the chains of realloc. */
struct chains {
    uint64_t growths;
    struct distribution size;
};

/* Many. */
struct many {
    struct distribution life_ns;
    struct distribution life_bytes;
    struct escape_outlived outlived[ESCAPE_OUTLIVED_KEPT + 1]; /* the last: all others */
    uint32_t noutlived;
    uint32_t verdicts[ESCAPE_NVERDICTS]; /* but [ESCAPE_OUTLIVED] */
    uint32_t nchains;
    struct chains *chains; /* NULL: none, or no memory */
};

struct escape_figures {
    uint32_t n; /* freed; more than FEW: many */
    uint32_t reserved;
    union {
        struct few few[FEW];
        struct many *many;
    };
};

static_assert(sizeof(struct escape_site) == 24 && sizeof(struct escape_figures) == 56,
              "what a site costs, as the header says");

bool escape_sites_init(struct escape_sites *t, struct mutex *lock) {
    t->lock = lock;
    if (!mem_table_init(&t->table, ESCAPE_SITES_MAX * sizeof(struct escape_site), MEM_RECORDER) ||
        !mem_table_init(&t->thins, ESCAPE_SITES_MAX, MEM_RECORDER))
        return false;
    t->thin = (uint8_t *)t->thins.base;
    return true;
}

bool escape_sites_open(struct escape_sites *t, uint32_t site) {
    const uint32_t step = 4096;
    uint32_t n = (site / step + 1) * step;
    if (site >= ESCAPE_SITES_MAX)
        return false;
    mutex_lock(t->lock);
    bool ok = n <= atomic_load_explicit(&t->reach, memory_order_relaxed) ||
              (mem_table_reach(&t->table, n * sizeof(struct escape_site)) &&
               mem_table_reach(&t->thins, n));
    if (ok && n > atomic_load_explicit(&t->reach, memory_order_relaxed))
        atomic_store_explicit(&t->reach, n, memory_order_release);
    mutex_unlock(t->lock);
    return ok;
}

static uint32_t at_most(uint64_t v, uint32_t max) {
    return v < max ? (uint32_t)v : max;
}

static struct few few_of(const struct escape_end *e) {
    uint32_t what = e->verdict == ESCAPE_OUTLIVED
                        ? at_most(e->frames, WHAT_VERDICT - 1) | (e->proved ? WHAT_PROVED : 0)
                        : WHAT_VERDICT + e->verdict;
    return (struct few){.life_ns = (float)e->life_ns,
                        .life_bytes = (float)e->life_bytes,
                        .size = at_most(e->size, UINT32_MAX),
                        .growths = (uint16_t)at_most(e->growths, UINT16_MAX),
                        .what = (uint16_t)what};
}

static struct escape_end end_of(const struct few *f) {
    uint32_t what = f->what & ~WHAT_PROVED;
    bool outlived = what < WHAT_VERDICT;
    return (struct escape_end){.verdict = outlived ? ESCAPE_OUTLIVED : what - WHAT_VERDICT,
                               .frames = outlived ? what : 0,
                               .proved = (f->what & WHAT_PROVED) != 0,
                               .life_ns = (uint64_t)f->life_ns,
                               .life_bytes = (uint64_t)f->life_bytes,
                               .size = f->size,
                               .growths = f->growths};
}

/* add_outlived counts one in a table that keeps *n numbers of frames and, behind its end, the rest.
 */
static void add_outlived(struct escape_outlived *table, uint32_t *n, uint32_t frames, bool proved) {
    uint32_t i = 0;
    while (i < *n && table[i].frames != frames)
        i++;
    if (i == *n && *n < ESCAPE_OUTLIVED_KEPT)
        table[(*n)++].frames = frames;
    table[i].objects++;
    table[i].proved += proved;
}

static void add_chain(struct many *m, const struct escape_end *e) {
    m->nchains++;
    if (m->chains == NULL)
        m->chains = persistent_alloc(sizeof *m->chains, 8, MEM_RECORDER);
    if (m->chains == NULL)
        return;
    m->chains->growths += e->growths;
    distribution_add(&m->chains->size, e->size);
}

static void add(struct many *m, const struct escape_end *e) {
    distribution_add(&m->life_ns, e->life_ns);
    distribution_add(&m->life_bytes, e->life_bytes);
    if (e->verdict == ESCAPE_OUTLIVED)
        add_outlived(m->outlived, &m->noutlived, e->frames, e->proved);
    else
        m->verdicts[e->verdict]++;
    if (e->growths != 0)
        add_chain(m, e);
}

/* promote goes over from few to many.  False: the bound, or no memory. */
static gm_noinline bool promote(struct escape_sites *t, struct escape_figures *f, uint32_t bound) {
    if (t->nmany >= bound)
        return false;
    struct many *m = persistent_alloc(sizeof *m, 8, MEM_RECORDER);
    if (m == NULL)
        return false;
    t->nmany++;
    for (unsigned i = 0; i < FEW; i++) {
        struct escape_end e = end_of(&f->few[i]);
        add(m, &e);
    }
    f->many = m;
    return true;
}

/* The lock is held. */
static bool count(struct escape_sites *t, struct escape_site *s, const struct escape_end *e,
                  uint32_t bound) {
    struct escape_figures *f = atomic_load_explicit(&s->figures, memory_order_relaxed);
    if (f == NULL) {
        f = persistent_alloc(sizeof *f, 8, MEM_RECORDER);
        if (f == NULL)
            return false;
        atomic_store_explicit(&s->figures, f, memory_order_relaxed);
    }
    if (f->n < FEW) {
        f->few[f->n++] = few_of(e);
        return true;
    }
    if (f->n == FEW && !promote(t, f, bound))
        return false;
    f->n++;
    add(f->many, e);
    return true;
}

bool escape_site_end(struct escape_sites *t, uint32_t site, const struct escape_end *e,
                     uint32_t bound) {
    mutex_assert_held(t->lock);
    struct escape_site *s = escape_site_at(t, site);
    bool counted = count(t, s, e, bound);
    if (counted) {
        atomic_fetch_add_explicit(&s->ended, 1, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&s->judged, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->nfull, 1, memory_order_relaxed);
    }
    return counted;
}

void escape_site_stopped(struct escape_sites *t, uint32_t site) {
    struct escape_site *s = escape_site_at(t, site);
    atomic_fetch_add_explicit(&s->stopped, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->ended, 1, memory_order_relaxed);
}

static void read_lives(const struct escape_figures *f, struct escape_summary *ret) {
    static const double parts[2] = {0.5, 0.99};
    unsigned few = f->n <= FEW ? f->n : 0;
    uint64_t ns[FEW], bytes[FEW], sizes[FEW];
    unsigned nsizes = 0;
    for (unsigned i = 0; i < few; i++) {
        ns[i] = (uint64_t)f->few[i].life_ns;
        bytes[i] = (uint64_t)f->few[i].life_bytes;
        if (f->few[i].growths != 0)
            sizes[nsizes++] = f->few[i].size;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (f->n <= FEW) {
            ret->life_ns[i] = distribution_of_few(ns, few, parts[i]);
            ret->life_bytes[i] = distribution_of_few(bytes, few, parts[i]);
            ret->final_size[i] = distribution_of_few(sizes, nsizes, parts[i]);
            continue;
        }
        ret->life_ns[i] = distribution_quantile(&f->many->life_ns, parts[i]);
        ret->life_bytes[i] = distribution_quantile(&f->many->life_bytes, parts[i]);
        if (f->many->chains != NULL)
            ret->final_size[i] = distribution_quantile(&f->many->chains->size, parts[i]);
    }
}

static void read_few(const struct escape_figures *f, struct escape_summary *ret) {
    struct escape_outlived table[ESCAPE_OUTLIVED_KEPT + 1] = {{0}};
    for (unsigned i = 0; i < f->n; i++) {
        struct escape_end e = end_of(&f->few[i]);
        if (e.verdict == ESCAPE_OUTLIVED)
            add_outlived(table, &ret->noutlived, e.frames, e.proved);
        else
            ret->verdicts[e.verdict]++;
        ret->chains += e.growths != 0;
        ret->growths += e.growths;
    }
    memcpy(ret->outlived, table, sizeof ret->outlived);
}

static void read_many(const struct many *m, struct escape_summary *ret) {
    for (unsigned i = 0; i < ESCAPE_NVERDICTS; i++)
        ret->verdicts[i] = m->verdicts[i];
    memcpy(ret->outlived, m->outlived, sizeof ret->outlived);
    ret->noutlived = m->noutlived;
    ret->more = m->outlived[ESCAPE_OUTLIVED_KEPT];
    ret->chains = m->nchains;
    ret->growths = m->chains != NULL ? m->chains->growths : 0;
}

static void read_locked(const struct escape_site *s, struct escape_summary *ret) {
    const struct escape_figures *f = atomic_load_explicit(&s->figures, memory_order_relaxed);
    if (f != NULL) {
        if (f->n <= FEW)
            read_few(f, ret);
        else
            read_many(f->many, ret);
        read_lives(f, ret);
    }
    ret->verdicts[ESCAPE_STOPPED] += atomic_load_explicit(&s->stopped, memory_order_relaxed);
    ret->verdicts[ESCAPE_OUTLIVED] = ret->more.objects;
    for (uint32_t i = 0; i < ret->noutlived; i++)
        ret->verdicts[ESCAPE_OUTLIVED] += ret->outlived[i].objects;
    for (unsigned i = 0; i < ESCAPE_NVERDICTS; i++)
        ret->freed += ret->verdicts[i];
    /* Last: an object is judged before it can be freed. */
    ret->judged = atomic_load_explicit(&s->judged, memory_order_relaxed);
    if (ret->judged < ret->freed)
        ret->judged = ret->freed;
}

bool escape_site_read(struct escape_sites *t, uint32_t site, struct escape_summary *ret) {
    *ret = (struct escape_summary){0};
    if (site >= atomic_load_explicit(&t->reach, memory_order_acquire))
        return false;
    const struct escape_site *s = escape_site_at(t, site);
    if (atomic_load_explicit(&s->judged, memory_order_relaxed) == 0)
        return false;
    mutex_lock(t->lock);
    read_locked(s, ret);
    mutex_unlock(t->lock);
    return ret->judged != 0;
}

/* The lock is held. */
static uint32_t usual(const struct escape_figures *f) {
    if (f->n == 0)
        return 0;
    if (f->n <= FEW) {
        struct escape_end last = end_of(&f->few[f->n - 1]);
        return last.frames;
    }
    const struct escape_outlived *most = f->many->outlived;
    for (uint32_t i = 1; i < f->many->noutlived; i++) {
        if (f->many->outlived[i].objects > most->objects)
            most = &f->many->outlived[i];
    }
    return most->frames;
}

uint32_t escape_site_usual(struct escape_sites *t, uint32_t site) {
    const struct escape_site *s = escape_site_at(t, site);
    if (atomic_load_explicit(&s->figures, memory_order_relaxed) == NULL)
        return 0;
    mutex_lock(t->lock);
    uint32_t frames = usual(atomic_load_explicit(&s->figures, memory_order_relaxed));
    mutex_unlock(t->lock);
    return frames;
}
