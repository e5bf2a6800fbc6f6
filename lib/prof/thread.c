/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the recorder keeps of a thread.
 */
#include "prof/thread.h"

#include <string.h>

#include "sys/persistent.h"

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

static double as_double(const _Atomic uint64_t *bits) {
    uint64_t u = atomic_load_explicit(bits, memory_order_relaxed);
    double d;
    memcpy(&d, &u, sizeof d);
    return d;
}

static void add_double(_Atomic uint64_t *bits, double d) {
    double sum = as_double(bits) + d;
    uint64_t u;
    memcpy(&u, &sum, sizeof u);
    atomic_store_explicit(bits, u, memory_order_relaxed);
}

bool prof_thread_add_sample(struct prof_thread *t, uint32_t site, uint64_t size, double weight) {
    struct site_words *f = site_map_make(&t->figures, site);
    struct site_words *more = weight != 1 ? site_map_make(&t->excess, site) : NULL;
    if (f == NULL || (weight != 1 && more == NULL))
        return false;
    site_words_add(f, size);
    if (more != NULL) {
        add_double(&more->word[EXCESS_OBJECTS], weight - 1);
        add_double(&more->word[EXCESS_BYTES], (weight - 1) * (double)size);
    }
    return true;
}

void prof_thread_read(const struct prof_thread *t, uint32_t site, struct site_figures *sum) {
    const struct site_words *f = site_map_find(&t->figures, site);
    const struct site_words *more = site_map_find(&t->excess, site);
    if (f == NULL)
        return;
    uint64_t samples = atomic_load_explicit(&f->word[FIGURE_SAMPLES], memory_order_relaxed);
    uint64_t bytes = atomic_load_explicit(&f->word[FIGURE_BYTES], memory_order_relaxed);
    sum->samples += samples;
    sum->sample_bytes += bytes;
    sum->objects += (double)samples + (more != NULL ? as_double(&more->word[EXCESS_OBJECTS]) : 0);
    sum->bytes += (double)bytes + (more != NULL ? as_double(&more->word[EXCESS_BYTES]) : 0);
}
