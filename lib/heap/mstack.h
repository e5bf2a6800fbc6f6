/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stacks for coroutines.  Go: runtime/stack.go stackalloc, stackfree.
 *
 *      size    16 KiB and less             32 KiB and more
 *
 *      plain   thread's cache, then pool   a manual span of its own
 *      guard   thread's cache, then        stack_large, else a manual span of its own
 *              stack_large
 *
 * A size is rounded up to a power of two, 2 KiB at least.  Small plain stacks are the slots of
 * manual spans of 32 KiB; every other stack has a span:
 *
 *      base                 base + guard                       base + npages * 8192
 *       |  guard, no access  |  the stack, grows downwards      |
 *
 * The stack is at the upper end and the guard is all the rest, so that nothing but the stack can be
 * written: 8 KiB, or 4 KiB below a stack of 4 KiB, which is the least that has a guard.
 *
 * The bitmap is the truth here too: a bit of free_bits is clear exactly while the program has the
 * stack, whoever keeps it otherwise.  As the stacks of a span may be with several threads, the bits
 * are changed by atomic operations; that also finds out who frees what is free.  A free stack is in
 * one thread's cache, or in the pool (see mstackpool.h).  Where they are is kept outside of the
 * stacks: a program may write to a stack that it has given back.
 */
#ifndef GM_HEAP_MSTACK_H
#define GM_HEAP_MSTACK_H

#include "heap/mstackpool.h"

/* What a thread keeps, by guard and order.  Go: mcache.stackcache. */
struct stack_cache {
    struct stack_list list[2][NUM_STACK_ORDERS];
};

/* stack_alloc returns the lowest byte of a stack of at least size bytes, or NULL: no memory, or no
 * room for a guard.  c is an attached mcache. */
void *stack_alloc(struct mcache *c, size_t size, bool guard);

enum stack_free_result { STACK_FREE_OK, STACK_FREE_INVALID, STACK_FREE_DOUBLE };

/* stack_free takes it back, in any thread. */
enum stack_free_result stack_free(struct mcache *c, uintptr_t p);

/* stack_size returns the bytes of the stack in use that begins at p, 0 if there is none. */
size_t stack_size(uintptr_t p);

/* stack_flush gives back what the thread keeps.  For the mcache's thread.  Go: stackcache_clear. */
void stack_flush(struct stack_cache *c);

/* stack_reclaim gives the heap the guarded stacks that nobody uses. */
void stack_reclaim(void);

/* stack_after_fork gives back what a thread kept that was lost in a fork; mine is the cache of the
 * thread that lives on.  For the only thread of the child. */
void stack_after_fork(struct stack_cache *lost, const struct stack_cache *mine);

/* stack_check_span checks one manual span; stack_check_lists, that what is not with the program is
 * in some list, and adds up.  The reason if not so, else NULL.  For a heap at rest. */
struct stack_recount {
    size_t ncached; /* stacks that are free and not in the pool */
    size_t npooled; /* spans with some in the pool */
    size_t nlarge;  /* guarded ones in stack_large */
};
const char *stack_check_span(const struct mspan *s, struct stack_recount *said);
const char *stack_check_lists(const struct stack_recount *said);

#endif
