/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The history: its table alone, on figures that are made up, and its walk over a real heap.  Time
 * is a number here, so nothing depends on how long the test takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "heap/malloc.h"
#include "prof/history.h"
#include "prof/prof.h"
#include "sys/lock.h"

#define MINUTE UINT64_C(60000000000)

/* ---- the table ---------------------------------------------------------------------------- */

static struct history *new_history(void) {
    struct history *h = calloc(1, sizeof *h);
    assert_non_null(h);
    history_clear(h, 1);
    return h;
}

/* row_of returns the row of a site, 0: it is not followed. */
static uint32_t row_of(const struct history *h, uint32_t site) {
    for (uint32_t row = 1; row < h->nrows; row++)
        if (h->sites[row].site == site)
            return row;
    return 0;
}

/* tick_of makes a tick at which site i holds bytes[i], in objects of 8 bytes. */
static void tick_of(struct history *h, const double *bytes, uint32_t nsites, uint64_t when_ns) {
    history_begin(h, nsites);
    for (uint32_t i = 1; i <= nsites; i++) {
        history_add_live(h, i, bytes[i], bytes[i] / 8);
        history_add_alloc(h, i, 2 * bytes[i]);
    }
    history_commit(h, when_ns, 4096);
    assert_true(history_consistent(h));
}

static void while_there_is_room_every_site_is_followed(void **state) {
    (void)state;
    struct history *h = new_history();
    double bytes[HISTORY_SITES + 1];
    for (uint32_t i = 0; i <= HISTORY_SITES; i++)
        bytes[i] = i % 3 == 0 ? 0 : i;
    tick_of(h, bytes, HISTORY_SITES, MINUTE);
    for (uint32_t i = 1; i <= HISTORY_SITES; i++) {
        uint32_t row = row_of(h, i);
        assert_true(row != 0);
        assert_true(h->points[0][row].live_bytes == bytes[i]);
        assert_true(h->points[0][row].live_objects == bytes[i] / 8);
        assert_true(h->points[0][row].alloc_bytes == 2 * bytes[i]);
    }
    assert_true(h->points[0][0].live_bytes == 0);
    free(h);
}

static void the_rows_of_a_tick_add_up_whoever_is_followed(void **state) {
    (void)state;
    enum { N = 3 * HISTORY_WINDOW };
    struct history *h = new_history();
    static double bytes[N + 1];
    uint64_t random = 1;
    for (unsigned t = 1; t <= 200; t++) {
        double sum = 0;
        for (uint32_t i = 1; i <= N; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            if (t == 1 || random >> 60 == 0) /* a new size now and then */
                bytes[i] = (double)(random >> 40);
            sum += bytes[i];
        }
        tick_of(h, bytes, N, t * MINUTE);
        assert_true(h->ticks[h->nticks - 1].all.live_bytes == sum);
    }
    assert_int_equal(h->nrows, 1 + HISTORY_SITES);
    free(h);
}

static void who_grows_comes_to_be_followed_and_stays(void **state) {
    (void)state;
    enum { N = 3 * HISTORY_WINDOW, GROWER = 2 * HISTORY_WINDOW + 7 };
    struct history *h = new_history();
    static double bytes[N + 1];
    for (uint32_t i = 1; i <= N; i++)
        bytes[i] = 1000;
    for (unsigned t = 1; t <= 40; t++) {
        bytes[GROWER] = 100.0 * t;
        tick_of(h, bytes, N, t * MINUTE);
    }
    uint32_t row = row_of(h, GROWER);
    assert_true(row != 0);
    uint32_t first = h->sites[row].first;
    for (unsigned t = 41; t <= 80; t++) {
        for (uint32_t i = 1; i <= 500; i++) /* others come and want its place */
            bytes[(t * 500 + i) % N + 1] = 2500;
        bytes[GROWER] = 100.0 * t;
        tick_of(h, bytes, N, t * MINUTE);
    }
    row = row_of(h, GROWER);
    assert_true(row != 0);
    assert_int_equal(h->sites[row].first, first);
    free(h);
}

static void a_site_that_lost_its_place_is_part_of_the_rest(void **state) {
    (void)state;
    enum { N = HISTORY_SITES + 1 };
    struct history *h = new_history();
    double bytes[N + 1];
    for (uint32_t i = 1; i <= N; i++)
        bytes[i] = i;
    tick_of(h, bytes, N, MINUTE); /* all but the first, which holds least */
    assert_int_equal(row_of(h, 1), 0);
    assert_true(h->points[0][0].live_bytes == 1);
    bytes[1] = 1e6;
    tick_of(h, bytes, N, 2 * MINUTE);
    uint32_t row = row_of(h, 1);
    assert_true(row != 0);
    assert_false(history_has(h, row, 0));
    assert_true(history_has(h, row, 1));
    assert_int_equal(row_of(h, 2), 0);
    assert_true(h->points[0][0].live_bytes == 1 + 2);
    assert_true(h->points[1][0].live_bytes == 2);
    free(h);
}

static void old_ticks_are_thinned_and_the_first_is_kept(void **state) {
    (void)state;
    struct history *h = new_history();
    double bytes[2] = {0, 0};
    for (uint64_t t = 1; t <= 100000; t++) {
        bytes[1] = (double)t;
        history_begin(h, 1);
        history_add_live(h, 1, bytes[1], 1);
        history_commit(h, t * MINUTE, 0);
        assert_in_range(h->nticks, t < HISTORY_TICKS ? t : HISTORY_TICKS, HISTORY_TICKS);
    }
    assert_true(history_consistent(h));
    assert_int_equal(h->ticks[0].when_ns, MINUTE);
    for (uint32_t i = HISTORY_TICKS - 5; i < HISTORY_TICKS; i++)
        assert_int_equal(h->ticks[i].when_ns, (100000 - (HISTORY_TICKS - 1 - i)) * MINUTE);
    for (uint32_t i = 1; i < HISTORY_TICKS; i++) {
        uint64_t gap = h->ticks[i].when_ns - h->ticks[i - 1].when_ns;
        uint64_t age = 100001 * MINUTE - h->ticks[i].when_ns;
        assert_true(gap <= age / 2 + MINUTE);
        assert_true(h->points[i][row_of(h, 1)].live_bytes == (double)h->ticks[i].when_ns / MINUTE);
    }
    free(h);
}

static void a_clock_that_stands_still_does_no_harm(void **state) {
    (void)state;
    struct history *h = new_history();
    double bytes[2] = {0, 5};
    for (unsigned t = 0; t < 3 * HISTORY_TICKS; t++)
        tick_of(h, bytes, 1, t < 10 ? MINUTE - t : MINUTE);
    assert_int_equal(h->nticks, HISTORY_TICKS);
    free(h);
}

/* ---- the walk ----------------------------------------------------------------------------- */

static uint64_t now_ns = MINUTE;
static uint64_t rss_asked;

static uint64_t rss(void) {
    rss_asked++;
    return 12345 * 4096;
}

static struct mcache *self(void) {
    return mcache_self != &mcache0 ? mcache_self : mcache_attach();
}

/* allocate is malloc's side of the recorder's contract, at rate 1. */
static void *allocate(size_t size) {
    struct mcache *c = self();
    struct prof_sample s;
    bool take = prof_sample(c, size, &s);
    void *p = heap_alloc(c, size, false);
    assert_non_null(p);
    if (take)
        prof_record(c, p, size, &s);
    return p;
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* next_tick lets the interval pass; returns the number of ticks that there are then. */
static uint64_t next_tick(void) {
    now_ns += MINUTE;
    while (history_turn(now_ns, rss) == 0)
        continue;
    return history_counts().ticks;
}

static struct history_tick last_tick(void) {
    const struct history *h = history_lock();
    assert_non_null(h);
    assert_true(history_consistent(h));
    assert_int_not_equal(h->nticks, 0);
    struct history_tick t = h->ticks[h->nticks - 1];
    history_unlock();
    return t;
}

static uint32_t kept_ticks(void) {
    const struct history *h = history_lock();
    uint32_t n = h != NULL ? h->nticks : 0;
    if (h != NULL)
        history_unlock();
    return n;
}

static int with_history(void **state) {
    (void)state;
    static bool begun;
    if (!begun)
        history_configure(MINUTE);
    begun = true;
    prof_set_rate(1);
    release(allocate(1)); /* the thread follows the rate */
    next_tick();
    return 0;
}

static void there_is_no_table_before_the_first_tick_is_due(void **state) {
    (void)state;
    history_configure(MINUTE);
    prof_set_rate(1);
    void *p = allocate(100);
    assert_int_equal(history_turn(now_ns, rss), MINUTE);
    assert_null(history_lock());
    assert_int_equal(next_tick(), 1);
    assert_int_equal(rss_asked, 1);
    assert_int_equal(last_tick().rss_bytes, 12345 * 4096);
    release(p);
}

static void a_tick_counts_what_is_live(void **state) {
    (void)state;
    enum { N = 20000 };
    static void *p[N];
    struct history_point before = last_tick().all;
    double bytes = 0;
    for (unsigned i = 0; i < N; i++) {
        p[i] = allocate(i % 2000 + 1);
        bytes += i % 2000 + 1;
    }
    void *large = allocate(3 << 20);
    next_tick();
    struct history_point full = last_tick().all;
    assert_true(full.live_objects - before.live_objects == N + 1);
    assert_true(full.live_bytes - before.live_bytes == bytes + (3 << 20));
    assert_true(full.alloc_bytes - before.alloc_bytes == bytes + (3 << 20));
    release(large);
    for (unsigned i = 0; i < N; i++)
        release(p[i]);
    release(allocate(1));
    next_tick();
    struct history_point after = last_tick().all;
    assert_true(after.live_objects == before.live_objects);
    assert_true(after.live_bytes == before.live_bytes);
    assert_true(after.alloc_bytes == full.alloc_bytes + 1);
}

static void without_allocations_there_is_no_tick(void **state) {
    (void)state;
    uint64_t ticks = next_tick();
    assert_int_equal(next_tick(), ticks);
    assert_int_equal(history_turn(now_ns + 1, rss), UINT64_MAX); /* nor a reason to wake up */
    void *p = allocate(10);
    assert_true(history_turn(now_ns + 2, rss) <= MINUTE);
    assert_int_equal(next_tick(), ticks + 1);
    release(p);
}

static void with_another_rate_it_begins_anew(void **state) {
    (void)state;
    void *p = allocate(100);
    next_tick();
    assert_true(kept_ticks() > 1);
    prof_set_rate(0);
    uint64_t ticks = history_counts().ticks;
    void *q = heap_alloc(self(), 4 << 20, false); /* spans come, and nothing is recorded */
    assert_int_equal(next_tick(), ticks);
    uint32_t kept = kept_ticks();
    prof_set_rate(1);
    release(allocate(1));
    next_tick();
    assert_int_equal(kept_ticks(), kept < HISTORY_TICKS ? kept + 1 : kept);
    prof_set_rate(1000);
    void *r = heap_alloc(self(), 5 << 20, false);
    next_tick();
    assert_int_equal(kept_ticks(), 1);
    release(p);
    release(q);
    release(r);
}

static void estimates_are_weighted_at_the_rate(void **state) {
    (void)state;
    enum { N = 4000, SIZE = 500 };
    static void *p[N];
    prof_set_rate(10000);
    release(heap_alloc(self(), 1 << 20, false));
    for (unsigned i = 0; i < N; i++) {
        struct mcache *c = self();
        int64_t next = __atomic_load_n(&c->next_sample, __ATOMIC_RELAXED) - SIZE;
        __atomic_store_n(&c->next_sample, next, __ATOMIC_RELAXED);
        struct prof_sample s;
        bool take = next < 0 && prof_sample(c, SIZE, &s);
        p[i] = heap_alloc(c, SIZE, false);
        if (take)
            prof_record(c, p[i], SIZE, &s);
    }
    next_tick();
    struct history_point all = last_tick().all;
    /* 200 samples expected, so 7 % is a standard error; what lived before weighs nothing here. */
    assert_true(all.live_bytes > 0.6 * N * SIZE && all.live_bytes < 1.4 * N * SIZE);
    assert_true(all.live_objects > 0.6 * N && all.live_objects < 1.4 * N);
    for (unsigned i = 0; i < N; i++)
        release(p[i]);
}

static void a_forked_child_begins_anew(void **state) {
    (void)state;
    void *p = allocate(100);
    next_tick();
    assert_true(kept_ticks() >= 1);
    history_lock(); /* somebody reads it just then */
    pid_t pid = fork();
    if (pid == 0) {
        history_fork_child();
        mutex_forget_held();
        bool ok = kept_ticks() == 0;
        history_turn(now_ns, rss); /* now the interval begins */
        release(allocate(1));
        next_tick();
        ok = ok && kept_ticks() == 1 && last_tick().all.live_bytes >= 100;
        _exit(ok ? 0 : 1);
    }
    history_unlock();
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    release(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(while_there_is_room_every_site_is_followed),
        cmocka_unit_test(the_rows_of_a_tick_add_up_whoever_is_followed),
        cmocka_unit_test(who_grows_comes_to_be_followed_and_stays),
        cmocka_unit_test(a_site_that_lost_its_place_is_part_of_the_rest),
        cmocka_unit_test(old_ticks_are_thinned_and_the_first_is_kept),
        cmocka_unit_test(a_clock_that_stands_still_does_no_harm),
        cmocka_unit_test(there_is_no_table_before_the_first_tick_is_due),
        cmocka_unit_test_setup(a_tick_counts_what_is_live, with_history),
        cmocka_unit_test_setup(without_allocations_there_is_no_tick, with_history),
        cmocka_unit_test_setup(with_another_rate_it_begins_anew, with_history),
        cmocka_unit_test_setup(estimates_are_weighted_at_the_rate, with_history),
        cmocka_unit_test_setup(a_forked_child_begins_anew, with_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
