/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay finds what a full walk and libunwind find, at every one of many captures in a
 * program that does all that stacks are subject to (fuzz_program.h).  A replay that compares less
 * than every word fails here within some thousand captures.
 *
 * GOMALLOC_TEST_ROUNDS=N makes it N times as long.  `unit_replay CAPTURES [SEED]` does nothing but
 * fuzz, and tells how many captures differed.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "capture_thread.h"
#include "fuzz_program.h"
#include "prof/capture.h"
#include "unwind/replay.h"
#include "prof/verify.h"
#include "replay_cases.h"
#include "rounds.h"
#include "sanitized.h"

#define DEPTH 512
#define LESS  (SANITIZED ? 10 : 1) /* they are so much slower */

static _Thread_local struct capture_self self;
static _Thread_local bool capturing; /* else a signal's handler would enter it again */
static _Thread_local struct capture_stack last;

static _Thread_local uint64_t stack[DEPTH]; /* the last one, ending at stack[DEPTH] */
static bool awake = true; /* stacks are learnt at once, and looked for though it does not pay */
static unsigned recalled, recalled_wrongly; /* captures that were told a site, and another's */

/* Of the next captures; 0: it is made up. */
static _Thread_local uint32_t given_site;

/* site_of makes up a site for the last capture's stack.  Of two stacks whose sites end alike, by
 * chance, only one may be learnt while they take turns: who counts on both gives them sites. */
static uint32_t site_of(const struct capture_stack *s) {
    uint64_t h = 0xcbf29ce484222325;
    memcpy(stack + DEPTH - s->n, s->pcs, (s->n - s->known) * sizeof *stack);
    for (unsigned i = DEPTH - s->n; i < DEPTH; i++)
        h = (h ^ stack[i]) * 0x9e3779b97f4a7c15u;
    return given_site != 0 ? given_site : (uint32_t)(h >> 32) | 1;
}

static __attribute__((noinline)) void visit(void) {
    if (capturing)
        return;
    capturing = true;
    if (self.pcs == NULL)
        assert_true(capture_self_init(&self));
    if (awake)
        self.replay->learning.asleep = 0;
    capture_take(&self, &last);
    uint32_t site = site_of(&last);
    recalled += last.site != 0;
    recalled_wrongly += last.site != 0 && last.site != site;
    if (awake)
        self.replay->learning.missed[site % REPLAY_MISSED] = site;
    capture_tell(&self, site);
    capturing = false;
}

/* Now and then an observation, of which the next capture must know nothing. */
static struct fuzz *observed;

static __attribute__((noinline)) void visit_or_observe(void) {
    static unsigned turn;
    if (turn++ % 4 != 0 || capturing) {
        visit();
        return;
    }
    capturing = true;
    capture_observe(&self);
    capturing = false;
    observed->left++; /* it does not count */
}

/* libunwind is wrong where a library was mapped over another: from then on it is not asked. */
static bool without_libunwind;

static int load(void **state) {
    (void)state;
    const struct capture_options o = {
        .backend = capture_find("replay"), .depth = DEPTH, .verify = 1};
    capture_configure(&o);
    capture_load();
    return strcmp(capture_name(), "replay");
}

/* Runs once.  Most of the time it is one of four short runs, so that stacks come in turn, with
 * other words between their frames.  Every other time of these, and of the others, it is on a stack
 * where no frame outside of the program's has a frame pointer, which would have to be compared. */
static void fuzz_once(struct fuzz *f, unsigned depth) {
    static char memory[1 << 23] __attribute__((aligned(4096)));
    static uint64_t turn;
    const uint64_t round = 2048, others = 64;
    bool again = turn % round >= others;
    uint64_t kept = f->random;
    if (again)
        f->random = (turn / round * 4 + turn % 4) * 0x9e3779b97f4a7c15u | 1;
    depth = (unsigned)fuzz_random(f, again ? 12 : depth);
    if (turn / round % 2 == 0 || SANITIZED) /* other stacks are beyond them */
        fuzz_next(f, depth, turn);
    else
        case_begins_fuzz(memory + sizeof memory, f, depth, turn);
    if (again)
        f->random = kept;
    turn++;
}

/* Runs until so many captures have been made; none may differ. */
static void fuzz(struct fuzz *f, unsigned captures, uint64_t seed, unsigned depth) {
    struct capture_verified before = capture_verified();
    captures *= test_rounds();
    seed += test_seed();
    f->visit = visit_or_observe;
    observed = f;
    f->random = seed * 0x9e3779b97f4a7c15u | 1;
    f->left = captures;
    while (f->left != 0)
        fuzz_once(f, depth);
    struct capture_verified after = capture_verified();
    assert_int_equal(after.captures - before.captures, captures);
    assert_int_equal(after.differences, before.differences);
    assert_int_equal(recalled_wrongly, 0);
    if (!without_libunwind)
        assert_int_equal(after.libunwind_captures - before.libunwind_captures, captures);
}

static void add_all(struct fuzz *f) {
    fuzz_add_O0(f);
    fuzz_add_O2(f);
    fuzz_add_O3(f);
    fuzz_add_fp(f);
    fuzz_add_exceptions(f);
    fuzz_add_jumps(f);
    fuzz_add_slow(f);
    fuzz_add_deep(f);
    if (!CAPTURE_THREAD_SLEEPS)
        fuzz_add_signals(f);
    if (!SANITIZED)
        fuzz_add_coroutines(f);
}

/* assert_case: each of its captures is right. */
static void assert_case(void (*run)(case_visit *), unsigned captures) {
    struct capture_verified before = capture_verified();
    run(visit);
    struct capture_verified after = capture_verified();
    assert_int_equal(after.captures - before.captures, captures);
    assert_int_equal(after.differences, before.differences);
}

static void a_frame_whose_caller_has_another_rbp(void **state) {
    (void)state;
    assert_case(case_same_place_other_rbp, 3);
}

static void a_frame_that_saved_another_rbp(void **state) {
    (void)state;
    assert_case(case_same_place_other_saved_rbp, 3);
}

static void an_rbp_that_did_not_matter_and_then_does(void **state) {
    (void)state;
    assert_case(case_dead_rbp_comes_alive, 4);
}

static unsigned visited, same; /* captures of a stack that was known whole */

static __attribute__((noinline)) void visit_and_count(void) {
    visit();
    visited++;
    same += last.known == last.n;
}

static void an_rbp_that_does_not_matter_may_be_another(void **state) {
    (void)state;
    struct capture_verified before = capture_verified();
    visited = same = 0;
    case_dead_rbp_is_another(visit_and_count);
    assert_int_equal(visited, 8);
    if (!SANITIZED)
        assert_int_equal(same, 7);
    assert_int_equal(capture_verified().differences, before.differences);
}

static void an_rbp_that_was_not_compared_comes_alive(void **state) {
    (void)state;
    assert_case(case_saved_rbp_comes_alive, 16);
}

static void a_realigned_frame_whose_caller_moves(void **state) {
    (void)state;
    assert_case(case_other_place_same_alignment, 64);
}

/* What is the same as before is not walked, nor handed out. */
static void a_stack_that_is_the_same_is_known(void **state) {
    (void)state;
    unsigned depths[] = {40, 40, 40, 39, 45};
    unsigned known[5];
    for (volatile int i = 0; i < 5; i++) { /* volatile: one call, one return address */
        case_recursion(visit, depths[i]);
        known[i] = last.n - last.known;
    }
    assert_int_equal(known[1], 0);
    assert_int_equal(known[2], 0);
    assert_true(known[3] <= 40 && known[4] <= 46);
}

/* Three stacks in turn: from the third round on, none is walked. */
static void stacks_that_come_in_turn_are_known_by_heart(void **state) {
    (void)state;
    const unsigned depths[] = {3, 9, 5};
    struct capture_verified before = capture_verified();
    unsigned was = recalled;
    for (volatile unsigned i = 0; i < 300; i++)
        case_recursion(visit, depths[i % 3]);
    assert_in_range(recalled - was, 300 - 9, 300);
    assert_int_equal(recalled_wrongly, 0);
    assert_int_equal(capture_verified().differences, before.differences);
}

/* recalled_of captures stacks in turns, and returns how many of the last 1,000 were known by heart.
 * All are from one call: through another one they would be other stacks. */
static unsigned recalled_of(unsigned before, unsigned stacks) {
    unsigned was = recalled;
    for (volatile unsigned i = 0; i < before + 1000; i++) {
        if (i == before)
            was = recalled;
        case_one_of_many(visit, i * 7 % stacks);
    }
    return recalled - was;
}

/* A third: they begin alike. */
static void stacks_through_one_wrapper_are_known_by_heart(void **state) {
    (void)state;
    struct capture_verified before = capture_verified();
    assert_in_range(recalled_of(3000, CASE_MANY / 3), 900, 1000);
    assert_int_equal(recalled_wrongly, 0);
    assert_int_equal(capture_verified().differences, before.differences);
}

/* There is no room for all of them, so all are forgotten time and again. */
static void stacks_that_are_too_many_are_found_all_the_same(void **state) {
    (void)state;
    struct capture_verified before = capture_verified();
    recalled_of(3000, CASE_MANY);
    assert_int_equal(recalled_wrongly, 0);
    assert_int_equal(capture_verified().differences, before.differences);
    assert_in_range(recalled_of(100, 10), 950, 1000);
}

/* In an order by chance, so that the rbp is compared of what the last stack does not have, and of
 * what it has. */
static void an_rbp_of_a_stack_that_is_known_by_heart_is_compared(void **state) {
    (void)state;
    struct capture_verified before = capture_verified();
    uint64_t random = 1;
    unsigned was = recalled;
    for (volatile unsigned i = 0; i < 2000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (random >> 62 == 0)
            case_recursion(visit, 2);
        else
            case_one_of_two_frames(visit, (random >> 61 & 1) != 0, (random >> 60 & 1) != 0);
    }
    assert_in_range(recalled - was, 200, 2000); /* most, unless two are looked for in one place */
    assert_int_equal(recalled_wrongly, 0);
    assert_int_equal(capture_verified().differences, before.differences);
}

/* On a stack of their own, whose outer frames have nothing to be compared but return addresses: so
 * it matters whether the library knows which of the frames that are taken over have more. */
static void take_turns_with_recursion(void) {
    uint64_t random = 1;
    for (volatile unsigned i = 0; i < 10000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (random >> 63 == 0)
            case_recursion(visit, random >> 57 & 31);
        else
            case_one_of_two_frames(visit, (random >> 62 & 1) != 0, (random >> 61 & 1) != 0);
    }
}

static void it_is_where_most_frames_have_none_to_be_compared(void **state) {
    static char memory[1 << 16] __attribute__((aligned(4096)));
    struct capture_verified before = capture_verified();
    unsigned was = recalled;
    (void)state;
    if (SANITIZED)
        skip(); /* other stacks are beyond them */
    case_begins(memory + sizeof memory, take_turns_with_recursion);
    assert_true(recalled - was > 1000);
    assert_int_equal(recalled_wrongly, 0);
    assert_int_equal(capture_verified().differences, before.differences);
}

/* One of two frames, seen from farther; a stack with nothing to be compared but return addresses in
 * its place; the frame again, and then the other one, seen from farther for the first time. */
static void a_stack_is_not_known_by_what_another_had_in_its_place(void **state) {
    static char memory[1 << 16] __attribute__((aligned(4096)));
    struct capture_verified before = capture_verified();
    (void)state;
    if (SANITIZED)
        skip(); /* other stacks are beyond them */
    case_one_after_another(memory + sizeof memory, visit);
    assert_int_equal(recalled_wrongly, 0);
    assert_int_equal(capture_verified().differences, before.differences);
}

/* So deep that half of what there is room for would go to one stack. */
static void deep_stacks_are_known_by_heart(void **state) {
    (void)state;
    struct capture_verified before = capture_verified();
    unsigned was = recalled;
    for (volatile unsigned i = 0; i < 300; i++)
        case_recursion(visit, 30 + i % 3);
    assert_in_range(recalled - was, 300 - 9, 300);
    assert_int_equal(recalled_wrongly, 0);
    assert_int_equal(capture_verified().differences, before.differences);
}

static unsigned of_deep, of_few; /* recalled, of 4,000 and of 12,000 captures */

static bool take_turns(void *arg) {
    (void)arg;
    unsigned was = recalled;
    for (volatile unsigned i = 0; i < 4000; i++) {
        given_site = 1 + i * 7 % 13;
        case_recursion(visit, REPLAY_KNOWN_FRAMES + i * 7 % 13);
    }
    of_deep = recalled - was;
    was = recalled;
    for (volatile unsigned i = 0; i < 12000; i++) {
        given_site = 20 + i % 2;
        case_recursion(visit, i % 2 * 4);
    }
    of_few = recalled - was;
    return true;
}

/* In a thread of its own, that the tests before have taught nothing.  The first are too deep. */
static void it_is_given_up_for_a_while_where_it_does_not_pay(void **state) {
    (void)state;
    static struct capture_thread t = {.run = take_turns};
    if (SANITIZED)
        skip(); /* their own frame at a thread's start is of a kind that is not learnt by heart */
    awake = false;
    assert_true(capture_thread_start(&t) && capture_thread_succeeds(&t));
    awake = true;
    assert_int_equal(of_deep, 0);
    assert_in_range(of_few, 8000, 11999);
    assert_int_equal(recalled_wrongly, 0);
}

static void functions_of_all_kinds(void **state) {
    (void)state;
    struct fuzz f = {.left = 0};
    fuzz_add_O0(&f);
    fuzz_add_O2(&f);
    fuzz_add_O3(&f);
    fuzz_add_fp(&f);
    fuzz(&f, 60000 / LESS, 1, 60);
}

static void jumps_and_exceptions(void **state) {
    (void)state;
    struct fuzz f = {.left = 0};
    fuzz_add_O2(&f);
    fuzz_add_fp(&f);
    fuzz_add_jumps(&f);
    fuzz_add_slow(&f);
    fuzz_add_exceptions(&f);
    fuzz(&f, 40000 / LESS, 2, 60);
}

static void signals_on_two_stacks(void **state) {
    (void)state;
    struct fuzz f = {.left = 0};
    if (CAPTURE_THREAD_SLEEPS)
        skip(); /* the thread sanitizer delays signals into places where there are none */
    fuzz_add_O2(&f);
    fuzz_add_signals(&f);
    fuzz_add_jumps(&f);
    fuzz(&f, 40000 / LESS, 3, 60);
}

static void coroutines_whose_stacks_are_used_again(void **state) {
    (void)state;
    struct fuzz f = {.left = 0};
    if (SANITIZED)
        skip(); /* swapcontext is beyond them */
    fuzz_add_O2(&f);
    fuzz_add_fp(&f);
    fuzz_add_coroutines(&f);
    fuzz(&f, 40000 / LESS, 4, 60);
}

static void everything_at_once(void **state) {
    (void)state;
    struct fuzz f = {.left = 0};
    add_all(&f);
    fuzz(&f, 100000 / LESS, 5, 120);
}

static void recursion_deeper_than_what_is_kept(void **state) {
    (void)state;
    struct fuzz f = {.left = 0};
    fuzz_add_O2(&f);
    fuzz_add_fp(&f);
    fuzz_add_deep(&f);
    fuzz(&f, 20000 / LESS, 6, 40);
}

/* Plugins with build-ids, then without. */
static void libraries_that_take_turns(void **state) {
    (void)state;
    const char *const pairs[2][2] = {{PLUGIN_A, PLUGIN_B}, {PLUGIN_C, PLUGIN_D}};
    without_libunwind = true;
    verify_fork_child();
    for (unsigned i = 0; i < 2; i++) {
        struct fuzz f = {.left = 0};
        add_all(&f);
        fuzz_add_reload(&f, pairs[i][0], pairs[i][1]);
        fuzz(&f, 20000 / LESS, 7 + i, 60);
    }
}

static void fuzz_on(struct fuzz *f, unsigned captures, uint64_t seed) {
    const unsigned round = 100000;
    while (captures != 0) {
        f->random = seed++ * 0x9e3779b97f4a7c15u | 1;
        f->left = captures < round ? captures : round;
        captures -= f->left;
        while (f->left != 0)
            fuzz_once(f, 150);
    }
}

/* The last tenth of them while libraries take turns. */
static int fuzz_for(unsigned captures, uint64_t seed) {
    struct fuzz f = {.visit = visit_or_observe};
    observed = &f;
    add_all(&f);
    fuzz_on(&f, captures - captures / 10, seed);
    verify_fork_child();
    fuzz_add_reload(&f, PLUGIN_A, PLUGIN_B);
    fuzz_on(&f, captures / 20, seed);
    fuzz_add_reload(&f, PLUGIN_C, PLUGIN_D);
    fuzz_on(&f, captures / 10 - captures / 20, seed);
    struct capture_verified v = capture_verified();
    printf("%u told their site by heart, %u wrongly; ", recalled, recalled_wrongly);
    printf("%llu captures, %llu with libunwind, %llu differences, %llu from libunwind\n",
           (unsigned long long)v.captures, (unsigned long long)v.libunwind_captures,
           (unsigned long long)v.differences, (unsigned long long)v.libunwind_differences);
    return v.differences + recalled_wrongly != 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_whose_caller_has_another_rbp),
        cmocka_unit_test(a_frame_that_saved_another_rbp),
        cmocka_unit_test(an_rbp_that_did_not_matter_and_then_does),
        cmocka_unit_test(an_rbp_that_does_not_matter_may_be_another),
        cmocka_unit_test(an_rbp_that_was_not_compared_comes_alive),
        cmocka_unit_test(a_realigned_frame_whose_caller_moves),
        cmocka_unit_test(a_stack_that_is_the_same_is_known),
        cmocka_unit_test(stacks_that_come_in_turn_are_known_by_heart),
        cmocka_unit_test(stacks_through_one_wrapper_are_known_by_heart),
        cmocka_unit_test(stacks_that_are_too_many_are_found_all_the_same),
        cmocka_unit_test(an_rbp_of_a_stack_that_is_known_by_heart_is_compared),
        cmocka_unit_test(it_is_where_most_frames_have_none_to_be_compared),
        cmocka_unit_test(a_stack_is_not_known_by_what_another_had_in_its_place),
        cmocka_unit_test(deep_stacks_are_known_by_heart),
        cmocka_unit_test(it_is_given_up_for_a_while_where_it_does_not_pay),
        cmocka_unit_test(functions_of_all_kinds),
        cmocka_unit_test(jumps_and_exceptions),
        cmocka_unit_test(signals_on_two_stacks),
        cmocka_unit_test(coroutines_whose_stacks_are_used_again),
        cmocka_unit_test(recursion_deeper_than_what_is_kept),
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(libraries_that_take_turns),
    };
    if (argc > 1) {
        load(NULL);
        return fuzz_for((unsigned)strtoul(argv[1], NULL, 10),
                        argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    }
    return cmocka_run_group_tests(tests, load, NULL);
}
