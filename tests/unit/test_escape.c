/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Judged objects: records, figures that add up, who is judged.  The verdicts themselves are in
 * tests/preload/escaping.bats, on a program; here what it can't be brought to.  allocate() and
 * release() are malloc's and free's side of the contract.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "capture_program.h"
#include "heap/malloc.h"
#include "prof/prof.h"
#include "prof/thread.h"
#include "random.h"
#include "sanitized.h"

static struct mcache *self(void) {
    return mcache_self != &mcache0 ? mcache_self : mcache_attach();
}

static void *allocate(size_t size) {
    struct mcache *c = self();
    __atomic_store_n(&c->next_sample, c->next_sample - (int64_t)size, __ATOMIC_RELAXED);
    struct prof_sample s;
    bool take = prof_sample(c, size, &s);
    void *p = heap_alloc(c, size, false);
    if (take && p != NULL)
        prof_record(c, p, size, &s);
    return p;
}

static void release(void *p) {
    enum free_result r = heap_free_slow((uintptr_t)p);
    if (r == FREE_ASK) {
        prof_freed(p);
        r = heap_free_slow((uintptr_t)p);
    }
    assert_int_equal(r, FREE_OK);
}

static uint32_t tag_of(void *p) {
    size_t slot;
    struct mspan *s = heap_find(p, &slot);
    assert_non_null(s);
    return mslots_tag(s, slot);
}

static struct escape_summary summary(uint32_t site) {
    struct escape_summary s;
    escape_site_read(&escape.sites, site, &s);
    uint64_t sum = 0;
    for (unsigned i = 0; i < ESCAPE_NVERDICTS; i++)
        sum += s.verdicts[i];
    assert_int_equal(sum, s.freed);
    assert_true(s.freed <= s.judged);
    return s;
}

/* ---- records ------------------------------------------------------------------------------ */

static struct mutex pool_lock = MUTEX_INIT(LOCK_RANK_ESCAPE);

static void a_record_is_nobody_elses_until_given_back(void **state) {
    (void)state;
    enum { BOUND = 1024 };
    struct escape_pool pool = {0};
    struct escape_cache cache = {0};
    static bool taken[BOUND];
    uint32_t n = 0, i;
    assert_true(escape_pool_init(&pool, BOUND));
    while ((i = escape_pool_take(&pool, &cache, BOUND, &pool_lock)) != 0) {
        assert_true(i < BOUND && !taken[i]);
        taken[i] = true;
        n++;
    }
    assert_true(n >= BOUND - 2 * ESCAPE_BATCH);
    assert_int_equal(escape_pool_used(&pool), n);
    for (i = 1; i < BOUND; i++) {
        if (taken[i])
            escape_pool_give(&pool, i % 3 != 0 ? &cache : NULL, i);
    }
    assert_true(escape_pool_used(&pool) < 2 * ESCAPE_BATCH);
    uint32_t again = 0;
    while (escape_pool_take(&pool, &cache, BOUND, &pool_lock) != 0)
        again++;
    assert_int_equal(again, n);
    mem_table_free(&pool.table);
}

struct pool_user {
    struct escape_pool *pool;
    uint32_t id;
    bool ok;
};

static void *use_pool(void *arg) {
    struct pool_user *u = arg;
    struct escape_cache cache = {0};
    struct random r = {u->id};
    uint32_t mine[100], n = 0;
    u->ok = true;
    for (int i = 0; i < 50000; i++) {
        if (n < 100 && random_below(&r, 2) == 0) {
            uint32_t k = escape_pool_take(u->pool, &cache, 1 << 16, &pool_lock);
            u->ok = u->ok && k != 0;
            escape_pool_at(u->pool, k)->thread = u->id;
            mine[n++] = k;
        } else if (n != 0) {
            uint32_t k = mine[--n];
            u->ok = u->ok && escape_pool_at(u->pool, k)->thread == u->id;
            escape_pool_give(u->pool, i % 5 != 0 ? &cache : NULL, k);
        }
    }
    while (n != 0)
        escape_pool_give(u->pool, NULL, mine[--n]);
    return NULL;
}

static void threads_never_share_a_record(void **state) {
    (void)state;
    struct escape_pool pool = {0};
    pthread_t t[4];
    struct pool_user u[4];
    assert_true(escape_pool_init(&pool, 1 << 16));
    for (uint32_t i = 0; i < 4; i++) {
        u[i] = (struct pool_user){.pool = &pool, .id = i + 1};
        assert_int_equal(pthread_create(&t[i], NULL, use_pool, &u[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(t[i], NULL);
        assert_true(u[i].ok);
    }
    assert_true(pool.made <= 1 + 4 * (100 + 3 * ESCAPE_BATCH) + ESCAPE_BATCH);
    mem_table_free(&pool.table);
}

/* ---- figures ------------------------------------------------------------------------------ */

static struct mutex sites_lock = MUTEX_INIT(LOCK_RANK_ESCAPE);

static void end_one(struct escape_sites *t, uint32_t site, struct escape_end e, uint32_t bound) {
    atomic_fetch_add(&escape_site_at(t, site)->judged, 1);
    mutex_lock(t->lock);
    escape_site_end(t, site, &e, bound);
    mutex_unlock(t->lock);
}

/* The figures are the same whether kept one by one or as counts. */
static void figures_of_a_site_add_up_at_every_number_of_objects(void **state) {
    (void)state;
    struct escape_sites t = {0};
    struct random r = {7};
    uint64_t verdicts[ESCAPE_NVERDICTS] = {0}, frames[12] = {0}, proved[12] = {0}, growths = 0,
             chains = 0;
    assert_true(escape_sites_init(&t, &sites_lock) && escape_sites_open(&t, 5000));
    for (uint64_t n = 1; n <= 3000; n++) {
        struct escape_end e = {.verdict = random_below(&r, ESCAPE_NVERDICTS), .life_ns = n};
        e.growths = random_below(&r, 3) == 0 ? (uint32_t)random_below(&r, 9) : 0;
        e.frames = e.verdict == ESCAPE_OUTLIVED ? (uint32_t)random_below(&r, 12) : 0;
        e.proved = e.verdict == ESCAPE_OUTLIVED && random_below(&r, 2) == 0;
        verdicts[e.verdict]++;
        if (e.verdict == ESCAPE_OUTLIVED) {
            frames[e.frames]++;
            proved[e.frames] += e.proved;
        }
        growths += e.growths;
        chains += e.growths != 0;
        end_one(&t, 5000, e, 1);
        struct escape_summary s;
        assert_true(escape_site_read(&t, 5000, &s));
        assert_int_equal(s.judged, n);
        assert_int_equal(s.freed, n);
        assert_memory_equal(s.verdicts, verdicts, sizeof verdicts);
        assert_int_equal(s.growths, growths);
        assert_int_equal(s.chains, chains);
        uint64_t kept = s.more.objects;
        for (uint32_t i = 0; i < s.noutlived; i++) {
            kept += s.outlived[i].objects;
            assert_int_equal(s.outlived[i].objects, frames[s.outlived[i].frames]);
            assert_int_equal(s.outlived[i].proved, proved[s.outlived[i].frames]);
        }
        assert_int_equal(kept, verdicts[ESCAPE_OUTLIVED]);
        assert_true(s.life_ns[0] >= (double)n / 4 && s.life_ns[0] <= (double)n);
    }
    assert_true(escape_site_usual(&t, 5000) < 12);
    assert_int_equal(escape_site_usual(&t, 4999), 0);
}

static void what_there_is_no_room_for_was_not_judged(void **state) {
    (void)state;
    struct escape_sites t = {0};
    assert_true(escape_sites_init(&t, &sites_lock) && escape_sites_open(&t, 2));
    for (int i = 0; i < 10; i++)
        for (uint32_t site = 1; site <= 2; site++)
            end_one(&t, site, (struct escape_end){.verdict = ESCAPE_DEEP}, 1);
    struct escape_summary s;
    assert_true(escape_site_read(&t, 1, &s));
    assert_int_equal(s.judged, 10);
    assert_true(escape_site_read(&t, 2, &s));
    assert_int_equal(s.judged, 3);
    assert_int_equal(s.freed, 3);
    assert_int_equal(t.nfull, 7);
    assert_false(escape_sites_open(&t, ESCAPE_SITES_MAX));
}

/* ---- handovers ---------------------------------------------------------------------------- */

static void handovers_are_counted_by_site_and_threads_and_the_rest_in_one(void **state) {
    (void)state;
    static struct handover_table t;
    prctl(PR_SET_NAME, "somebody");
    handover_note_thread(&t, 7);
    for (uint32_t i = 0; i < 3 * (HANDOVERS + 100); i++)
        handover_add(&t, 1 + i % (HANDOVERS + 100), 7, 8);
    assert_int_equal(t.n, HANDOVERS);
    assert_int_equal(t.rest, 3 * 100);
    for (uint32_t i = 0; i < t.n; i++) {
        assert_int_equal(t.all[i].site, i + 1);
        assert_int_equal(t.all[i].objects, 3);
        assert_int_equal(t.all[i].from_tid, gettid());
        assert_string_equal(t.all[i].from_comm, "somebody");
    }
}

/* A thread is named after it has begun, often by whoever has made it. */
static void a_handover_has_the_names_that_threads_were_given_later(void **state) {
    (void)state;
    static struct handover_table t;
    prctl(PR_SET_NAME, "program");
    handover_note_thread(&t, 7);
    handover_add(&t, 1, 7, 8);
    assert_string_equal(t.all[0].to_comm, "program");
    prctl(PR_SET_NAME, "named");
    handover_note_thread(&t, 7);
    handover_add(&t, 1, 7, 8);
    assert_string_equal(t.all[0].from_comm, "named");
    assert_string_equal(t.all[0].to_comm, "named");
}

/* ---- judging ------------------------------------------------------------------------------ */

static __thread void *made;
static __thread uint32_t made_tag;

static __thread int32_t leave = 1000; /* whatever time it takes */

static __attribute__((noinline)) void make(struct program_run *run) {
    (void)run;
    prof_thread_of(self())->escape.leave = leave;
    made = allocate(64);
    made_tag = tag_of(made);
}

/* make_at allocates at a site of its own for each depth. */
static void *make_at(unsigned depth) {
    uint64_t pcs[128];
    struct program_run run = {.visit = make, .pcs = pcs};
    program_recurse(&run, depth);
    return made;
}

static void start(void **state) {
    (void)state;
    prof_set_rate(1);
    prof_init(&(struct prof_options){.rate = 1, .escape = ESCAPE_ON});
    assert_string_equal(prof_unwinder(), "replay");
}

static void of_a_sites_objects_the_first_64_are_looked_at_and_ever_fewer_then(void **state) {
    (void)state;
    unsigned at[5] = {0}; /* of 0..63, 64..1023, ..16383, ..131071, and the rest */
    uint32_t site = 0;
    for (int i = 0; i < 300000; i++) {
        void *p = make_at(3);
        bool judged = (made_tag & MSLOTS_ASK) != 0;
        site = prof_tag_site(made_tag);
        at[i < 64 ? 0 : i < 1024 ? 1 : i < 16384 ? 2 : i < 131072 ? 3 : 4] += judged;
        release(p);
    }
    assert_int_equal(at[0], 64);
    assert_in_range(at[1], 960 / 8, 960 / 2);
    assert_in_range(at[2], 15360 / 16 * 8 / 10, 15360 / 16 * 2);
    assert_in_range(at[3], 114688 / 16 * 9 / 10, 114688 / 16 * 11 / 10);
    assert_in_range(at[4], 168928 / 64 * 8 / 10, 168928 / 16);
    assert_int_equal(summary(site).judged, at[0] + at[1] + at[2] + at[3] + at[4]);
    assert_int_equal(summary(site).freed, summary(site).judged);
}

static void no_more_live_of_a_site_than_there_is_room_for(void **state) {
    (void)state;
    enum { N = 2000 };
    static void *all[N];
    uint32_t site = 0;
    for (int i = 0; i < N; i++) {
        all[i] = make_at(5);
        site = prof_tag_site(made_tag);
    }
    assert_int_equal(summary(site).judged, 16);
    for (int i = 0; i < N; i++)
        release(all[i]);
    assert_int_equal(summary(site).freed, 16);
    release(make_at(5));
}

/* Of a program's last function as much is seen as of its first. */
static void sites_that_are_new_find_leave_where_others_have_used_theirs(void **state) {
    (void)state;
    struct escape_self *e = &prof_thread_of(self())->escape;
    for (volatile unsigned i = 0; i < 128; i++) { /* volatile: one call, one return address */
        leave = i < 64 ? 1000 : ESCAPE_RESERVE;
        e->nrefused = 1; /* the clock is not looked at */
        release(make_at(7));
        bool judged = (made_tag & MSLOTS_ASK) != 0;
        if (i < 64) {
            assert_true(judged);
            continue;
        }
        assert_false(judged);
        release(make_at(9));
        assert_int_equal((made_tag & MSLOTS_ASK) != 0, i < 64 + ESCAPE_NEW);
    }
    leave = 1000;
}

static void *release_elsewhere(void *p) {
    release(p);
    return NULL;
}

static void in_thread(void *(*f)(void *), void *arg) {
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, f, arg), 0);
    pthread_join(t, NULL);
}

static void a_thread_that_has_never_allocated_is_another_one(void **state) {
    (void)state;
    void *p = make_at(7);
    assert_true((made_tag & MSLOTS_ASK) != 0);
    in_thread(release_elsewhere, p);
    assert_int_equal(summary(prof_tag_site(made_tag)).verdicts[ESCAPE_OTHER_THREAD], 0 + 1);
}

/* As a signal handler does that has interrupted the recorder. */
static void within_the_recorder_nothing_is_told_and_nothing_judged(void **state) {
    (void)state;
    void *made_here[2];
    for (volatile int i = 0; i < 2; i++)
        made_here[i] = make_at(9);
    void *p = made_here[0], *q = made_here[1];
    uint32_t site = prof_tag_site(made_tag);
    struct escape_self before = prof_thread_of(self())->escape;
    atomic_store(&self()->in_recorder, 1);
    release(p);
    void *r = allocate(64);
    assert_int_equal(tag_of(r), PROF_SITE_NONE);
    release(r);
    atomic_store(&self()->in_recorder, 0);
    assert_int_equal(prof_thread_of(self())->escape.records.n, before.records.n);
    struct escape_summary s = summary(site);
    assert_int_equal(s.judged, 2);
    assert_int_equal(s.verdicts[ESCAPE_STOPPED], 1);
    assert_int_equal(s.freed, 1);
    release(q);
    assert_int_equal(summary(site).freed, 2);
    assert_int_equal(summary(site).verdicts[ESCAPE_STOPPED], 1);
}

struct number {
    uint32_t first, second;
};

static void *take_number(void *arg) {
    struct number *n = arg;
    n->first = escape_thread();
    void *p = allocate(100);
    release(p);
    mcache_detach();
    n->second = escape_thread(); /* without an mcache, and the next thread has it */
    return NULL;
}

static void a_threads_number_is_its_own_whatever_mcache_it_has(void **state) {
    (void)state;
    struct number a, b;
    in_thread(take_number, &a);
    in_thread(take_number, &b);
    assert_int_equal(a.first, a.second);
    assert_int_equal(b.first, b.second);
    assert_true(a.first != b.first && a.first != escape_thread() && b.first != escape_thread());
}

/* Two threads free one object: it is judged once. */
struct race {
    void *p[500];
    pthread_barrier_t barrier;
    uint32_t freed;
};

static void *race_to_free(void *arg) {
    struct race *r = arg;
    for (int i = 0; i < 500; i++) {
        pthread_barrier_wait(&r->barrier);
        prof_freed(r->p[i]);
    }
    return NULL;
}

static void of_two_that_free_an_object_one_judges_it(void **state) {
    (void)state;
    static struct race r;
    uint64_t before = 0, after = 0;
    for (int i = 0; i < 500; i++)
        r.p[i] = make_at(11 + (unsigned)i % 50);
    pthread_t t[2];
    for (uint32_t site = 1; site <= prof_nsites(); site++)
        before += summary(site).freed;
    pthread_barrier_init(&r.barrier, NULL, 2);
    unsigned judged = 0;
    for (int i = 0; i < 500; i++)
        judged += (tag_of(r.p[i]) & MSLOTS_ASK) != 0;
    assert_true(judged > 100);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, race_to_free, &r), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    for (uint32_t site = 1; site <= prof_nsites(); site++)
        after += summary(site).freed;
    assert_int_equal(after - before, judged);
    for (int i = 0; i < 500; i++)
        release(r.p[i]);
}

/* A chain goes on where realloc moves it, sampled there or not, and back if it can't. */
static void a_chain_is_of_the_site_where_it_began(void **state) {
    (void)state;
    void *p = make_at(71);
    uint32_t site = prof_tag_site(made_tag);
    size_t slot;
    struct mspan *s = heap_find(p, &slot);
    uint32_t chain = prof_chain_take(s, slot);
    assert_int_equal(chain, made_tag & ~MSLOTS_ASK);
    assert_int_equal(tag_of(p), site);
    prof_chain_put_back(s, slot, chain);
    assert_int_equal(tag_of(p), made_tag);
    assert_int_equal(escape_record_at(chain)->growths, 0);
    chain = prof_chain_take(s, slot);
    void *q = heap_alloc(self(), 200, false);
    prof_chain_on(q, 200, chain);
    assert_int_equal(tag_of(q), chain | MSLOTS_ASK);
    assert_int_equal(prof_tag_site(tag_of(q)), 0);
    release(p);
    assert_int_equal(summary(site).freed, 0);
    release(q);
    struct escape_summary sum = summary(site);
    assert_int_equal(sum.judged, 1);
    assert_int_equal(sum.freed, 1);
    assert_int_equal(sum.chains, 1);
    assert_int_equal(sum.growths, 1);
    assert_true(sum.final_size[0] == 200);
}

static void the_clock_of_bytes_counts_what_was_asked_for_meanwhile(void **state) {
    (void)state;
    void *p = make_at(73);
    uint32_t site = prof_tag_site(made_tag);
    for (int i = 0; i < 1000; i++)
        release(allocate(123));
    release(p);
    assert_true(summary(site).life_bytes[0] == 123000);
}

static void judging_goes_on_when_the_rate_changes(void **state) {
    (void)state;
    for (volatile uint64_t i = 1; i <= 3; i++) {
        void *p = make_at(75);
        uint32_t site = prof_tag_site(made_tag);
        prof_set_rate(0);
        release(p);
        prof_set_rate(1);
        assert_int_equal(summary(site).freed, i);
    }
}

static void a_forked_child_judges_its_parents_objects(void **state) {
    (void)state;
    if (SANITIZED)
        skip();
    void *p = make_at(77);
    uint32_t site = prof_tag_site(made_tag);
    prof_fork_prepare();
    pid_t pid = fork();
    if (pid == 0) {
        prof_fork_child();
        release(p);
        struct escape_summary s = summary(site);
        _exit(s.freed == 1 && s.verdicts[ESCAPE_OTHER_THREAD] == 0 ? 0 : 1);
    }
    prof_fork_parent();
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(summary(site).freed, 0);
    release(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_nobody_elses_until_given_back),
        cmocka_unit_test(threads_never_share_a_record),
        cmocka_unit_test(figures_of_a_site_add_up_at_every_number_of_objects),
        cmocka_unit_test(what_there_is_no_room_for_was_not_judged),
        cmocka_unit_test(handovers_are_counted_by_site_and_threads_and_the_rest_in_one),
        cmocka_unit_test(a_handover_has_the_names_that_threads_were_given_later),
        cmocka_unit_test(start),
        cmocka_unit_test(of_a_sites_objects_the_first_64_are_looked_at_and_ever_fewer_then),
        cmocka_unit_test(no_more_live_of_a_site_than_there_is_room_for),
        cmocka_unit_test(sites_that_are_new_find_leave_where_others_have_used_theirs),
        cmocka_unit_test(a_thread_that_has_never_allocated_is_another_one),
        cmocka_unit_test(within_the_recorder_nothing_is_told_and_nothing_judged),
        cmocka_unit_test(a_threads_number_is_its_own_whatever_mcache_it_has),
        cmocka_unit_test(of_two_that_free_an_object_one_judges_it),
        cmocka_unit_test(a_chain_is_of_the_site_where_it_began),
        cmocka_unit_test(the_clock_of_bytes_counts_what_was_asked_for_meanwhile),
        cmocka_unit_test(judging_goes_on_when_the_rate_changes),
        cmocka_unit_test(a_forked_child_judges_its_parents_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
