/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The objects that a mark has reached and not looked into yet: memory for them.
 */
#include "leak/todo.h"

#include <assert.h>

#include "sys/mem.h"

#define SLAB_BYTES ((size_t)1 << 20)

static_assert(sizeof(struct todo_chunk) == 4096, "a chunk is a page");

/* Chunks that were taken at once; the first one's place is this. */
struct todo_slab {
    struct todo_slab *next;
};

static bool more_chunks(struct todo *t) {
    char *p = mem_alloc(SLAB_BYTES, MEM_AGENT);
    if (p == NULL) {
        t->failed = true;
        return false;
    }
    struct todo_slab *slab = (struct todo_slab *)p;
    slab->next = t->slabs;
    t->slabs = slab;
    for (size_t at = SLAB_BYTES - sizeof(struct todo_chunk); at > 0;
         at -= sizeof(struct todo_chunk)) {
        struct todo_chunk *c = (struct todo_chunk *)(p + at);
        c->next = t->free;
        t->free = c;
    }
    return true;
}

gm_noinline bool todo_push_chunk(struct todo *t, struct todo_region *r) {
    if (t->free == NULL && !more_chunks(t))
        return false;
    struct todo_chunk *c = t->free;
    t->free = c->next;
    c->next = r->top;
    c->n = 0;
    r->top = c;
    return true;
}

void todo_free(struct todo *t) {
    while (t->slabs != NULL) {
        struct todo_slab *slab = t->slabs;
        t->slabs = slab->next;
        mem_free(slab, SLAB_BYTES, MEM_AGENT, 0, 0);
    }
    *t = (struct todo){.failed = t->failed};
}
