/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread's last stack, with its nodes.
 */
#include "prof/trail.h"

#include <string.h>

#include "sys/persistent.h"

bool trail_init(struct trail *t, unsigned depth) {
    size_t frame = sizeof *t->pcs + sizeof *t->hashes + sizeof *t->nodes;
    char *p = persistent_alloc(depth * frame, 64, MEM_RECORDER);
    if (p == NULL)
        return false;
    t->cap = depth;
    t->pcs = (uint64_t *)p;
    t->hashes = t->pcs + depth;
    t->nodes = (uint32_t *)(t->hashes + depth);
    return true;
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
    if (fresh == 0 && n == t->n && flags == t->flags && t->site != 0)
        return t->site;
    uint32_t outer = k != 0 ? t->nodes[t->cap - k] : 0;
    uint64_t hash = k != 0 ? t->hashes[t->cap - k] : 0;
    uint32_t node = stack_table_intern(table, outer, hash, pcs, fresh, t->nodes + t->cap - n,
                                       t->hashes + t->cap - n);
    if (node == 0) {
        t->n = 0;
        t->site = 0;
        return 0;
    }
    memcpy(t->pcs + t->cap - n, pcs, fresh * sizeof *pcs);
    t->n = n;
    t->flags = flags;
    t->site = stack_table_site(table, node, flags);
    return t->site;
}
