/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread's last stack, with its nodes.
 */
#include "prof/trail.h"

#include <string.h>

#include "sys/persistent.h"

bool trail_init(struct trail *t, unsigned depth, unsigned slack) {
    size_t frame = sizeof *t->pcs + sizeof *t->hashes + sizeof *t->nodes;
    size_t n = depth * frame + (depth + slack) * sizeof *t->buf;
    char *p = persistent_alloc(n, 64, MEM_RECORDER);
    if (p == NULL)
        return false;
    t->cap = depth;
    t->pcs = (uint64_t *)p;
    t->hashes = t->pcs + depth;
    t->buf = t->hashes + depth;
    t->nodes = (uint32_t *)(t->buf + depth + slack);
    return true;
}

/* shared returns how many outer frames of the stack are those of the last one. */
static unsigned shared(const struct trail *t, const uint64_t *pcs, unsigned n) {
    unsigned max = n < t->n ? n : t->n;
    const uint64_t *a = pcs + n - 1;
    const uint64_t *b = t->pcs + t->cap - 1;
    unsigned k = 0;
    while (k < max && *(a - k) == *(b - k))
        k++;
    return k;
}

uint32_t trail_intern(struct trail *t, struct stack_table *table, const uint64_t *pcs, unsigned n,
                      uint32_t flags, uint32_t *ret_new) {
    unsigned k = shared(t, pcs, n);
    unsigned fresh = n - k;
    *ret_new = fresh;
    if (fresh == 0 && n == t->n && flags == t->flags && t->site != 0)
        return t->site;
    uint32_t outer = k != 0 ? t->nodes[t->cap - k] : 0;
    uint64_t hash = k != 0 ? t->hashes[t->cap - k] : 0;
    uint32_t node = stack_table_intern(table, outer, hash, pcs, fresh, t->nodes + t->cap - n,
                                       t->hashes + t->cap - n);
    if (node == 0) {
        t->n = k; /* what was shared is still right */
        t->site = 0;
        return 0;
    }
    memcpy(t->pcs + t->cap - n, pcs, fresh * sizeof *pcs);
    t->n = n;
    t->flags = flags;
    t->site = stack_table_site(table, node, flags);
    return t->site;
}
