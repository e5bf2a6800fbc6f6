/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack table: every distinct call stack once.
 *
 * Stacks are kept as a trie from the outermost frame (main's caller) inwards: a node is a return
 * address and the node of its caller.  Two stacks that share their outer frames share those nodes,
 * so a new stack costs only as many nodes as it has frames that were never seen there.  Example:
 *
 *      node 1: _start       parent 0          stack [malloc's caller f, main, _start] = node 3
 *      node 2: main         parent 1          stack [g, main, _start]                 = node 4
 *      node 3: f            parent 2
 *      node 4: g            parent 2
 *
 * A node that has allocated has a site, a dense number from 1: that is what slots and figures refer
 * to.
 *
 * Finding is lock-free: a hash of 4-byte words (8 bits of the hash, 24 bits of node number), open
 * addressing.  A node is hashed by its whole path, so the innermost frame of a known stack is found
 * by one look into the hash however many frames it has; then its path is compared frame by frame
 * with the nodes, which mostly lie side by side, having been made together.  Inserting takes the
 * table's lock, once for all the new frames of a stack.  Nodes are only ever appended, complete
 * before they are counted or hashed, and a parent always has a smaller number than its children.
 *
 * The hash is kept dense (three to six eighths full), because the cache misses and page faults of
 * a big empty one cost more than the probing: it doubles under the lock.  The words of the old one
 * are given back to the kernel at once, its address space is not: a reader who is still in it reads
 * zero, finds nothing, and looks again under the lock.
 *
 * Where it stops scaling: growing rehashes all nodes under the lock (20 ms at a million nodes);
 * threads that see many new stacks at the same time wait for each other.
 */
#ifndef GM_PROF_STACK_TABLE_H
#define GM_PROF_STACK_TABLE_H

#include "sys/lock.h"

#define STACK_TABLE_MAX_NODES (((uint32_t)1 << STACK_NODE_BITS) - 1)
#define STACK_NODE_BITS       24 /* of a node's number */
#define STACK_PC_BITS         48 /* a frame's address; depth stands above it */
#define STACK_PC_MASK         (((uint64_t)1 << STACK_PC_BITS) - 1)
#define STACK_SITE_NONE       1u /* made by stack_table_init: node 0 */

struct stack_node {
    uint64_t pc_depth;     /* address | depth << STACK_PC_BITS */
    uint32_t parent;       /* node of the caller, 0 = outermost */
    _Atomic uint32_t site; /* 0 = has not allocated */
};

struct stack_site {
    uint32_t node;          /* innermost frame */
    _Atomic uint32_t flags; /* GOMALLOC_SITE_*: set by any of its stacks, never cleared */
};

struct stack_hash {
    _Atomic uint32_t *slots; /* tag << STACK_NODE_BITS | node, 0 = free */
    unsigned bits;           /* log2 of their number */
    uint32_t room;           /* nodes it takes before it must grow */
};

/* Address space for a table of records, made ready step by step.  The table's lock. */
struct stack_area {
    char *base;
    size_t reserved; /* bytes */
    size_t ready;
};

struct stack_table {
    struct mutex lock; /* LOCK_RANK_STACK: inserting */
    struct stack_area node_area;
    struct stack_area site_area;
    struct stack_node *nodes; /* [0] unused */
    struct stack_site *sites; /* [0] unused */
    _Atomic(struct stack_hash *) hash;
    uint32_t max_nodes;
    _Atomic uint32_t nnodes;
    _Atomic uint32_t nsites;
    _Atomic uint64_t nfull; /* insertions refused: the bound, or no memory */
};

/* stack_table_init makes a table of at most max_nodes frames.  False: no address space. */
bool stack_table_init(struct stack_table *t, uint32_t max_nodes);

/* stack_path_hash returns the hash of a frame inside of a path with that hash (0: of none). */
gm_inline uint64_t stack_path_hash(uint64_t outer, uint64_t pc) {
    return (outer ^ pc) * UINT64_C(0x9e3779b97f4a7c15);
}

/* stack_path_hashes makes those of a stack's n frames, outside of which is a path with a hash. */
gm_inline void stack_path_hashes(uint64_t outer, const uint64_t *pcs, unsigned n,
                                 uint64_t *ret_hashes) {
    for (unsigned i = n; i-- > 0;)
        ret_hashes[i] = outer = stack_path_hash(outer, pcs[i]);
}

/* stack_hash_spread makes of a path's hash one whose upper bits choose the slot, and whose lower 8
 * are the tag. A path's own is made with as little as can be, as all frames of a new stack are
 * hashed one after the other: its lower digits depend on nothing but the frames' lower ones. */
gm_inline uint64_t stack_hash_spread(uint64_t path_hash) {
    return (path_hash ^ path_hash >> 32) * UINT64_C(0xbf58476d1ce4e5b9);
}

gm_inline uint32_t stack_hash_slot(uint64_t h, uint32_t node) {
    return (uint32_t)h << STACK_NODE_BITS | node;
}

/* stack_table_same compares the n frames that end at a node with pcs, and what is outside of them
 * with `outer`.  No frame is 0, as that of node 0 is: so it ends there at the latest. */
gm_inline bool stack_table_same(const struct stack_table *t, uint32_t node, uint32_t outer,
                                const uint64_t *pcs, unsigned n, uint32_t *ret_nodes) {
    const uint64_t *end = pcs + n;
    for (; pcs < end; pcs++) {
        const struct stack_node *nd = &t->nodes[node];
        if (((nd->pc_depth ^ *pcs) & STACK_PC_MASK) != 0)
            return false;
        *ret_nodes++ = node;
        node = nd->parent;
    }
    return node == outer;
}

/* stack_table_find returns the node that the path pcs[n-1] ... pcs[0] with the hash *hash leads to
 * from node outer, or 0.  Under the lock 0 means that there is none; without it, that there was
 * none or that the table's hash has been replaced meanwhile. */
gm_inline uint32_t stack_table_find(const struct stack_table *t, uint32_t outer,
                                    const uint64_t *pcs, const uint64_t *hash, unsigned n,
                                    uint32_t *ret_nodes) {
    uint64_t h = stack_hash_spread(*hash);
    const struct stack_hash *all = atomic_load_explicit(&t->hash, memory_order_acquire);
    uint64_t mask = ((uint64_t)1 << all->bits) - 1;
    for (uint64_t i = h >> (64 - all->bits);; i = (i + 1) & mask) {
        /* acquire: the node was complete before its number was stored here */
        uint32_t slot = atomic_load_explicit(&all->slots[i], memory_order_acquire);
        if (slot == 0)
            return 0;
        uint32_t node = slot & STACK_TABLE_MAX_NODES;
        if (slot == stack_hash_slot(h, node) && stack_table_same(t, node, outer, pcs, n, ret_nodes))
            return node;
    }
}

/* stack_table_intern returns the node of a stack whose outer part is node `outer` (0: none) and
 * whose remaining n frames are pcs[n-1] (outermost) ... pcs[0], none of them 0, with the hashes of
 * their paths; returns 0 if the table is full.  ret_nodes gets the node of each frame, in the order
 * of pcs.  stack_table_intern_rest is what it leaves: a stack of which a part is new. */
uint32_t stack_table_intern_rest(struct stack_table *t, uint32_t outer, const uint64_t *pcs,
                                 const uint64_t *hashes, unsigned n, uint32_t *ret_nodes);

gm_inline uint32_t stack_table_intern(struct stack_table *t, uint32_t outer, const uint64_t *pcs,
                                      const uint64_t *hashes, unsigned n, uint32_t *ret_nodes) {
    uint32_t node = n != 0 ? stack_table_find(t, outer, pcs, hashes, n, ret_nodes) : 0;
    return gm_likely(node != 0) ? node
                                : stack_table_intern_rest(t, outer, pcs, hashes, n, ret_nodes);
}

/* stack_table_site returns the site of a node and adds flags to it; 0 if the table is full.
 * stack_table_site_new is what it leaves: the first of a node, the first with a flag. */
uint32_t stack_table_site_new(struct stack_table *t, uint32_t node, uint32_t flags);

gm_inline uint32_t stack_table_site(struct stack_table *t, uint32_t node, uint32_t flags) {
    /* acquire: the site was complete before its number was stored here */
    uint32_t site = atomic_load_explicit(&t->nodes[node].site, memory_order_acquire);
    if (gm_likely(site != 0) &&
        gm_likely(flags == 0 || (flags & ~atomic_load_explicit(&t->sites[site].flags,
                                                               memory_order_relaxed)) == 0))
        return site;
    return stack_table_site_new(t, node, flags);
}

/* stack_table_consistent recounts everything; for a table at rest. */
bool stack_table_consistent(struct stack_table *t);

gm_inline uint64_t stack_node_pc(const struct stack_node *n) {
    return n->pc_depth & STACK_PC_MASK;
}

gm_inline uint32_t stack_node_depth(const struct stack_node *n) {
    return (uint32_t)(n->pc_depth >> STACK_PC_BITS);
}

#endif
