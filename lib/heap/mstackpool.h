/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Free stacks that no thread has.  Go: runtime/stack.go stackpool, stackLarge.
 *
 * The pool has the small stacks: for each order (2, 4, 8, 16 KiB) a list of manual spans of 32 KiB
 * with stacks in the pool, bit i of `pooled` for stack i.  A span whose stacks are all there goes
 * back to the heap at once.
 *
 * stack_large has the guarded stacks, of any order, a span each: setting a guard costs a system
 * call and splits a mapping, so that they are kept for a while, guard and all; up to 4 MiB of them.
 *
 * Departures from Go: bits in the header instead of links in the stacks, which the program may
 * write by mistake; and Go's stackLarge has what is freed during a garbage collection.
 */
#ifndef GM_HEAP_MSTACKPOOL_H
#define GM_HEAP_MSTACKPOOL_H

#include "heap/mspan.h"
#include "sys/lock.h"

struct mcache;

/* A stack of order k has STACK_MIN << k bytes.  Go: _FixedStack, _NumStackOrders; larger orders are
 * spans of their own. */
#define STACK_MIN_SHIFT  11
#define STACK_MIN        ((size_t)1 << STACK_MIN_SHIFT)
#define NUM_STACK_ORDERS 4
#define MAX_STACK_ORDERS 36 /* the orders that there can be */

/* The bytes of a span for small stacks, and of the stacks of one kind in a thread's cache.  Go:
 * _StackCacheSize. */
#define STACK_CACHE_SIZE ((size_t)32 << 10)

/* A thread's free stacks of one kind, the one freed last on top.  The thread writes it.  Entry n,
 * if it is not full, is a stack on its way in or out, or 0: for stack_after_fork. */
struct stack_list {
    size_t n;
    uintptr_t stack[STACK_CACHE_SIZE >> STACK_MIN_SHIFT];
};

gm_inline size_t stack_bytes(unsigned order) {
    return STACK_MIN << order;
}

/* stack_list_room returns how many stacks of the order a thread keeps. */
gm_inline size_t stack_list_room(unsigned order) {
    return (STACK_CACHE_SIZE >> STACK_MIN_SHIFT) >> order;
}

/* stackpool_refill fills half of an empty list from the pool; less, or nothing: out of memory.
 * c: for its page cache.  Go: stackcacherefill. */
void stackpool_refill(struct mcache *c, struct stack_list *l, unsigned order);

/* stackpool_release gives the pool those that have been in the list for longest, until it has keep.
 * Go: stackcacherelease. */
void stackpool_release(struct stack_list *l, unsigned order, size_t keep);

/* stackpool_put gives the pool one stack of s. */
void stackpool_put(struct mspan *s, size_t slot);

/* stack_large_take returns a free guarded stack of the order, or NULL; stack_large_keep keeps one.
 * False: there are enough, unless `must`. */
struct mspan *stack_large_take(unsigned order);
bool stack_large_keep(struct mspan *s, bool must);

/* stack_order_of returns the order of the stacks of a manual span. */
gm_inline unsigned stack_order_of(const struct mspan *s) {
    size_t n = s->elem_size != 0 ? s->elem_size : mspan_elem_bytes(s) - s->guard;
    return (unsigned)__builtin_ctzll(n) - STACK_MIN_SHIFT;
}

/* stackpool_count counts what the lists hold, for a heap at rest: spans with stacks in the pool,
 * and guarded spans; false if a list is broken. */
bool stackpool_count(size_t *ret_nspans, size_t *ret_nlarge);

void stackpool_lock_all(void);   /* before fork */
void stackpool_unlock_all(void); /* after it, in the parent */
void stackpool_reset_all(void);  /* after it, in the child */
bool stackpool_holds_lock(void); /* the calling thread holds one of them */

#endif
