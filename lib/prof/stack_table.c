/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack table.
 */
#include "prof/stack_table.h"

#include <assert.h>
#include <sys/mman.h>

#include "gomalloc/image.h"
#include "sys/mem.h"
#include "sys/persistent.h"
#include "sys/rawcall.h"
#include "sys/throw.h"

static_assert(sizeof(struct stack_node) == 16, "four nodes a cache line");

#define AREA_STEP       ((size_t)128 << 10)
#define HUGE_PAGE       ((size_t)2 << 20)
#define HASH_FIRST_BITS 12 /* 16 KiB */

static bool area_init(struct stack_area *a, size_t n) {
    n = (n + AREA_STEP - 1) & ~(AREA_STEP - 1);
    a->base = mem_reserve(NULL, n, MEM_STACK);
    a->reserved = n;
    a->ready = 0;
    return a->base != NULL;
}

/* area_need makes the first n bytes ready. */
static bool area_need(struct stack_area *a, size_t n) {
    while (a->ready < n) {
        if (a->ready == a->reserved || !mem_map(a->base + a->ready, AREA_STEP, MEM_STACK))
            return false;
        mem_used(a->base + a->ready, AREA_STEP, MEM_STACK);
        a->ready += AREA_STEP;
    }
    return true;
}

static struct stack_hash *new_hash(unsigned bits) {
    struct stack_hash *h = persistent_alloc(sizeof *h, 8, MEM_STACK);
    size_t n = sizeof *h->slots << bits;
    if (h == NULL || (h->slots = mem_alloc_sparse(n, MEM_STACK)) == NULL)
        return NULL;
    mem_used((void *)h->slots, n, MEM_STACK);
    /* Touched all over and dense: nothing is wasted, and random access misses no 4 KiB TLB entries.
     */
    if (n >= HUGE_PAGE)
        sys_call3(SYS_madvise, (long)h->slots, (long)n, MADV_HUGEPAGE);
    h->bits = bits;
    h->room = (uint32_t)(((uint64_t)1 << bits) * 3 / 4);
    return h;
}

static void hash_add(struct stack_hash *hash, uint64_t path_hash, uint32_t node) {
    uint64_t h = stack_hash_spread(path_hash);
    uint64_t mask = ((uint64_t)1 << hash->bits) - 1;
    uint64_t i = h >> (64 - hash->bits);
    while (atomic_load_explicit(&hash->slots[i], memory_order_relaxed) != 0)
        i = (i + 1) & mask;
    atomic_store_explicit(&hash->slots[i], stack_hash_slot(h, node), memory_order_release);
}

/* hash_all adds all nodes to a hash; parents come first, so one pass gives every path's hash. */
static bool hash_all(const struct stack_table *t, struct stack_hash *hash) {
    uint32_t n = atomic_load_explicit(&t->nnodes, memory_order_relaxed);
    size_t bytes = ((n + 1) * sizeof(uint64_t) + 4095) & ~(size_t)4095;
    uint64_t *h = mem_alloc(bytes, MEM_STACK);
    if (h == NULL)
        return false;
    for (uint32_t i = 1; i <= n; i++) {
        h[i] = stack_path_hash(h[t->nodes[i].parent], stack_node_pc(&t->nodes[i]));
        hash_add(hash, h[i], i);
    }
    mem_free(h, bytes, MEM_STACK, 0, 0);
    return true;
}

/* grow replaces the hash by one of twice the size.  Lock held. */
static bool grow(struct stack_table *t) {
    struct stack_hash *old = atomic_load_explicit(&t->hash, memory_order_relaxed);
    struct stack_hash *hash = new_hash(old->bits + 1);
    if (hash == NULL || !hash_all(t, hash))
        return false;
    atomic_store_explicit(&t->hash, hash, memory_order_release);
    mem_unused((void *)old->slots, sizeof *old->slots << old->bits, MEM_STACK);
    return true;
}

/* insert appends a node; 0 if there is no room.  Lock held. */
static uint32_t insert(struct stack_table *t, uint32_t parent, uint64_t pc, uint64_t h) {
    mutex_assert_held(&t->lock);
    uint32_t id = atomic_load_explicit(&t->nnodes, memory_order_relaxed) + 1;
    struct stack_hash *hash = atomic_load_explicit(&t->hash, memory_order_relaxed);
    if (id > t->max_nodes || !area_need(&t->node_area, (id + 1) * sizeof *t->nodes))
        return 0;
    if (id > hash->room) {
        if (!grow(t))
            return 0;
        hash = atomic_load_explicit(&t->hash, memory_order_relaxed);
    }
    uint64_t depth = parent != 0 ? stack_node_depth(&t->nodes[parent]) + 1 : 1;
    struct stack_node *n = &t->nodes[id];
    n->pc_depth = pc | depth << STACK_PC_BITS;
    n->parent = parent;
    /* release: who reads the count reads complete nodes */
    atomic_store_explicit(&t->nnodes, id, memory_order_release);
    hash_add(hash, h, id);
    return id;
}

/* insert_rest adds the frames pcs[n-1] ... pcs[0] below a node; another thread may have added some
 * of them meanwhile. */
static gm_noinline uint32_t insert_rest(struct stack_table *t, uint32_t node, const uint64_t *pcs,
                                        const uint64_t *hashes, unsigned n, uint32_t *ret_nodes) {
    mutex_lock(&t->lock);
    while (n-- > 0) {
        uint32_t parent = node;
        node = stack_table_find(t, parent, &pcs[n], &hashes[n], 1, &ret_nodes[n]);
        if (node == 0)
            node = insert(t, parent, pcs[n], hashes[n]);
        if (node == 0)
            break;
        ret_nodes[n] = node;
    }
    mutex_unlock(&t->lock);
    if (node == 0)
        atomic_fetch_add_explicit(&t->nfull, 1, memory_order_relaxed);
    return node;
}

gm_noinline uint32_t stack_table_intern_rest(struct stack_table *t, uint32_t outer,
                                             const uint64_t *pcs, const uint64_t *hashes,
                                             unsigned n, uint32_t *ret_nodes) {
    for (unsigned i = 1; i < n; i++) {
        uint32_t node = stack_table_find(t, outer, pcs + i, hashes + i, n - i, ret_nodes + i);
        if (node != 0)
            return insert_rest(t, node, pcs, hashes, i, ret_nodes);
    }
    return n == 0 ? outer : insert_rest(t, outer, pcs, hashes, n, ret_nodes);
}

/* new_site appends a site; 0 if there is no room.  Lock held. */
static uint32_t new_site(struct stack_table *t, uint32_t node) {
    mutex_assert_held(&t->lock);
    uint32_t id = atomic_load_explicit(&t->nsites, memory_order_relaxed) + 1;
    if (!area_need(&t->site_area, (id + 1) * sizeof *t->sites))
        return 0;
    t->sites[id].node = node;
    atomic_store_explicit(&t->nsites, id, memory_order_release);
    atomic_store_explicit(&t->nodes[node].site, id, memory_order_release);
    return id;
}

gm_noinline uint32_t stack_table_site_new(struct stack_table *t, uint32_t node, uint32_t flags) {
    mutex_lock(&t->lock);
    uint32_t site = atomic_load_explicit(&t->nodes[node].site, memory_order_relaxed);
    if (site == 0)
        site = new_site(t, node);
    mutex_unlock(&t->lock);
    if (site == 0) {
        atomic_fetch_add_explicit(&t->nfull, 1, memory_order_relaxed);
        return 0;
    }
    if (flags != 0)
        atomic_fetch_or_explicit(&t->sites[site].flags, flags, memory_order_relaxed);
    return site;
}

bool stack_table_init(struct stack_table *t, uint32_t max_nodes) {
    if (max_nodes == 0 || max_nodes > STACK_TABLE_MAX_NODES)
        max_nodes = STACK_TABLE_MAX_NODES;
    *t = (struct stack_table){.lock = MUTEX_INIT(LOCK_RANK_STACK), .max_nodes = max_nodes};
    struct stack_hash *hash = new_hash(HASH_FIRST_BITS);
    /* node 0 and every node may have a site; records [0] are not used */
    size_t n = (size_t)max_nodes + 2;
    if (hash == NULL || !area_init(&t->node_area, n * sizeof *t->nodes) ||
        !area_init(&t->site_area, n * sizeof *t->sites) ||
        !area_need(&t->node_area, sizeof *t->nodes))
        return false;
    t->nodes = (struct stack_node *)t->node_area.base;
    t->sites = (struct stack_site *)t->site_area.base;
    atomic_store_explicit(&t->hash, hash, memory_order_release);
    return stack_table_site(t, 0, GOMALLOC_SITE_STOPPED) == STACK_SITE_NONE;
}

/* node_consistent: complete, found in the hash, and a child of an earlier one. */
static bool node_consistent(const struct stack_table *t, uint32_t id, uint64_t h) {
    const struct stack_node *n = &t->nodes[id];
    uint32_t depth = n->parent != 0 ? stack_node_depth(&t->nodes[n->parent]) + 1 : 1;
    uint32_t site = atomic_load_explicit(&n->site, memory_order_relaxed);
    uint64_t pc = stack_node_pc(n);
    uint32_t found;
    return n->parent < id && stack_node_depth(n) == depth &&
           stack_table_find(t, n->parent, &pc, &h, 1, &found) == id &&
           (site == 0 || t->sites[site].node == id);
}

static uint64_t hash_of(const struct stack_table *t, uint32_t id) {
    return id != 0 ? stack_path_hash(hash_of(t, t->nodes[id].parent), stack_node_pc(&t->nodes[id]))
                   : 0;
}

bool stack_table_consistent(struct stack_table *t) {
    uint32_t nnodes = atomic_load_explicit(&t->nnodes, memory_order_acquire);
    uint32_t nsites = atomic_load_explicit(&t->nsites, memory_order_acquire);
    const struct stack_hash *hash = atomic_load_explicit(&t->hash, memory_order_acquire);
    uint32_t with_site = 1; /* node 0 */
    for (uint32_t i = 1; i <= nnodes; i++) {
        if (!node_consistent(t, i, hash_of(t, i)))
            return false;
        with_site += atomic_load_explicit(&t->nodes[i].site, memory_order_relaxed) != 0;
    }
    uint64_t used = 0;
    for (uint64_t i = 0; i < (uint64_t)1 << hash->bits; i++)
        used += atomic_load_explicit(&hash->slots[i], memory_order_relaxed) != 0;
    return used == nnodes && nnodes <= hash->room && with_site == nsites;
}
