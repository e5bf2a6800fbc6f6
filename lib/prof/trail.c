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

gm_cold bool trail_extend(struct trail *t) {
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
