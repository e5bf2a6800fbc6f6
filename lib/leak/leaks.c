/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The leaked objects.
 *
 * Heads are found as the strongly connected components' sources are (Kosaraju, Sharir): a search in
 * depth, from any object and again from any that is left, notes each object when it leaves it.  Of
 * those that are left without a head, the one noted last lies in a component that no other one
 * leads to; all it reaches are its indirect leaks.
 *
 * The one noted last of such a component is the one that the search began at, so the order in which
 * it begins decides which object of a ring is the head: see ranks.
 *
 * From a word to the leak it leads to, its place in the table by address, is a count of the mark's
 * bits before its own: mark_number.
 */
#include "leak/leaks.h"

#include <string.h>

#include "heap/msize.h"

/*
 * The search begins at what is likely to own the others of its ring.  In rings of the containers of
 * C++, what the container is part of is led to by its middle alone, where the container is.  Of
 * other rings the largest object is as good as any, and is of the same call site each time.
 */
enum { RANK_OWNER, RANK_LARGE, RANK_SMALL, NRANKS = RANK_SMALL + NUM_SIZE_CLASSES };

/* leak.head while the ranks are found, before it is the rank: whether a word of another leak leads
 * to its first byte */
enum { NOT_POINTED, POINTED };

/* leak.state while they are being found */
enum { NEW, VISITED, GROUPED };

/* A place in the search: an object and how far it has been looked into. */
struct place {
    uint32_t leak;
    uint32_t word;
};

struct search {
    const struct mark *m;
    struct leaks *l;
    struct place *path; /* room for every object */
    uint32_t *left;     /* the objects in the order in which the search has left them */
    size_t nleft;
    uint32_t *order; /* the objects by rank, those of a rank by address */
    size_t step;     /* bytes between words */
};

static size_t whole_pages(size_t n) {
    return align_up(n + 1, PHYS_PAGE_SIZE);
}

static size_t count(const struct mark *m) {
    return m->nlive - m->nreached;
}

static bool collect(const struct mark *m, struct leaks *ret) {
    size_t n = count(m);
    if (n >= LEAKS_MAX)
        return false;
    ret->bytes = whole_pages(n * sizeof *ret->all);
    ret->all = mem_alloc(ret->bytes, MEM_AGENT);
    if (ret->all == NULL)
        return false;
    for (uintptr_t p = mark_next_unseen(m, 0); p != 0 && ret->n < n; p = mark_next_unseen(m, p + 1))
        ret->all[ret->n++].address = p;
    return true;
}

/* next_lead goes on in the object at the place until a word leads to a leak; LEAKS_MAX: none does.
 */
static uint32_t next_lead(const struct search *s, struct place *at, uintptr_t *ret_word) {
    size_t bytes;
    bool scan;
    uintptr_t p = s->l->all[at->leak].address;
    mark_find(s->m, p, &bytes, &scan);
    while (scan && (size_t)at->word * s->step + sizeof(uintptr_t) <= bytes) {
        uint32_t to;
        memcpy(ret_word, (const char *)p + at->word++ * s->step, sizeof *ret_word);
        if (mark_leads(s->m, *ret_word, &to))
            return to;
    }
    return LEAKS_MAX;
}

/* next_target does so until it is one in the given state. */
static uint32_t next_target(const struct search *s, struct place *at, uint32_t state) {
    uintptr_t word;
    uint32_t to;
    do
        to = next_lead(s, at, &word);
    while (to != LEAKS_MAX && s->l->all[to].state != state);
    return to;
}

/* ---- where the search begins --------------------------------------------------------------- */

static void note_pointed(struct search *s, uint32_t from) {
    struct place at = {.leak = from};
    uintptr_t word;
    for (uint32_t to; (to = next_lead(s, &at, &word)) != LEAKS_MAX;)
        if (to != from && s->l->all[to].address == word)
            s->l->all[to].head = POINTED;
}

static uint32_t rank_of(const struct search *s, const struct leak *leak) {
    size_t bytes = 0;
    bool scan;
    if (leak->head == NOT_POINTED)
        return RANK_OWNER;
    mark_find(s->m, leak->address, &bytes, &scan);
    return bytes > MAX_SMALL_SIZE ? RANK_LARGE
                                  : RANK_SMALL + NUM_SIZE_CLASSES - 1 - size_to_class(bytes);
}

static void sort_by_rank(struct search *s) {
    struct leak *all = s->l->all;
    size_t at[NRANKS + 1] = {0};
    for (size_t i = 0; i < s->l->n; i++)
        note_pointed(s, (uint32_t)i);
    for (size_t i = 0; i < s->l->n; i++) {
        all[i].head = rank_of(s, &all[i]);
        at[all[i].head + 1]++;
    }
    for (unsigned rank = 0; rank < NRANKS; rank++)
        at[rank + 1] += at[rank];
    for (size_t i = 0; i < s->l->n; i++)
        s->order[at[all[i].head]++] = (uint32_t)i;
}

/* ---- the search ---------------------------------------------------------------------------- */

/* visit searches in depth from a leak. */
static void visit(struct search *s, uint32_t from) {
    size_t depth = 0;
    s->path[depth++] = (struct place){.leak = from};
    s->l->all[from].state = VISITED;
    while (depth != 0) {
        struct place *at = &s->path[depth - 1];
        uint32_t to = next_target(s, at, NEW);
        if (to == LEAKS_MAX) {
            s->left[s->nleft++] = at->leak;
            depth--;
            continue;
        }
        s->l->all[to].state = VISITED;
        s->path[depth++] = (struct place){.leak = to};
    }
}

/* group puts all that a head leads to under it. */
static void group(struct search *s, uint32_t head) {
    size_t depth = 0;
    s->l->ndirect++;
    s->l->all[head].head = head;
    s->l->all[head].state = GROUPED;
    s->path[depth++] = (struct place){.leak = head};
    while (depth != 0) {
        uint32_t to = next_target(s, &s->path[depth - 1], VISITED);
        if (to == LEAKS_MAX) {
            depth--;
            continue;
        }
        s->l->all[to].head = head;
        s->l->all[to].state = GROUPED;
        s->path[depth++] = (struct place){.leak = to};
    }
}

static void find_heads(struct search *s) {
    sort_by_rank(s);
    for (size_t i = 0; i < s->l->n; i++)
        if (s->l->all[s->order[i]].state == NEW)
            visit(s, s->order[i]);
    for (size_t i = s->nleft; i-- > 0;)
        if (s->l->all[s->left[i]].state == VISITED)
            group(s, s->left[i]);
}

bool leaks_find(struct mark *m, struct leaks *ret) {
    *ret = (struct leaks){.n = 0};
    if (!collect(m, ret))
        return false;
    mark_number(m);
    struct search s = {.m = m, .l = ret, .step = m->options.unaligned ? 1 : sizeof(uintptr_t)};
    size_t bytes = whole_pages(ret->n * (sizeof *s.path + sizeof *s.left + sizeof *s.order));
    s.path = mem_alloc(bytes, MEM_AGENT);
    bool ok = s.path != NULL;
    if (ok) {
        s.left = (uint32_t *)(s.path + ret->n);
        s.order = s.left + ret->n;
        find_heads(&s);
        mem_free(s.path, bytes, MEM_AGENT, 0, 0);
    }
    if (!ok)
        leaks_free(ret);
    return ok;
}

void leaks_free(struct leaks *l) {
    if (l->all != NULL)
        mem_free(l->all, l->bytes, MEM_AGENT, 0, 0);
    *l = (struct leaks){.n = 0};
}
