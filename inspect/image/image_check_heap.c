/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Believing what an image says of the allocator's structures: the sections from "mcache" on.
 *
 * As in image_check.c: what could not have been written by the library is damage.  Figures of
 * different structures need not agree, as threads may have run; but each key is there once, each
 * reference leads somewhere, and no figure says more than there can be.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_checker.h"

#define NSPAN_CLASSES    136u
#define MAX_ADDRESS      (UINT64_C(1) << 62)
#define MAX_TRANSITIONS  1024u /* purposes times transitions, by far */
#define MAX_KINDS        256u  /* of memory, by far */
#define CHUNK_BYTES      (512u * GOMALLOC_IMAGE_PAGE)
#define MAX_HINTS        (1u << 20)
#define PAGE_CACHE_BYTES (64 * GOMALLOC_IMAGE_PAGE)

/* has_key says whether a section has a record of that key, or may lack it with all others. */
static bool has_key(const struct checker *c, enum gomalloc_section_id id, uint64_t key) {
    if (!c->im->sections[id].present)
        return (c->im->header.flags & GOMALLOC_IMAGE_PARTIAL) != 0;
    return image_find(c->im, id, key) != SIZE_MAX;
}

static bool mcache_is_sound(const struct gomalloc_mcache *m) {
    return m->flags <= (GOMALLOC_MCACHE_ATTACHED | GOMALLOC_MCACHE_ORPHAN) &&
           m->tiny < MAX_ADDRESS && m->tiny_offset <= GOMALLOC_IMAGE_PAGE &&
           m->pcache_base < MAX_ADDRESS && m->pcache_base % PAGE_CACHE_BYTES == 0 &&
           (m->pcache_scavenged & ~m->pcache_free) == 0 &&
           m->pcache_npages == (uint32_t)__builtin_popcountll(m->pcache_free) &&
           m->pcache_nscavenged == (uint32_t)__builtin_popcountll(m->pcache_scavenged) &&
           m->large_bytes < MAX_ADDRESS && m->stack_bytes < MAX_ADDRESS;
}

static int check_mcaches(struct checker *c) {
    size_t n;
    const struct gomalloc_mcache *m = image_section(c->im, GOMALLOC_SECTION_MCACHE, &n);
    for (size_t i = 0; i < n; i++)
        if (!mcache_is_sound(&m[i]) || !has_key(c, GOMALLOC_SECTION_THREAD, m[i].mcache))
            return damaged(c, "mcache %u: senseless", m[i].mcache);
    return 0;
}

static bool class_is_sound(const struct checker *c, const struct gomalloc_mcache_class *k) {
    return k->span_class < NSPAN_CLASSES && k->current < MAX_ADDRESS &&
           k->nhints <= k->hint_capacity && k->hint_capacity <= MAX_HINTS &&
           k->nlisted < MAX_ADDRESS && k->listed_free < MAX_ADDRESS && k->nheld < MAX_ADDRESS &&
           k->held_free < MAX_ADDRESS && has_key(c, GOMALLOC_SECTION_MCACHE, k->mcache);
}

static int compare_classes(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int check_mcache_classes(struct checker *c) {
    size_t n;
    const struct gomalloc_mcache_class *k = image_section(c->im, GOMALLOC_SECTION_MCACHE_CLASS, &n);
    uint64_t *keys = calloc(n + 1, sizeof *keys);
    int rc = keys ? 0 : -ENOMEM;
    for (size_t i = 0; i < n && !rc; i++) {
        if (!class_is_sound(c, &k[i]))
            rc = damaged(c, "mcache %u: span class %u: senseless", k[i].mcache, k[i].span_class);
        else
            keys[i] = (uint64_t)k[i].mcache * NSPAN_CLASSES + k[i].span_class;
    }
    if (!rc)
        qsort(keys, n, sizeof *keys, compare_classes);
    for (size_t i = 1; i < n && !rc; i++)
        if (keys[i - 1] == keys[i])
            rc = damaged(c, "mcache %u: a span class twice", (unsigned)(keys[i] / NSPAN_CLASSES));
    free(keys);
    return rc;
}

static int check_mcentrals(struct checker *c) {
    size_t n;
    const struct gomalloc_mcentral *m = image_section(c->im, GOMALLOC_SECTION_MCENTRAL, &n);
    for (size_t i = 0; i < n; i++)
        if (m[i].span_class >= NSPAN_CLASSES || m[i].partial_swept >= MAX_ADDRESS ||
            m[i].partial_unswept >= MAX_ADDRESS || m[i].full_swept >= MAX_ADDRESS ||
            m[i].full_unswept >= MAX_ADDRESS)
            return damaged(c, "mcentral of span class %u: senseless", m[i].span_class);
    return 0;
}

static int check_mheap(struct checker *c) {
    size_t n;
    const struct gomalloc_mheap *h = image_section(c->im, GOMALLOC_SECTION_MHEAP, &n);
    if (n > 1)
        return damaged(c, "%zu records of the heap", n);
    if (n == 1 && ((h->search_addr != GOMALLOC_NOTHING_FREE && h->search_addr >= MAX_ADDRESS) ||
                   h->arena_hint >= MAX_ADDRESS || h->cur_arena > h->cur_arena_end ||
                   h->cur_arena_end >= MAX_ADDRESS || h->chunk_start > h->chunk_end ||
                   h->chunk_end >= MAX_ADDRESS))
        return damaged(c, "senseless record of the heap");
    return 0;
}

static int check_scavenger(struct checker *c) {
    size_t n;
    const struct gomalloc_scavenger *s = image_section(c->im, GOMALLOC_SECTION_SCAVENGER, &n);
    if (n > 1)
        return damaged(c, "%zu records of the scavenger", n);
    if (n == 1 && (s->working > 1 || s->regretful > 1 || s->goal_bytes >= MAX_ADDRESS ||
                   s->retained_bytes >= MAX_ADDRESS))
        return damaged(c, "senseless record of the scavenger");
    return 0;
}

static bool same_transition(const struct gomalloc_transition *a,
                            const struct gomalloc_transition *b) {
    return a->from == b->from && a->to == b->to &&
           strncmp(a->purpose, b->purpose, sizeof a->purpose) == 0;
}

static int check_transitions(struct checker *c) {
    size_t n;
    const struct gomalloc_transition *t = image_section(c->im, GOMALLOC_SECTION_TRANSITION, &n);
    if (n > MAX_TRANSITIONS)
        return damaged(c, "%zu transitions", n);
    for (size_t i = 0; i < n; i++) {
        if (t[i].from > GOMALLOC_MEMORY_READY || t[i].to > GOMALLOC_MEMORY_READY ||
            t[i].from == t[i].to || t[i].bytes >= MAX_ADDRESS)
            return damaged(c, "transition %zu: senseless", i);
        for (size_t k = 0; k < i; k++)
            if (same_transition(&t[k], &t[i]))
                return damaged(c, "transition %zu: twice the same", i);
    }
    return 0;
}

static int check_resident(struct checker *c) {
    size_t n;
    const struct gomalloc_resident *r = image_section(c->im, GOMALLOC_SECTION_RESIDENT, &n);
    if (n > MAX_KINDS)
        return damaged(c, "%zu kinds of memory are resident", n);
    for (size_t i = 0; i < n; i++) {
        if (r[i].mapped_bytes >= MAX_ADDRESS || r[i].resident_bytes >= MAX_ADDRESS ||
            r[i].swapped_bytes >= MAX_ADDRESS || r[i].huge_bytes >= MAX_ADDRESS)
            return damaged(c, "resident %zu: senseless", i);
        for (size_t k = 0; k < i; k++)
            if (strncmp(r[k].name, r[i].name, sizeof r->name) == 0)
                return damaged(c, "resident %zu: twice the same", i);
    }
    return 0;
}

static int check_backing(struct checker *c) {
    size_t n;
    const struct gomalloc_backing *b = image_section(c->im, GOMALLOC_SECTION_BACKING, &n);
    for (size_t i = 0; i < n; i++)
        if (b[i].base >= MAX_ADDRESS || b[i].base % CHUNK_BYTES != 0 ||
            b[i].huge_bytes > CHUNK_BYTES)
            return damaged(c, "backing %zu: senseless", i);
    return 0;
}

int image_check_heap(struct image *im, char *err, size_t errlen) {
    static int (*const checks[])(struct checker *) = {
        check_mcaches,   check_mcache_classes, check_mcentrals, check_mheap,
        check_scavenger, check_transitions,    check_resident,  check_backing};
    struct checker c = {im, err, errlen};
    int rc = 0;
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && !rc; i++)
        rc = checks[i](&c);
    return rc;
}
