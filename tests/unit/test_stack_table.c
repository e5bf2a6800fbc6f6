/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack table and a thread's trail: what is interned comes back, once, whoever asks and at the
 * same time.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "gomalloc/image.h"
#include "prof/sampling.h"
#include "prof/stack_table.h"
#include "prof/trail.h"

#define MAX_DEPTH 128

static struct stack_table *new_table(uint32_t max) {
    static struct stack_table tables[16]; /* never freed: nor is the library's */
    static unsigned used;
    struct stack_table *t = &tables[used++];
    assert_true(used <= 16);
    assert_true(stack_table_init(t, max));
    return t;
}

/* stack_table_intern of a whole stack. */
static uint32_t intern(struct stack_table *t, const uint64_t *pcs, unsigned n) {
    uint32_t nodes[MAX_DEPTH];
    uint64_t hashes[MAX_DEPTH];
    stack_path_hashes(0, pcs, n, hashes);
    return stack_table_intern(t, 0, pcs, hashes, n, nodes);
}

/* A stack that depends on seed alone: few distinct addresses, so that many prefixes are shared. */
static unsigned make_stack(uint64_t seed, uint64_t *pcs) {
    uint64_t rng = seed;
    unsigned n = 1 + sampling_random(&rng) % (MAX_DEPTH - 1);
    for (unsigned i = n; i-- > 0;)
        pcs[i] = 0x7f0000001000 + sampling_random(&rng) % 3 * 16;
    return n;
}

static void assert_stack(const struct stack_table *t, uint32_t node, const uint64_t *pcs,
                         unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(stack_node_pc(&t->nodes[node]), pcs[i]);
        assert_int_equal(stack_node_depth(&t->nodes[node]), n - i);
        assert_true(t->nodes[node].parent < node);
        node = t->nodes[node].parent;
    }
    assert_int_equal(node, 0);
}

static void a_new_table_has_the_site_of_no_stack(void **state) {
    (void)state;
    struct stack_table *t = new_table(1000);
    assert_int_equal(t->nnodes, 0);
    assert_int_equal(t->nsites, 1);
    assert_int_equal(t->sites[STACK_SITE_NONE].node, 0);
    assert_int_equal(t->sites[STACK_SITE_NONE].flags, GOMALLOC_SITE_STOPPED);
    assert_true(stack_table_consistent(t));
}

static void a_stack_reads_back_as_interned(void **state) {
    (void)state;
    struct stack_table *t = new_table(0);
    uint64_t pcs[MAX_DEPTH];
    uint32_t nodes[MAX_DEPTH];
    uint64_t hashes[MAX_DEPTH];
    for (uint64_t seed = 0; seed < 3000; seed++) {
        unsigned n = make_stack(seed, pcs);
        stack_path_hashes(0, pcs, n, hashes);
        uint32_t node = stack_table_intern(t, 0, pcs, hashes, n, nodes);
        assert_int_equal(nodes[0], node);
        for (unsigned i = 1; i < n; i++)
            assert_int_equal(nodes[i], t->nodes[nodes[i - 1]].parent);
        assert_stack(t, node, pcs, n);
        assert_int_equal(intern(t, pcs, n), node);
    }
    assert_true(t->nnodes > 100000); /* the hash has grown several times */
    assert_true(stack_table_consistent(t));
}

static void stacks_share_their_outer_frames(void **state) {
    (void)state;
    struct stack_table *t = new_table(1000);
    const uint64_t f[] = {0x30, 0x20, 0x10};
    const uint64_t g[] = {0x40, 0x20, 0x10};
    uint32_t nodes[3];
    uint64_t hashes[3];
    stack_path_hashes(0, f, 3, hashes);
    uint32_t a = stack_table_intern(t, 0, f, hashes, 3, nodes);
    uint32_t b = intern(t, g, 3);
    assert_int_equal(t->nnodes, 4);
    assert_int_equal(t->nodes[a].parent, t->nodes[b].parent);
    /* continued from a node instead of from the root */
    stack_path_hashes(hashes[1], g, 1, hashes);
    assert_int_equal(stack_table_intern(t, nodes[1], g, hashes, 1, nodes), b);
}

static void sites_are_dense_and_one_for_each_node(void **state) {
    (void)state;
    struct stack_table *t = new_table(1000);
    for (uint64_t i = 1; i <= 500; i++) {
        uint64_t pc = i * 16;
        uint32_t node = intern(t, &pc, 1);
        uint32_t site = stack_table_site(t, node, 0);
        assert_int_equal(site, i + 1);
        assert_int_equal(stack_table_site(t, node, 0), site);
        assert_int_equal(t->sites[site].node, node);
    }
    assert_true(stack_table_consistent(t));
}

static void flags_of_a_site_add_up(void **state) {
    (void)state;
    struct stack_table *t = new_table(1000);
    uint64_t pc = 16;
    uint32_t node = intern(t, &pc, 1);
    uint32_t site = stack_table_site(t, node, 0);
    assert_int_equal(t->sites[site].flags, 0);
    stack_table_site(t, node, GOMALLOC_SITE_TRUNCATED);
    stack_table_site(t, node, 0);
    assert_int_equal(t->sites[site].flags, GOMALLOC_SITE_TRUNCATED);
}

static void a_full_table_says_so_and_keeps_what_it_has(void **state) {
    (void)state;
    struct stack_table *t = new_table(1000);
    uint32_t got = 0;
    for (uint64_t i = 1; i <= 1500; i++) {
        uint64_t pc = i * 16;
        got += intern(t, &pc, 1) != 0;
    }
    assert_int_equal(got, 1000);
    assert_int_equal(t->nfull, 500);
    uint64_t pc = 16;
    assert_int_equal(intern(t, &pc, 1), 1);
    assert_true(stack_table_consistent(t));
}

static void a_trail_gives_the_sites_that_the_table_gives(void **state) {
    (void)state;
    struct stack_table *t = new_table(0);
    struct trail trail = {0};
    uint64_t pcs[MAX_DEPTH];
    uint64_t rng = 3;
    trail_init(&trail, MAX_DEPTH);
    unsigned n = make_stack(1, pcs);
    for (int i = 0; i < 20000; i++) {
        /* return from some frames, call others: what programs do */
        unsigned drop = (unsigned)(sampling_random(&rng) % 6);
        unsigned push = (unsigned)(sampling_random(&rng) % 6);
        drop = drop < n ? drop : n - 1;
        unsigned rest = n - drop;
        push = rest + push <= MAX_DEPTH ? push : MAX_DEPTH - rest;
        memmove(pcs + push, pcs + drop, rest * sizeof *pcs);
        for (unsigned k = 0; k < push; k++)
            pcs[k] = 0x1000 + sampling_random(&rng) % 4 * 16;
        n = rest + push;
        uint32_t fresh;
        uint32_t flags = i % 7 == 0 ? GOMALLOC_SITE_TRUNCATED : 0;
        /* some of those that are the same are only said to be */
        unsigned known = i == 0 ? 0 : (unsigned)(sampling_random(&rng) % (rest + 1));
        uint64_t said[MAX_DEPTH];
        memset(said, 0xff, sizeof said);
        memcpy(said, pcs, (n - known) * sizeof *pcs);
        uint32_t site = trail_intern(&trail, t, said, n, known, flags, &fresh);
        assert_true(fresh <= n);
        uint32_t node = intern(t, pcs, n);
        assert_int_equal(site, stack_table_site(t, node, 0));
        assert_true((t->sites[site].flags & flags) == flags);
        assert_stack(t, node, pcs, n);
    }
    assert_true(stack_table_consistent(t));
}

static void a_trail_survives_a_full_table(void **state) {
    (void)state;
    struct stack_table *t = new_table(50);
    struct trail trail = {0};
    uint64_t pcs[MAX_DEPTH];
    uint32_t fresh;
    unsigned none = 0;
    trail_init(&trail, MAX_DEPTH);
    for (uint64_t seed = 0; seed < 200; seed++) {
        unsigned n = make_stack(seed % 20, pcs);
        uint32_t site = trail_intern(&trail, t, pcs, n, 0, 0, &fresh);
        if (site != 0)
            assert_stack(t, t->sites[site].node, pcs, n);
        else
            none++;
    }
    assert_true(none > 0 && t->nfull == none);
    assert_true(stack_table_consistent(t));
}

#define NTHREADS 4
#define NSTACKS  2000

struct worker {
    pthread_t thread;
    struct stack_table *table;
    uint64_t seed;
    uint32_t sites[NSTACKS];
};

/* Each thread meets the same stacks in an order of its own, half of them through a trail. */
static void *intern_all(void *arg) {
    struct worker *w = arg;
    struct trail trail = {0};
    uint64_t pcs[MAX_DEPTH];
    uint32_t fresh;
    trail_init(&trail, MAX_DEPTH);
    for (uint64_t i = 0; i < NSTACKS; i++) {
        uint64_t k = (i * 7 + w->seed * 501) % NSTACKS;
        unsigned n = make_stack(k, pcs);
        if (i % 2 == 0) {
            w->sites[k] = trail_intern(&trail, w->table, pcs, n, 0, 0, &fresh);
        } else {
            uint32_t node = intern(w->table, pcs, n);
            w->sites[k] = stack_table_site(w->table, node, 0);
        }
    }
    return w;
}

static void threads_interning_the_same_stacks_get_the_same_sites(void **state) {
    (void)state;
    static struct worker w[NTHREADS];
    struct stack_table *t = new_table(0);
    for (uint64_t i = 0; i < NTHREADS; i++) {
        w[i].table = t;
        w[i].seed = i;
        assert_int_equal(pthread_create(&w[i].thread, NULL, intern_all, &w[i]), 0);
    }
    for (int i = 0; i < NTHREADS; i++) {
        void *ret;
        pthread_join(w[i].thread, &ret);
        assert_ptr_equal(ret, &w[i]);
    }
    uint64_t pcs[MAX_DEPTH];
    for (uint64_t k = 0; k < NSTACKS; k++) {
        unsigned n = make_stack(k, pcs);
        assert_stack(t, t->sites[w[0].sites[k]].node, pcs, n);
        for (int i = 1; i < NTHREADS; i++)
            assert_int_equal(w[i].sites[k], w[0].sites[k]);
    }
    assert_true(stack_table_consistent(t));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_table_has_the_site_of_no_stack),
        cmocka_unit_test(a_stack_reads_back_as_interned),
        cmocka_unit_test(stacks_share_their_outer_frames),
        cmocka_unit_test(sites_are_dense_and_one_for_each_node),
        cmocka_unit_test(flags_of_a_site_add_up),
        cmocka_unit_test(a_full_table_says_so_and_keeps_what_it_has),
        cmocka_unit_test(a_trail_gives_the_sites_that_the_table_gives),
        cmocka_unit_test(a_trail_survives_a_full_table),
        cmocka_unit_test(threads_interning_the_same_stacks_get_the_same_sites),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
