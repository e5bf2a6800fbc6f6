/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The objects that a mark has reached and not looked into yet.
 *
 * One stack of them would have the mark jump about in the heap, from page to page: of what it costs
 * to get at an object, most is to find its page.  So they are kept by regions of 4 MiB, and all of
 * a region are looked into before those of the next one: its pages are known to the processor then.
 * Regions stand in line, so that much has gathered by the time that it is a region's turn.
 *
 *      region    a stack of chunks; what is pushed to the region whose turn it is is popped next
 *      chunk     4 KiB: places of objects in the region.  Empty ones are used again
 */
#ifndef GM_LEAK_TODO_H
#define GM_LEAK_TODO_H

#include "sys/compiler.h"

#define TODO_REGION  ((uintptr_t)4 << 20) /* bytes, aligned */
#define TODO_GRANULE 8                    /* bytes: where an object may begin */
#define TODO_OBJECTS 1021                 /* in a chunk of 4096 bytes */

struct todo_chunk {
    struct todo_chunk *next; /* below it in the region's stack, or free */
    uint32_t n;
    uint32_t place[TODO_OBJECTS]; /* (object - the region's base) / TODO_GRANULE */
};

/* All zero: nothing is to do there. */
struct todo_region {
    struct todo_chunk *top;   /* NULL: none.  Not an empty one */
    struct todo_region *next; /* in line */
    uintptr_t base;           /* 0: not in line */
};

struct todo {
    struct todo_region *first; /* whose turn it is */
    struct todo_region *last;
    struct todo_chunk *free;
    struct todo_slab *slabs; /* what the chunks lie in */
    bool failed;             /* memory was short: something is missing */
};

/* todo_push_chunk gives the region a chunk with room.  False: no memory. */
bool todo_push_chunk(struct todo *t, struct todo_region *r);

/* todo_free frees the memory; the regions are not to be used again. */
void todo_free(struct todo *t);

/* todo_push adds an object of the region. */
static inline void todo_push(struct todo *t, struct todo_region *r, uintptr_t object) {
    if (r->base == 0) {
        r->base = object & ~(TODO_REGION - 1);
        if (t->last != NULL)
            t->last->next = r;
        else
            t->first = r;
        t->last = r;
    }
    if (gm_unlikely(r->top == NULL || r->top->n == TODO_OBJECTS) && !todo_push_chunk(t, r))
        return;
    r->top->place[r->top->n++] = (uint32_t)((object - r->base) / TODO_GRANULE);
}

/* todo_pop takes one; 0: there is none. */
static inline uintptr_t todo_pop(struct todo *t) {
    for (struct todo_region *r; (r = t->first) != NULL;) {
        struct todo_chunk *c = r->top;
        if (gm_likely(c != NULL)) {
            uintptr_t object = r->base + (uintptr_t)c->place[--c->n] * TODO_GRANULE;
            if (c->n == 0) {
                r->top = c->next;
                c->next = t->free;
                t->free = c;
            }
            return object;
        }
        t->first = r->next;
        t->last = t->first != NULL ? t->last : NULL;
        *r = (struct todo_region){.top = NULL};
    }
    return 0;
}

#endif
