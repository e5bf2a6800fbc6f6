/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Finding the runs of free pages: one pass over the chunks' bitmaps, by address.
 */
#include "image/freeruns.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define CHUNK_PAGES 512u
#define CHUNK_BYTES (CHUNK_PAGES * (uint64_t)GOMALLOC_IMAGE_PAGE)
#define ARENA_BYTES (UINT64_C(64) << 20)

/* Runs of the heap, or of one arena. */
struct tally {
    struct freerun by_length[FREERUNS_LENGTHS];
    uint64_t pages, returned; /* of the run that is not over yet */
};

struct pass {
    struct tally heap, arena;
    uint64_t arena_base;
    uint64_t next; /* address behind the last page looked at */
    struct freeruns *ret;
    size_t capacity; /* of ret->rows */
    bool failed;
};

static unsigned length_of(uint64_t pages) {
    unsigned log = 63 - (unsigned)__builtin_clzll(pages);
    return log < FREERUNS_LENGTHS ? log : FREERUNS_LENGTHS - 1;
}

static void end_run(struct tally *t) {
    if (t->pages == 0)
        return;
    struct freerun *r = &t->by_length[length_of(t->pages)];
    r->runs++;
    r->pages += t->pages;
    r->returned += t->returned;
    r->longest = t->pages > r->longest ? t->pages : r->longest;
    t->pages = t->returned = 0;
}

static void add_row(struct pass *p, struct freerun row) {
    struct freeruns *f = p->ret;
    if (f->nrows == p->capacity) {
        size_t capacity = p->capacity ? 2 * p->capacity : 64;
        struct freerun *rows = realloc(f->rows, capacity * sizeof *rows);
        if (!rows) {
            p->failed = true;
            return;
        }
        f->rows = rows;
        p->capacity = capacity;
    }
    f->rows[f->nrows++] = row;
}

/* end_tally makes rows of it, and empties it. */
static void end_tally(struct pass *p, struct tally *t, uint64_t arena) {
    end_run(t);
    for (unsigned i = 0; i < FREERUNS_LENGTHS; i++) {
        struct freerun row = t->by_length[i];
        row.arena = arena;
        row.min_pages = UINT64_C(1) << i;
        if (row.runs)
            add_row(p, row);
    }
    *t = (struct tally){0};
}

static void take_page(struct tally *t, bool is_free, bool returned) {
    if (!is_free) {
        end_run(t);
        return;
    }
    t->pages++;
    t->returned += returned;
}

static void take_chunk(struct pass *p, const struct gomalloc_chunk *c) {
    uint64_t arena = c->base & ~(ARENA_BYTES - 1);
    if (c->base != p->next) {
        end_run(&p->heap);
        end_run(&p->arena);
    }
    if (arena != p->arena_base)
        end_tally(p, &p->arena, p->arena_base);
    p->arena_base = arena;
    p->next = c->base + CHUNK_BYTES;
    for (unsigned page = 0; page < CHUNK_PAGES; page++) {
        unsigned word = page / 64, bit = page % 64;
        bool is_free = (c->grown[word] & ~c->alloc[word]) >> bit & 1;
        bool returned = c->scavenged[word] >> bit & 1;
        take_page(&p->heap, is_free, returned);
        take_page(&p->arena, is_free, returned);
    }
}

static int compare_chunks(const void *a, const void *b) {
    const struct gomalloc_chunk *const *x = a, *const *y = b;
    return ((*x)->base > (*y)->base) - ((*x)->base < (*y)->base);
}

static int compare_rows(const void *a, const void *b) {
    const struct freerun *x = a, *y = b;
    if (x->arena != y->arena)
        return x->arena < y->arena ? -1 : 1;
    return (x->min_pages > y->min_pages) - (x->min_pages < y->min_pages);
}

int freeruns_find(const struct image *im, struct freeruns *ret) {
    struct pass p = {.ret = ret};
    size_t n;
    const struct gomalloc_chunk *chunks = image_section(im, GOMALLOC_SECTION_CHUNK, &n);
    const struct gomalloc_chunk **sorted = malloc((n + 1) * sizeof(*sorted));
    *ret = (struct freeruns){NULL, 0};
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &chunks[i];
    if (n)
        qsort(sorted, n, sizeof(*sorted), compare_chunks);
    for (size_t i = 0; i < n; i++)
        take_chunk(&p, sorted[i]);
    free(sorted);
    end_tally(&p, &p.arena, p.arena_base);
    end_tally(&p, &p.heap, 0);
    if (p.failed) {
        freeruns_free(ret);
        return -ENOMEM;
    }
    if (ret->nrows)
        qsort(ret->rows, ret->nrows, sizeof *ret->rows, compare_rows);
    return 0;
}

void freeruns_free(struct freeruns *runs) {
    free(runs->rows);
    *runs = (struct freeruns){NULL, 0};
}
