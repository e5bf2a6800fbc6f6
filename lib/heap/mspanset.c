/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sets of spans.  Go: runtime/mspanset.go.
 */
#include "heap/mspanset.h"

#include "sys/persistent.h"
#include "sys/throw.h"

#define SPAN_SET_INIT_SPINE_CAP 16 /* Go: 256; most classes never need a second block */

static struct mspan **entry(const struct mspan_set *set, uint32_t i) {
    return &set->spine[i / SPAN_SET_BLOCK_ENTRIES][i % SPAN_SET_BLOCK_ENTRIES];
}

static bool grow_spine(struct mspan_set *set) {
    uint32_t cap = set->spine_cap == 0 ? SPAN_SET_INIT_SPINE_CAP : set->spine_cap * 2;
    struct mspan ***spine = persistent_alloc(cap * sizeof *spine, 64, MEM_SPAN);
    if (spine == NULL)
        return false;
    for (uint32_t i = 0; i < set->nblocks; i++)
        spine[i] = set->spine[i];
    set->spine = spine; /* the old one is not freed: doubling bounds the loss by its own size */
    set->spine_cap = cap;
    return true;
}

static bool add_block(struct mspan_set *set) {
    if (set->nblocks == set->spine_cap && !grow_spine(set))
        return false;
    struct mspan **block = persistent_alloc(SPAN_SET_BLOCK_ENTRIES * sizeof *block, 64, MEM_SPAN);
    if (block == NULL)
        return false;
    set->spine[set->nblocks++] = block;
    return true;
}

void mspan_set_push(struct mspan_set *set, struct mspan *s) {
    if (set->n == set->nblocks * SPAN_SET_BLOCK_ENTRIES && !add_block(set)) {
        s->set_index = SPAN_SET_LINKED;
        mspan_list_push(&set->linked, s);
        return;
    }
    s->set_index = set->n;
    *entry(set, set->n++) = s;
}

struct mspan *mspan_set_pop(struct mspan_set *set) {
    struct mspan *s = set->linked.first;
    if (s == NULL)
        return set->n == 0 ? NULL : *entry(set, --set->n);
    mspan_list_remove(&set->linked, s);
    return s;
}

void mspan_set_remove(struct mspan_set *set, struct mspan *s) {
    if (s->set_index == SPAN_SET_LINKED) {
        mspan_list_remove(&set->linked, s);
        return;
    }
    if (s->set_index >= set->n || *entry(set, s->set_index) != s)
        throw_values("span not in this set", s->base, s->set_index);
    struct mspan *last = *entry(set, --set->n);
    *entry(set, s->set_index) = last;
    last->set_index = s->set_index;
}

bool mspan_set_consistent(const struct mspan_set *set) {
    if (set->n > set->nblocks * SPAN_SET_BLOCK_ENTRIES || set->nblocks > set->spine_cap)
        return false;
    for (uint32_t i = 0; i < set->n; i++)
        if (*entry(set, i) == NULL || (*entry(set, i))->set_index != i)
            return false;
    size_t nlinked = 0;
    for (const struct mspan *s = set->linked.first; s != NULL; s = s->next, nlinked++)
        if (s->set_index != SPAN_SET_LINKED)
            return false;
    return nlinked == set->linked.n;
}
