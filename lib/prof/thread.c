/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the recorder keeps of a thread.
 */
#include "prof/thread.h"

#include <string.h>

#include "sys/persistent.h"

static_assert(sizeof(struct site_figures) == 32, "two sites a cache line");

struct prof_thread *prof_thread_of(struct mcache *c) {
    if (gm_likely(c->prof != NULL))
        return c->prof;
    struct prof_thread *t = persistent_alloc(sizeof *t, 64, MEM_RECORDER);
    if (t != NULL)
        __atomic_store_n(&c->prof, t, __ATOMIC_RELEASE);
    return t;
}

struct prof_thread *prof_thread_peek(const struct mcache *c) {
    return __atomic_load_n(&c->prof, __ATOMIC_ACQUIRE);
}

/* Record r is in piece b = log2(r / FIGURES_FIRST + 1), which begins with record
 * FIGURES_FIRST * (2^b - 1). */
static inline unsigned piece_of(uint32_t r) {
    return 31 - (unsigned)__builtin_clz(r / FIGURES_FIRST + 1);
}

static inline uint32_t piece_start(unsigned b) {
    return FIGURES_FIRST * ((UINT32_C(1) << b) - 1);
}

/* Where a site stands in the index. */
static unsigned dir_of(uint32_t site) {
    return site >> (INDEX_PAGE_SHIFT + INDEX_DIR_SHIFT);
}
static unsigned page_of(uint32_t site) {
    return site >> INDEX_PAGE_SHIFT & ((1u << INDEX_DIR_SHIFT) - 1);
}
static unsigned entry_of(uint32_t site) {
    return site & ((1u << INDEX_PAGE_SHIFT) - 1);
}

/* find_page returns the page of the index that the site is on, NULL: none yet. */
static _Atomic uint32_t *find_page(const struct prof_thread *t, uint32_t site) {
    if (dir_of(site) >= INDEX_DIRS)
        return NULL;
    struct site_index *dir = atomic_load_explicit(&t->index[dir_of(site)], memory_order_acquire);
    return dir != NULL ? atomic_load_explicit(&dir->pages[page_of(site)], memory_order_acquire)
                       : NULL;
}

static gm_noinline _Atomic uint32_t *new_page(struct prof_thread *t, uint32_t site) {
    if (dir_of(site) >= INDEX_DIRS)
        return NULL;
    struct site_index *dir = atomic_load_explicit(&t->index[dir_of(site)], memory_order_relaxed);
    if (dir == NULL) {
        dir = persistent_alloc(sizeof *dir, 64, MEM_RECORDER);
        if (dir == NULL)
            return NULL;
        atomic_store_explicit(&t->index[dir_of(site)], dir, memory_order_release);
    }
    _Atomic uint32_t *p = persistent_alloc(sizeof *p << INDEX_PAGE_SHIFT, 64, MEM_RECORDER);
    if (p != NULL)
        atomic_store_explicit(&dir->pages[page_of(site)], p, memory_order_release);
    return p;
}

static _Atomic uint32_t *index_slot(struct prof_thread *t, uint32_t site) {
    _Atomic uint32_t *p = find_page(t, site);
    if (gm_unlikely(p == NULL))
        p = new_page(t, site);
    return p != NULL ? &p[entry_of(site)] : NULL;
}

/* new_record returns the number of a fresh record, 0: no memory. */
static gm_noinline uint32_t new_record(struct prof_thread *t) {
    uint32_t r = t->nfigures + 1;
    unsigned b = piece_of(r);
    if (b >= FIGURES_PIECES)
        return 0;
    if (atomic_load_explicit(&t->figures[b], memory_order_relaxed) == NULL) {
        size_t n = sizeof(struct site_figures) * ((size_t)FIGURES_FIRST << b);
        struct site_figures *p = persistent_alloc(n, 64, MEM_RECORDER);
        if (p == NULL)
            return 0;
        atomic_store_explicit(&t->figures[b], p, memory_order_release);
    }
    t->nfigures = r;
    return r;
}

static inline struct site_figures *record(const struct prof_thread *t, uint32_t r) {
    unsigned b = piece_of(r);
    return atomic_load_explicit(&t->figures[b], memory_order_acquire) + (r - piece_start(b));
}

struct site_figures *prof_thread_figures(struct prof_thread *t, uint32_t site) {
    _Atomic uint32_t *slot = index_slot(t, site);
    if (slot == NULL)
        return NULL;
    uint32_t r = atomic_load_explicit(slot, memory_order_relaxed);
    if (gm_unlikely(r == 0)) {
        r = new_record(t);
        if (r == 0)
            return NULL;
        atomic_store_explicit(slot, r, memory_order_release);
    }
    return record(t, r);
}

const struct site_figures *prof_thread_read(const struct prof_thread *t, uint32_t site) {
    const _Atomic uint32_t *p = find_page(t, site);
    if (p == NULL)
        return NULL;
    uint32_t r = atomic_load_explicit(&p[entry_of(site)], memory_order_acquire);
    return r != 0 ? record(t, r) : NULL;
}

static void add_double(_Atomic uint64_t *bits, double d) {
    uint64_t u = atomic_load_explicit(bits, memory_order_relaxed);
    double sum;
    memcpy(&sum, &u, sizeof sum);
    sum += d;
    memcpy(&u, &sum, sizeof u);
    atomic_store_explicit(bits, u, memory_order_relaxed);
}

void site_figures_add(struct site_figures *f, uint64_t size, double weight) {
    uint64_t samples = atomic_load_explicit(&f->samples, memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&f->sample_bytes, memory_order_relaxed);
    atomic_store_explicit(&f->samples, samples + 1, memory_order_relaxed);
    atomic_store_explicit(&f->sample_bytes, bytes + size, memory_order_relaxed);
    add_double(&f->objects, weight);
    add_double(&f->bytes, weight * (double)size);
}
