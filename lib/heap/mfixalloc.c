/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fixed-size objects for the heap's own structures.  Go: runtime/mfixalloc.go.
 *
 * Objects are cut from pieces of 16 KiB of persistent memory; freed ones go on a list and are the
 * first to be given out again.  Memory never goes back: the address of an object stays one of its
 * type for good, so that a late reader of a freed span header reads a span header.
 *
 * Departures: lack of memory is reported; memory comes zeroed from the kernel, so that only a used
 * object is cleared, after its list word is read; objects of a multiple of 64 bytes begin a cache
 * line.
 */
#include "heap/mfixalloc.h"

#include "sys/persistent.h"
#include "sys/throw.h"

#define FIX_ALLOC_CHUNK ((size_t)16 << 10)

void fixalloc_init(struct fixalloc *f, size_t size, void (*first)(void *arg, void *p), void *arg,
                   enum mem_purpose why) {
    if (size == 0 || size > FIX_ALLOC_CHUNK)
        throw_values("fixalloc: object size", size, FIX_ALLOC_CHUNK);
    size = (size + 7) & ~(size_t)7;
    *f = (struct fixalloc){
        .size = size,
        .first = first,
        .arg = arg,
        .nalloc = FIX_ALLOC_CHUNK / size * size, /* no tail that is too short for an object */
        .why = why,
        .zero = true,
    };
}

/* new_object cuts an object off the current piece. */
static void *new_object(struct fixalloc *f) {
    if (f->nchunk < f->size) {
        char *chunk = persistent_alloc(f->nalloc, f->size % 64 == 0 ? 64 : 8, f->why);
        if (chunk == NULL)
            return NULL;
        f->chunk = chunk;
        f->nchunk = f->nalloc;
    }
    char *p = f->chunk;
    f->chunk += f->size;
    f->nchunk -= f->size;
    if (f->first != NULL)
        f->first(f->arg, p);
    return p;
}

void *fixalloc_alloc(struct fixalloc *f) {
    if (f->size == 0)
        throw_("use of fixalloc_alloc before fixalloc_init");
    void *p = f->list;
    if (p == NULL) {
        p = new_object(f);
        if (p == NULL)
            return NULL;
    } else {
        f->list = f->list->next;
        if (f->zero)
            __builtin_memset(p, 0, f->size);
    }
    f->inuse += f->size;
    return p;
}

void fixalloc_free(struct fixalloc *f, void *p) {
    f->inuse -= f->size;
    struct mlink *v = p;
    /* a late reader of the object may look at this word */
    __atomic_store_n(&v->next, f->list, __ATOMIC_RELAXED);
    f->list = v;
}
