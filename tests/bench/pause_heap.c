/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Heaps to be copied, and looked through, by a leak check.
 *
 *   bytes   of 1 to 32 KiB each, in a list; nothing else in them looks like a pointer, so that a
 *           check has little to do once the heap is copied
 *   blocks  of 64 bytes, in a tree
 *   graph   of 16 to 256 bytes; a fifth of the words lead to objects at random, of which the first
 *           of each makes one list of all, in random order
 *
 * The table that is needed to make them is unmapped in the end: it would be a short way to all.
 */
#include "pause.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uintptr_t *pause_root; /* what leads to all objects */
static uint64_t seed = 88172645463325252u;

static uint64_t random_next(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uintptr_t *make(size_t n) {
    uintptr_t *p = malloc(n);
    if (p == NULL) {
        fprintf(stderr, "pause: out of memory\n");
        exit(1);
    }
    return p;
}

static size_t make_bytes(size_t mib, size_t *ret_bytes) {
    size_t n = 0;
    for (size_t bytes = 0; bytes < mib << 20; n++) {
        size_t size = 1024 + random_next() % (31 << 10);
        uintptr_t *p = make(size);
        memset(p, 1, size);
        p[0] = (uintptr_t)pause_root;
        pause_root = p;
        bytes += size;
        *ret_bytes = bytes;
    }
    return n;
}

struct table {
    uintptr_t **object;
    uint8_t *nwords;
    size_t n;
};

static void *map(size_t n) {
    void *p =
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        exit(1);
    return p;
}

static void table_map(struct table *t, size_t n) {
    *t = (struct table){.object = map(n * sizeof *t->object), .nwords = map(n), .n = n};
}

static void table_unmap(struct table *t) {
    munmap(t->object, t->n * sizeof *t->object);
    munmap(t->nwords, t->n);
}

static size_t make_blocks(size_t n, size_t *ret_bytes) {
    struct table t;
    table_map(&t, n);
    for (size_t i = 0; i < n; i++) {
        t.object[i] = make(64);
        memset(t.object[i], 0, 64);
        if (i != 0)
            t.object[(i - 1) / 2][1 - i % 2] = (uintptr_t)t.object[i];
    }
    pause_root = t.object[0];
    table_unmap(&t);
    *ret_bytes = n * 64;
    return n;
}

static void shuffle(struct table *t) {
    for (size_t i = t->n - 1; i > 0; i--) {
        size_t k = random_next() % (i + 1);
        uintptr_t *p = t->object[i];
        uint8_t nwords = t->nwords[i];
        t->object[i] = t->object[k];
        t->nwords[i] = t->nwords[k];
        t->object[k] = p;
        t->nwords[k] = nwords;
    }
}

static size_t make_graph(size_t n, size_t *ret_bytes) {
    struct table t;
    table_map(&t, n);
    for (size_t i = 0; i < n; i++) {
        t.nwords[i] = (uint8_t)(2 + random_next() % 31);
        t.object[i] = make(t.nwords[i] * sizeof(uintptr_t));
        *ret_bytes += t.nwords[i] * sizeof(uintptr_t);
    }
    shuffle(&t);
    for (size_t i = 0; i < n; i++) {
        uintptr_t *p = t.object[i];
        p[0] = i + 1 < n ? (uintptr_t)t.object[i + 1] : 0;
        for (size_t w = 1; w < t.nwords[i]; w++)
            p[w] = random_next() % 100 < 15 ? (uintptr_t)t.object[random_next() % n]
                                            : random_next() >> 32;
    }
    pause_root = t.object[0];
    table_unmap(&t);
    return n;
}

size_t pause_heap(const char *kind, size_t size, size_t *ret_bytes) {
    *ret_bytes = 0;
    if (strcmp(kind, "bytes") == 0)
        return make_bytes(size, ret_bytes);
    if (strcmp(kind, "blocks") == 0)
        return make_blocks(size, ret_bytes);
    if (strcmp(kind, "graph") == 0)
        return make_graph(size, ret_bytes);
    return 0;
}
