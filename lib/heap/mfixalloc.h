/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Objects of one fixed size, for the heap's own structures.  See mfixalloc.c.
 */
#ifndef GM_HEAP_MFIXALLOC_H
#define GM_HEAP_MFIXALLOC_H

#include "sys/mem.h"

/* A freed object's first word. */
struct mlink {
    struct mlink *next;
};

/* All objects of one size.  The caller locks around every call. */
struct fixalloc {
    size_t size;                       /* bytes of an object, a multiple of 8 */
    void (*first)(void *arg, void *p); /* called when p is given out for the first time, or NULL */
    void *arg;                         /* for first */
    struct mlink *list;                /* freed objects */
    char *chunk;                       /* the rest of the current piece of persistent memory */
    size_t nchunk;                     /* bytes left in it */
    size_t nalloc;                     /* bytes of a new piece */
    size_t inuse;                      /* bytes given out and not freed */
    enum mem_purpose why;              /* what the memory is accounted as */
    bool zero;                         /* objects are zeroed when they are given out again */
};

/* fixalloc_init makes an allocator of objects of `size` (1 .. 16384) bytes, aligned to 8, or to 64
 * if size is a multiple of 64.  Objects are zeroed unless `zero` is set to false afterwards. */
void fixalloc_init(struct fixalloc *f, size_t size, void (*first)(void *arg, void *p), void *arg,
                   enum mem_purpose why);

/* fixalloc_alloc returns an object, or NULL: no memory. */
void *fixalloc_alloc(struct fixalloc *f);

/* fixalloc_free takes an object back; its first word is overwritten. */
void fixalloc_free(struct fixalloc *f, void *p);

#endif
