/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The leaked objects.
 *
 * Heads are found as the strongly connected components' sources are (Kosaraju, Sharir): a search in
 * depth, from any object and again from any that is left, notes each object when it leaves it.  Of
 * those that are left without a head, the one noted last lies in a component that no other one
 * leads to; all it reaches are its indirect leaks.
 *
 * From a word to the leak it leads to, its place in the table by address, is a count of the mark's
 * bits before its own: mark_number.
 */
#include "leak/leaks.h"

#include <string.h>

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
    size_t step; /* bytes between words */
    size_t path_bytes, left_bytes;
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

/* next_target goes on in the object at the place until a word leads to a leak in the given state;
 * LEAKS_MAX: none does. */
static uint32_t next_target(const struct search *s, struct place *at, uint32_t state) {
    size_t bytes;
    bool scan;
    uintptr_t p = s->l->all[at->leak].address;
    mark_find(s->m, p, &bytes, &scan);
    while (scan && (size_t)at->word * s->step + sizeof(uintptr_t) <= bytes) {
        uintptr_t v;
        memcpy(&v, (const char *)p + at->word++ * s->step, sizeof v);
        uint32_t to;
        if (mark_leads(s->m, v, &to) && s->l->all[to].state == state)
            return to;
    }
    return LEAKS_MAX;
}

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
    for (size_t i = 0; i < s->l->n; i++)
        if (s->l->all[i].state == NEW)
            visit(s, (uint32_t)i);
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
    s.path_bytes = whole_pages(ret->n * sizeof *s.path);
    s.left_bytes = whole_pages(ret->n * sizeof *s.left);
    s.path = mem_alloc(s.path_bytes, MEM_AGENT);
    s.left = mem_alloc(s.left_bytes, MEM_AGENT);
    bool ok = s.path != NULL && s.left != NULL;
    if (ok)
        find_heads(&s);
    if (s.path != NULL)
        mem_free(s.path, s.path_bytes, MEM_AGENT, 0, 0);
    if (s.left != NULL)
        mem_free(s.left, s.left_bytes, MEM_AGENT, 0, 0);
    if (!ok)
        leaks_free(ret);
    return ok;
}

void leaks_free(struct leaks *l) {
    if (l->all != NULL)
        mem_free(l->all, l->bytes, MEM_AGENT, 0, 0);
    *l = (struct leaks){.n = 0};
}
