/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread's last stack, with its nodes.
 */
#include "prof/trail.h"

#include <string.h>

#include "sys/persistent.h"

void trail_init(struct trail *t, unsigned depth) {
    t->pcs = t->near_pcs;
    t->hashes = t->near_hashes;
    t->nodes = t->near_nodes;
    t->cap = TRAIL_NEAR;
    t->depth = depth;
}

/* extend makes room for the deepest stacks; keeps the last one.  False: no memory. */
static gm_cold bool extend(struct trail *t) {
    size_t frame = sizeof *t->pcs + sizeof *t->hashes + sizeof *t->nodes;
    uint64_t *pcs = persistent_alloc(t->depth * frame, 64, MEM_RECORDER);
    if (pcs == NULL)
        return false;
    uint64_t *hashes = pcs + t->depth;
    uint32_t *nodes = (uint32_t *)(hashes + t->depth);
    unsigned from = t->cap - t->n;
    unsigned to = t->depth - t->n;
    memcpy(pcs + to, t->pcs + from, t->n * sizeof *pcs);
    memcpy(hashes + to, t->hashes + from, t->n * sizeof *hashes);
    memcpy(nodes + to, t->nodes + from, t->n * sizeof *nodes);
    t->pcs = pcs;
    t->hashes = hashes;
    t->nodes = nodes;
    t->cap = t->depth;
    return true;
}

/* lose: nothing is known of the next stack. */
static uint32_t lose(struct trail *t) {
    t->n = 0;
    t->site = 0;
    return 0;
}

/* shared returns how many outer frames of the stack are those of the last one; the outermost
 * `known` ones are. */
static unsigned shared(const struct trail *t, const uint64_t *pcs, unsigned n, unsigned known) {
    unsigned max = n < t->n ? n : t->n;
    const uint64_t *a = pcs + n - known - 1;
    const uint64_t *b = t->pcs + t->cap - 1;
    unsigned k = known;
    while (k < max && *(a - (k - known)) == *(b - k))
        k++;
    return k;
}

uint32_t trail_intern(struct trail *t, struct stack_table *table, const uint64_t *pcs, unsigned n,
                      unsigned known, uint32_t flags, uint32_t *ret_new) {
    unsigned k = shared(t, pcs, n, known);
    unsigned fresh = n - k;
    *ret_new = fresh;
    if (gm_unlikely(n > t->cap) && !extend(t))
        return lose(t);
    if (fresh == 0 && n == t->n && flags == t->flags && t->site != 0)
        return t->site;
    uint32_t outer = k != 0 ? t->nodes[t->cap - k] : 0;
    uint64_t hash = k != 0 ? t->hashes[t->cap - k] : 0;
    uint32_t node = stack_table_intern(table, outer, hash, pcs, fresh, t->nodes + t->cap - n,
                                       t->hashes + t->cap - n);
    if (node == 0)
        return lose(t);
    memcpy(t->pcs + t->cap - n, pcs, fresh * sizeof *pcs);
    t->n = n;
    t->flags = flags;
    t->site = stack_table_site(table, node, flags);
    return t->site;
}
