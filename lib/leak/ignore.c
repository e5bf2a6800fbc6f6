/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Objects that are lost on purpose.
 */
#include "leak/ignore.h"

#include <errno.h>

#include "heap/mslots.h"

static bool lives(const struct mspan *s, size_t slot) {
    return slot < s->nelems && (mspan_live_word(s, slot / 64) >> slot % 64 & 1) != 0;
}

int ignore_object(uintptr_t p) {
    struct mspan *s = mheap_span_covering(p);
    if (s == NULL || p < s->base ||
        atomic_load_explicit(&s->state, memory_order_acquire) != GOMALLOC_SPAN_IN_USE)
        return -EINVAL;
    size_t slot = mspan_object_index(s, p);
    if (!lives(s, slot))
        return -EINVAL;
    return mslots_ignore(s, slot) ? 0 : -ENOMEM;
}

static void each_in(const struct mspan *s, void (*visit)(void *arg, uintptr_t object), void *arg) {
    for (size_t i = 0; i < s->nelems; i++)
        if (mslots_is_ignored(s, i) && lives(s, i))
            visit(arg, s->base + i * mspan_elem_bytes(s));
}

void ignore_each(void (*visit)(void *arg, uintptr_t object), void *arg) {
    if (atomic_load_explicit(&mslots_ignored, memory_order_acquire) == 0)
        return;
    uint32_t n = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        const struct mspan *s = mheap_.allspans[i];
        if (atomic_load_explicit(&s->state, memory_order_relaxed) == GOMALLOC_SPAN_IN_USE &&
            atomic_load_explicit(&s->sites, memory_order_relaxed) != NULL)
            each_in(s, visit, arg);
    }
}

struct keeping {
    struct mark *m;
    uint64_t objects;
};

static void keep(void *arg, uintptr_t object) {
    struct keeping *k = arg;
    mark_keep(k->m, object);
    k->objects++;
}

bool ignore_mark(struct mark *m, struct ignored *ret) {
    struct keeping k = {.m = m};
    uint64_t before = m->nreached;
    ignore_each(keep, &k);
    bool ok = k.objects == 0 || mark_all(m);
    *ret = (struct ignored){.objects = k.objects, .spared = m->nreached - before};
    return ok;
}
