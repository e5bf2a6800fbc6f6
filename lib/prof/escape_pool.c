/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Records of judged objects.
 */
#include "prof/escape_pool.h"

#include <assert.h>

static_assert(sizeof(struct escape_record) == 48, "the cost of a judged object");

static uint64_t head_with(uint64_t old, uint32_t first) {
    return ((old >> 32) + 1) << 32 | first;
}

static void push(struct escape_pool *p, uint32_t first, uint32_t n) {
    struct escape_record *r = escape_pool_at(p, first);
    r->look = n;
    uint64_t old = atomic_load_explicit(&p->free, memory_order_relaxed);
    do {
        atomic_store_explicit(&r->next_batch, (uint32_t)old, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&p->free, &old, head_with(old, first),
                                                    memory_order_release, memory_order_relaxed));
    atomic_fetch_add_explicit(&p->nfree, n, memory_order_relaxed);
}

/* pop returns the first record of a batch, 0: there is none.  Another thread may take that batch
 * while its link is read here: then the link is nonsense, and the version has changed. */
static uint32_t pop(struct escape_pool *p) {
    uint64_t old = atomic_load_explicit(&p->free, memory_order_acquire);
    uint32_t next;
    do {
        if ((uint32_t)old == 0)
            return 0;
        next = atomic_load_explicit(&escape_pool_at(p, (uint32_t)old)->next_batch,
                                    memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&p->free, &old, head_with(old, next),
                                                    memory_order_acquire, memory_order_acquire));
    atomic_fetch_sub_explicit(&p->nfree, escape_pool_at(p, (uint32_t)old)->look,
                              memory_order_relaxed);
    return (uint32_t)old;
}

/* make returns the first of a batch of new records.  The lock is held. */
static uint32_t make(struct escape_pool *p, uint32_t bound) {
    uint32_t made = p->made != 0 ? p->made : 1;
    if (made + ESCAPE_BATCH > bound ||
        !mem_table_reach(&p->table, (made + ESCAPE_BATCH) * sizeof(struct escape_record)))
        return 0;
    for (uint32_t i = made; i < made + ESCAPE_BATCH - 1; i++)
        escape_pool_at(p, i)->next = i + 1;
    escape_pool_at(p, made)->look = ESCAPE_BATCH;
    __atomic_store_n(&p->made, made + ESCAPE_BATCH, __ATOMIC_RELAXED);
    return made;
}

static gm_noinline bool refill(struct escape_pool *p, struct escape_cache *c, uint32_t bound,
                               struct mutex *lock) {
    uint32_t first = pop(p);
    if (first == 0) {
        mutex_lock(lock);
        first = make(p, bound);
        mutex_unlock(lock);
    }
    if (first == 0)
        return false;
    *c = (struct escape_cache){.head = first, .n = escape_pool_at(p, first)->look};
    return true;
}

bool escape_pool_init(struct escape_pool *p, uint32_t max) {
    return mem_table_init(&p->table, max * sizeof(struct escape_record), MEM_RECORDER);
}

uint32_t escape_pool_take(struct escape_pool *p, struct escape_cache *c, uint32_t bound,
                          struct mutex *lock) {
    if (c->n == 0 && !refill(p, c, bound, lock))
        return 0;
    uint32_t i = c->head;
    c->head = escape_pool_at(p, i)->next;
    c->n--;
    return i;
}

/* spill gives the shared list half of what the thread has: the older ones.  It forgets them first:
 * a thread that is lost in a fork just then leaves its cache to another, and may lose records, but
 * not leave some in both lists. */
static gm_noinline void spill(struct escape_pool *p, struct escape_cache *c) {
    uint32_t last = c->head, n = c->n - ESCAPE_BATCH;
    for (unsigned i = 1; i < ESCAPE_BATCH; i++)
        last = escape_pool_at(p, last)->next;
    __atomic_store_n(&c->n, ESCAPE_BATCH, __ATOMIC_RELAXED);
    push(p, escape_pool_at(p, last)->next, n);
}

void escape_pool_give(struct escape_pool *p, struct escape_cache *c, uint32_t i) {
    if (c == NULL) {
        push(p, i, 1);
        return;
    }
    escape_pool_at(p, i)->next = c->head;
    c->head = i;
    if (++c->n == 2 * ESCAPE_BATCH)
        spill(p, c);
}

uint32_t escape_pool_used(const struct escape_pool *p) {
    uint32_t made = __atomic_load_n(&p->made, __ATOMIC_RELAXED);
    uint32_t nfree = atomic_load_explicit(&p->nfree, memory_order_relaxed);
    return made > nfree + 1 ? made - nfree - 1 : 0;
}
