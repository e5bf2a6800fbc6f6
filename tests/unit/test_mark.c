/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The mark and the grouping of leaks, against the same done naively: random heaps with random
 * pointers, small and large objects, scanned and not, freed ones among them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "leak/leaks.h"
#include "random.h"
#include "rounds.h"

enum { OBJECTS = 300, EDGES = 400, ROOTS = 12 };

struct object {
    char *p;
    size_t size; /* asked for */
    bool noscan;
};

/* A heap and what is known of it. */
struct world {
    struct random random;
    struct object objects[OBJECTS];
    bool edge[OBJECTS][OBJECTS]; /* as the mark may see it */
    uintptr_t roots[ROOTS];
    bool kept[OBJECTS]; /* a root leads to it */
    struct mark_options options;
};

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

static size_t random_size(struct random *r) {
    static const size_t most[] = {64, 512, 4096, 40000, 300000};
    return 8 + random_below(r, (unsigned)most[random_below(r, 50) < 48 ? random_below(r, 3)
                                                                       : 3 + random_below(r, 2)]);
}

static struct object make_object(struct random *r) {
    struct object o = {.size = random_size(r), .noscan = random_below(r, 8) == 0};
    o.p = heap_alloc(self(), o.size, o.noscan);
    assert_non_null(o.p);
    memset(o.p, 0, heap_usable(o.p));
    return o;
}

/* An address that leads to the object, or, if only first bytes count, may not. */
static uintptr_t some_address(struct world *w, const struct object *o, bool *ret_counts) {
    size_t at = random_below(&w->random, 3) == 0
                    ? random_below(&w->random, (unsigned)heap_usable(o->p))
                    : 0;
    *ret_counts = at == 0 || w->options.interior;
    return (uintptr_t)o->p + at;
}

static void add_edge(struct world *w, unsigned from, unsigned to) {
    struct object *o = &w->objects[from];
    size_t step = w->options.unaligned ? 1 : 8;
    size_t places = (o->size - 8) / step + 1;
    size_t at = random_below(&w->random, (unsigned)places) * step;
    bool counts;
    for (size_t i = at > 7 ? at - 7 : 0; i < at + 8 && i < o->size; i++)
        if (o->p[i] != 0)
            return; /* another one is there */
    uintptr_t v = some_address(w, &w->objects[to], &counts);
    memcpy(o->p + at, &v, sizeof v);
    w->edge[from][to] |= counts && !o->noscan;
}

static void make_world(struct world *w, unsigned seed) {
    *w = (struct world){.random = {seed}};
    w->options.interior = random_below(&w->random, 4) != 0;
    w->options.unaligned = random_below(&w->random, 4) == 0;
    for (unsigned i = 0; i < OBJECTS; i++) {
        w->objects[i] = make_object(&w->random);
        if (random_below(&w->random, 3) == 0) { /* a hole */
            struct object o = make_object(&w->random);
            memset(o.p, 0xff, o.size);
            release(o.p);
        }
    }
    for (unsigned i = 0; i < EDGES; i++)
        add_edge(w, random_below(&w->random, OBJECTS), random_below(&w->random, OBJECTS));
    for (unsigned i = 0; i < ROOTS; i++) {
        unsigned to = random_below(&w->random, OBJECTS);
        bool counts;
        w->roots[i] = some_address(w, &w->objects[to], &counts);
        w->kept[to] |= counts;
    }
}

static void free_world(struct world *w) {
    for (unsigned i = 0; i < OBJECTS; i++)
        release(w->objects[i].p);
}

/* reach[i][j]: j can be reached from i, by way of leaked objects if so asked. */
static void close_over(const struct world *w, const bool *only, bool reach[OBJECTS][OBJECTS]) {
    for (unsigned i = 0; i < OBJECTS; i++)
        for (unsigned j = 0; j < OBJECTS; j++)
            reach[i][j] = (i == j || w->edge[i][j]) && only[i] && only[j];
    for (unsigned k = 0; k < OBJECTS; k++)
        for (unsigned i = 0; i < OBJECTS; i++)
            for (unsigned j = 0; reach[i][k] && j < OBJECTS; j++)
                reach[i][j] |= reach[k][j];
}

static bool reach[OBJECTS][OBJECTS];

static void find_leaked(const struct world *w, bool *ret_leaked) {
    bool all[OBJECTS];
    memset(all, true, sizeof all);
    memset(ret_leaked, true, OBJECTS);
    close_over(w, all, reach);
    for (unsigned i = 0; i < OBJECTS; i++)
        for (unsigned j = 0; w->kept[i] && j < OBJECTS; j++)
            if (reach[i][j])
                ret_leaked[j] = false;
}

static unsigned object_at(const struct world *w, uintptr_t p) {
    for (unsigned i = 0; i < OBJECTS; i++)
        if ((uintptr_t)w->objects[i].p == p)
            return i;
    fail_msg("%#lx is no object", (unsigned long)p);
    return 0;
}

/* No other leak leads to a head that the head does not lead to. */
static bool may_be_head(const bool *leaked, unsigned h) {
    for (unsigned i = 0; i < OBJECTS; i++)
        if (leaked[i] && reach[i][h] && !reach[h][i])
            return false;
    return true;
}

static void check_heads(const struct world *w, const bool *leaked, const struct leaks *l) {
    bool is_head[OBJECTS] = {false};
    close_over(w, leaked, reach);
    for (size_t i = 0; i < l->n; i++) {
        unsigned object = object_at(w, l->all[i].address);
        unsigned head = object_at(w, l->all[l->all[i].head].address);
        assert_true(reach[head][object]);
        assert_int_equal(l->all[l->all[i].head].head, l->all[i].head);
        is_head[head] = true;
    }
    size_t n = 0;
    for (unsigned h = 0; h < OBJECTS; h++) {
        if (!is_head[h])
            continue;
        n++;
        assert_true(may_be_head(leaked, h));
        for (unsigned g = 0; g < h; g++) /* one of a ring */
            assert_false(is_head[g] && reach[g][h]);
    }
    assert_int_equal(n, l->ndirect);
}

static void check(struct world *w) {
    struct mark m;
    struct leaks l;
    bool leaked[OBJECTS];
    size_t n = 0;
    find_leaked(w, leaked);
    assert_true(mark_begin(&m, &w->options));
    assert_true(m.nlive >= OBJECTS);
    uint64_t already = m.nlive - OBJECTS; /* cmocka's are not ours, the thread's own may be */
    assert_int_equal(already, 0);
    mark_root(&m, w->roots, sizeof w->roots);
    assert_true(mark_all(&m));
    for (unsigned i = 0; i < OBJECTS; i++) {
        assert_int_equal(mark_is_unseen(&m, (uintptr_t)w->objects[i].p), leaked[i]);
        n += leaked[i];
    }
    assert_int_equal(m.nlive - m.nreached, n);
    assert_true(leaks_find(&m, &l));
    assert_int_equal(l.n, n);
    check_heads(w, leaked, &l);
    leaks_free(&l);
    mark_end(&m);
}

static void test_what_is_reached_is_what_a_naive_mark_reaches(void **state) {
    (void)state;
    static struct world w;
    unsigned rounds = 12 * test_rounds();
    for (unsigned i = 0; i < rounds; i++) {
        make_world(&w, 1 + i + 1000 * test_seed());
        check(&w);
        free_world(&w);
    }
}

/* Nothing is kept: all objects have leaked. */
static void find_without_roots(struct mark *m, struct leaks *l) {
    assert_true(mark_begin(m, &(struct mark_options){.interior = true}));
    assert_true(mark_all(m));
    assert_true(leaks_find(m, l));
}

static void test_a_ring_has_one_head_and_what_it_leads_to_none(void **state) {
    (void)state;
    uintptr_t *d = heap_alloc(self(), 64, false);
    uintptr_t *e = heap_alloc(self(), 64, false);
    uintptr_t *f = heap_alloc(self(), 64, false);
    memset(d, 0, 64);
    memset(e, 0, 64);
    memset(f, 0, 64);
    d[0] = (uintptr_t)e;
    e[1] = (uintptr_t)d;
    e[2] = (uintptr_t)f;
    struct mark m;
    struct leaks l;
    find_without_roots(&m, &l);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.ndirect, 1);
    for (size_t i = 0; i < l.n; i++)
        assert_true(l.all[l.all[i].head].address != (uintptr_t)f);
    leaks_free(&l);
    mark_end(&m);
    release(d);
    release(e);
    release(f);
}

/* Returns the head of a ring of two objects of these sizes: the first one's last word is the
 * second's address, whose last word is `back` bytes behind the first one's.  0 or 1; none leads to
 * itself. */
static int head_of_ring(size_t first, size_t second, size_t back) {
    char *p[2] = {heap_alloc(self(), first, false), heap_alloc(self(), second, false)};
    memset(p[0], 0, first);
    memset(p[1], 0, second);
    memcpy(p[0] + first - 8, &(char *){p[1]}, 8);
    memcpy(p[1] + second - 8, &(char *){p[0] + back}, 8);
    struct mark m;
    struct leaks l;
    find_without_roots(&m, &l);
    assert_int_equal(l.n, 2);
    assert_int_equal(l.ndirect, 1);
    uintptr_t head = l.all[l.all[0].head].address;
    leaks_free(&l);
    mark_end(&m);
    release(p[0]);
    release(p[1]);
    return head == (uintptr_t)p[1];
}

/* Whatever lies first in memory, so that rings of one kind have heads of one site. */
static void test_the_head_of_a_ring_is_its_owner_else_the_largest(void **state) {
    (void)state;
    assert_int_equal(head_of_ring(48, 96, 8), 0);
    assert_int_equal(head_of_ring(96, 48, 8), 0);
    assert_int_equal(head_of_ring(48, 96, 0), 1);
    assert_int_equal(head_of_ring(96, 48, 0), 0);
    assert_int_equal(head_of_ring(48, 100000, 0), 1);
    assert_int_equal(head_of_ring(100000, 32768, 0), 0);
    assert_int_equal(head_of_ring(100000, 32768, 50000), 0);
    assert_int_equal(head_of_ring(32, 100000, 16), 0);
}

static void test_what_is_kept_is_reached_with_all_it_leads_to(void **state) {
    (void)state;
    uintptr_t *a = heap_alloc(self(), 48, false);
    uintptr_t *b = heap_alloc(self(), 100000, false);
    memset(a, 0, 48);
    memset(b, 0, 100000);
    a[5] = (uintptr_t)b + 99999; /* the last byte counts, the one behind it does not */
    struct mark m;
    assert_true(mark_begin(&m, &(struct mark_options){.interior = true}));
    mark_keep(&m, (uintptr_t)a);
    assert_true(mark_all(&m));
    assert_int_equal(m.nreached, 2);
    mark_end(&m);
    a[5] = (uintptr_t)b + ((100000 + 8191) & ~8191);
    assert_true(mark_begin(&m, &(struct mark_options){.interior = true}));
    mark_keep(&m, (uintptr_t)a);
    assert_true(mark_all(&m));
    assert_int_equal(m.nreached, 1);
    assert_int_equal(mark_next_unseen(&m, 0), (uintptr_t)b);
    assert_int_equal(mark_next_unseen(&m, (uintptr_t)b + 1), 0);
    mark_end(&m);
    release(a);
    release(b);
}

/* Spans of 10 KiB objects have 5 pages, which do not divide an arena. */
static void test_a_span_may_lie_in_two_arenas(void **state) {
    enum { SIZE = 10240 };
    uintptr_t *last = NULL, *p, first = 0, second = 0; /* arenas */
    size_t n = HEAP_ARENA_BYTES / SIZE * 5 / 4, across = 0;
    (void)state;
    for (size_t i = 0; i < n; i++, last = p) {
        p = heap_alloc(self(), SIZE, false);
        assert_non_null(p);
        memset(p, 0, SIZE);
        *p = (uintptr_t)last;
        const struct mspan *s = mheap_span_covering((uintptr_t)p);
        uintptr_t arena = (uintptr_t)p / HEAP_ARENA_BYTES;
        first = first == 0 ? arena : first;
        second = arena != first ? arena : second;
        across += s->base / HEAP_ARENA_BYTES != arena;
    }
    if (second != first + 1)
        print_message("the kernel has not put the arenas side by side: no span lies in two\n");
    else
        assert_true(across > 0);
    struct mark m;
    assert_true(mark_begin(&m, &(struct mark_options){.interior = true}));
    assert_int_equal(m.nlive, n);
    assert_int_equal(mark_root(&m, &last, sizeof last), 1);
    assert_true(mark_all(&m));
    assert_int_equal(m.nreached, n);
    assert_int_equal(mark_next_unseen(&m, 0), 0);
    mark_end(&m);
    for (; last != NULL; last = p) {
        p = (uintptr_t *)*last;
        release(last);
    }
}

static void test_a_heap_without_objects_has_nothing_to_reach(void **state) {
    (void)state;
    struct mark m;
    uintptr_t words[2] = {(uintptr_t)&m, 4096};
    assert_true(mark_begin(&m, &(struct mark_options){.interior = true}));
    assert_int_equal(mark_root(&m, words, sizeof words), 0);
    assert_true(mark_all(&m));
    assert_int_equal(m.nlive, 0);
    assert_int_equal(mark_next_unseen(&m, 0), 0);
    mark_end(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_heap_without_objects_has_nothing_to_reach),
        cmocka_unit_test(test_a_span_may_lie_in_two_arenas),
        cmocka_unit_test(test_what_is_kept_is_reached_with_all_it_leads_to),
        cmocka_unit_test(test_a_ring_has_one_head_and_what_it_leads_to_none),
        cmocka_unit_test(test_the_head_of_a_ring_is_its_owner_else_the_largest),
        cmocka_unit_test(test_what_is_reached_is_what_a_naive_mark_reaches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
