/* SPDX-License-Identifier: BSD-3-Clause
 *
 * When the scavenger works, and how much (mgcpacer.c): stories with a clock of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "heap/mgcpacer.h"
#include "palloc_world.h"

#define MIB ((uint64_t)1 << 20)
#define SEC ((uint64_t)1000000000)

static uint64_t fake_now;  /* ns, moved on by the tests and by each look at the clock */
static uint64_t look_cost; /* how much a look moves it */

static uint64_t fake_clock(void) {
    return fake_now += look_cost;
}

/* A heap of 100 MiB, all free and backed, and a policy for it. */
static struct palloc_world *policy_world(struct scavenger *s) {
    struct palloc_world *w = world_new();
    for (unsigned c = 0; c < 25; c++)
        world_add_chunk(w, c, NULL, 0, NULL, 0);
    w->p.npages_in_use_peak = 0; /* that the chunks were filled is not part of the story */
    fake_now = 50 * SEC;
    look_cost = 100000;
    scavenger_init(s, &w->p, fake_clock);
    return w;
}

static uint64_t retained(struct palloc_world *w) {
    return page_alloc_retained(&w->p);
}

/* ticks calls the scavenger whenever it wants to be called, for so long. */
static void ticks(struct scavenger *s, uint64_t ns) {
    for (uint64_t end = fake_now + ns; fake_now < end;) {
        uint64_t wait = scavenger_tick(s, fake_now);
        assert_int_not_equal(wait, 0);
        fake_now += wait;
    }
}

static void a_tenth_more_than_the_peak_is_retained(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    uintptr_t scav, page = world_alloc(w, 40 * MIB / GM_PAGE_SIZE, &scav);
    assert_int_equal(scavenger_goal(&s), 44 * MIB);
    ticks(&s, 20 * SEC);
    assert_in_range(retained(w), 44 * MIB - 64 * 1024, 45 * MIB);
    world_check(w, "scavenging to the goal");
    /* Half of it is freed: nothing happens within a window, later the goal is 22 MiB. */
    world_release(w, page + 20 * MIB / GM_PAGE_SIZE, 20 * MIB / GM_PAGE_SIZE);
    scavenger_tick(&s, fake_now);
    assert_in_range(retained(w), 44 * MIB - 64 * 1024, 45 * MIB);
    ticks(&s, 40 * SEC);
    assert_in_range(retained(w), 22 * MIB - 64 * 1024, 23 * MIB);
    world_free(w);
}

static void little_is_not_worth_it(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    uintptr_t scav;
    /* 88 MiB in use: goal 96.8, and 3.2 MiB above it are more than its 32nd part. */
    uintptr_t page = world_alloc(w, 88 * MIB / GM_PAGE_SIZE, &scav);
    ticks(&s, 20 * SEC);
    assert_true(retained(w) < 97 * MIB);
    world_release(w, page, 88 * MIB / GM_PAGE_SIZE);
    world_free(w);

    w = policy_world(&s);
    /* 89 MiB in use: goal 97.9; 2.1 MiB are not. */
    world_alloc(w, 89 * MIB / GM_PAGE_SIZE, &scav);
    ticks(&s, 60 * SEC);
    assert_int_equal(retained(w), 100 * MIB);
    assert_int_equal(w->p.nscavenge_calls, 0);
    world_free(w);
}

static void short_runs_are_left(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    uintptr_t scav;
    uintptr_t npages = 100 * MIB / GM_PAGE_SIZE;
    assert_int_equal(world_alloc(w, npages, &scav), 0);
    for (uintptr_t i = 0; i < npages; i += 8) /* every 8 pages a run of 7 */
        world_release(w, i, 7);
    ticks(&s, 60 * SEC);
    assert_int_equal(w->p.nscavenge_calls, 0);
    /* It must not try again and again either: no more than a few looks a window. */
    uint64_t before = fake_now;
    unsigned calls = 0;
    for (; fake_now < before + 10 * SEC; calls++)
        fake_now += scavenger_tick(&s, fake_now);
    assert_in_range(calls, 1, 25);
    assert_int_equal(page_alloc_scavenge(&w->p, SCAVENGE_ALL), npages / 8 * 7 * GM_PAGE_SIZE);
    world_free(w);
}

static void one_percent_of_a_cpu(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    look_cost = 600000; /* of fake time for each MiB: more than 1 ms after two */
    uint64_t start = fake_now, waited = 0;
    for (unsigned i = 0; i < 10; i++) {
        uint64_t wait = scavenger_tick(&s, fake_now);
        waited += wait;
        fake_now += wait;
    }
    assert_int_equal(s.worked_ns, 10 * 2 * look_cost);
    assert_int_equal(waited, 99 * s.worked_ns);
    assert_int_equal(fake_now - start, 100 * s.worked_ns + 10 * look_cost);
    world_free(w);
}

static void an_idle_heap_is_left_in_peace(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    ticks(&s, 60 * SEC);
    assert_int_equal(retained(w), 0);
    unsigned calls = 0;
    for (uint64_t end = fake_now + 80 * SEC; fake_now < end; calls++)
        fake_now += scavenger_tick(&s, fake_now);
    assert_in_range(calls, 1, 11);
    world_free(w);
}

/* A program that takes 80 MiB for a moment every five seconds, 10 MiB otherwise. */
static void waves(struct palloc_world *w, struct scavenger *s, unsigned n, uint64_t period) {
    for (; n > 0; n--) {
        uintptr_t scav, page = world_alloc(w, 70 * MIB / GM_PAGE_SIZE, &scav);
        assert_int_not_equal(page, UINTPTR_MAX);
        world_release(w, page, 70 * MIB / GM_PAGE_SIZE);
        ticks(s, period);
    }
}

static void what_was_a_mistake_is_not_repeated(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    uintptr_t scav;
    world_alloc(w, 10 * MIB / GM_PAGE_SIZE, &scav);
    waves(w, &s, 6, 5 * SEC);
    assert_true(s.nregrets >= 2);
    assert_true(s.window_ns >= 4 * SEC);
    /* Windows are now longer than the waves are apart: hardly anything comes and goes any more.
     * Without that it would be 70 MiB a wave. */
    uint64_t released = w->p.npages_released;
    waves(w, &s, 12, 5 * SEC);
    assert_true((w->p.npages_released - released) * GM_PAGE_SIZE < 12 * 70 * MIB / 3);
    /* The waves have ended: it is given back all the same. */
    ticks(&s, 200 * SEC);
    assert_in_range(retained(w), 10 * MIB, 12 * MIB);
    /* And a long calm makes the windows short again. */
    uintptr_t page = world_alloc(w, 10 * MIB / GM_PAGE_SIZE, &scav);
    ticks(&s, 1500 * SEC);
    assert_int_equal(s.window_ns, SEC);
    world_release(w, page, 10 * MIB / GM_PAGE_SIZE);
    world_free(w);
}

static void growth_is_paid_for_by_fragments(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    uintptr_t scav;
    uintptr_t npages = 100 * MIB / GM_PAGE_SIZE;
    assert_int_equal(world_alloc(w, npages, &scav), 0);
    for (uintptr_t i = 0; i < npages; i += 64) /* half of it, in runs of 256 KiB */
        world_release(w, i, 32);
    /* A window later the peak is forgotten. */
    scavenger_tick(&s, fake_now);
    for (unsigned i = 0; i < 2; i++) {
        mutex_lock(&w->lock);
        w->p.npages_in_use_peak = w->p.npages_in_use;
        s.last_peak = w->p.npages_in_use;
        mutex_unlock(&w->lock);
    }
    /* 50 MiB in use, 100 retained, goal 55.  The heap grows by 4 MiB, of which 1 MiB is used. */
    const struct bit_range fresh = {0, 512};
    world_add_chunk(w, 25, NULL, 0, &fresh, 1);
    assert_int_equal(world_alloc(w, 128, &scav), 100 * MIB / GM_PAGE_SIZE);
    assert_int_equal(scavenge_for_growth(&s, 4 * MIB), 4 * MIB);
    assert_int_equal(retained(w), 97 * MIB);
    world_check(w, "growing");
    /* Not more than down to the goal. */
    size_t all = scavenge_for_growth(&s, 1000 * MIB);
    assert_in_range(retained(w), 56 * MIB, 57 * MIB);
    assert_in_range(all, 40 * MIB, 41 * MIB);
    assert_int_equal(scavenge_for_growth(&s, 1000 * MIB), 0);
    world_free(w);
}

static void growth_gives_nothing_back_after_a_regret(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    assert_int_equal(scavenge_for_growth(&s, 4 * MIB), 4 * MIB);
    s.regretful = true;
    assert_int_equal(scavenge_for_growth(&s, 4 * MIB), 0);
    world_free(w);
}

/* The lock is held while the kernel works for somebody else. */
static void growth_does_not_wait_for_another_scavenger(void **state) {
    (void)state;
    struct scavenger s;
    struct palloc_world *w = policy_world(&s);
    mutex_lock(&w->p.scav_lock);
    assert_int_equal(scavenge_for_growth(&s, 4 * MIB), 0);
    mutex_unlock(&w->p.scav_lock);
    assert_int_equal(scavenge_for_growth(&s, 4 * MIB), 4 * MIB);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenth_more_than_the_peak_is_retained),
        cmocka_unit_test(little_is_not_worth_it),
        cmocka_unit_test(short_runs_are_left),
        cmocka_unit_test(one_percent_of_a_cpu),
        cmocka_unit_test(an_idle_heap_is_left_in_peace),
        cmocka_unit_test(what_was_a_mistake_is_not_repeated),
        cmocka_unit_test(growth_is_paid_for_by_fragments),
        cmocka_unit_test(growth_gives_nothing_back_after_a_regret),
        cmocka_unit_test(growth_does_not_wait_for_another_scavenger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
