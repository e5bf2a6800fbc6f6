/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What replay says to have ended has ended: never more, in a program that does all that stacks are
 * subject to (fuzz_program.h) and knows which of its activations are alive.
 *
 * The visitor "allocates": it captures, and notes for each frame the call that the program knows it
 * by; or it "frees" one of the last objects: it observes, and compares.  Less may be said than is
 * true.
 *
 * `unit_ended FREES [SEED]` goes on for longer.
 */
#include <pthread.h>
#include <setjmp.h>
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
#include "unwind/codeobj.h"
#include "unwind/replay.h"
#include "replay_cases.h"
#include "sanitized.h"

#define DEPTH    512
#define OBJECTS  64
#define MAX_SEEN 200
#define LESS     (SANITIZED ? 10 : 1) /* they are so much slower */

/* A frame whose call is known. */
struct seen {
    unsigned k; /* f_k */
    unsigned index;
    uint64_t serial;
};

struct object {
    struct replay_moment moment;
    const struct fuzz_calls *calls;
    unsigned nseen;
    struct seen seen[MAX_SEEN];
};

static struct {
    uint64_t told;
    uint64_t not_told[REPLAY_DEEP + 1];
    uint64_t with_ended; /* of those told: something has ended */
    uint64_t ended;      /* activations said to have ended, of those that are known */
    uint64_t missed;     /* known activations that have ended and were not said to */
    uint64_t wrong;      /* said to have ended, and alive */
    uint64_t lost;       /* calls that were not found among the frames */
} figures;

static struct fuzz fuzz;
static struct fuzz_calls main_calls;
static struct object objects[OBJECTS];
static unsigned nobjects; /* in use: the fewer, the sooner they are freed */
static struct capture_self self;
static bool visiting; /* else a signal's handler would enter it again */
static uint64_t turn;

/* note_calls finds the calls among the frames of the last capture. */
static void note_calls(struct object *o) {
    unsigned c = fuzz.calls->n;
    uint64_t value;
    o->calls = fuzz.calls;
    o->nseen = 0;
    for (unsigned k = 0; k + 1 < o->moment.depth && o->nseen < MAX_SEEN && c != 0; k++) {
        const struct fuzz_call *call = &fuzz.calls->calls[c - 1];
        uint64_t slot = capture_return_slot(&self, k, &value);
        if (slot == 0 || slot != call->sp - 8)
            continue;
        o->seen[o->nseen++] = (struct seen){.k = k, .index = --c, .serial = call->serial};
        figures.wrong += *(const uint64_t *)slot != value;
    }
    figures.lost += o->nseen < MAX_SEEN && c != 0;
}

static unsigned known_by_heart; /* captures */

static gm_noinline void allocate(struct object *o) {
    struct capture_stack s;
    capture_take(&self, &s);
    known_by_heart += s.site != 0;
    capture_tell(&self, 1); /* that it be known by heart, if it comes again */
    o->moment = capture_moment(&self);
    o->nseen = 0;
    if (o->moment.when != 0)
        note_calls(o);
}

static bool is_alive(const struct object *o, const struct seen *seen) {
    return seen->index < o->calls->n && o->calls->calls[seen->index].serial == seen->serial;
}

static gm_noinline void release(struct object *o) {
    uint32_t ended;
    bool observed = capture_observe(&self);
    enum replay_verdict verdict = capture_ended(&self, o->moment, &ended);
    if (!observed || verdict != REPLAY_TOLD) {
        figures.not_told[observed ? verdict : REPLAY_STOPPED]++;
        figures.wrong += ended != 0 || (!observed && verdict == REPLAY_TOLD);
        return;
    }
    figures.told++;
    figures.with_ended += ended != 0;
    figures.wrong += ended >= o->moment.depth;
    for (unsigned i = 0; i < o->nseen; i++) {
        bool alive = is_alive(o, &o->seen[i]);
        bool said = o->seen[i].k < ended;
        figures.ended += said;
        figures.missed += !alive && !said;
        figures.wrong += alive && said;
    }
}

static gm_noinline void visit(void) {
    if (visiting)
        return;
    visiting = true;
    turn = turn * 6364136223846793005u + 1442695040888963407u;
    struct object *o = &objects[(turn >> 58) % nobjects];
    if ((turn >> 57 & 1) == 0)
        allocate(o);
    else if (o->moment.thread != 0)
        release(o);
    visiting = false;
}

static int load(void **state) {
    (void)state;
    const struct capture_options o = {.backend = capture_find("replay"), .depth = DEPTH};
    capture_configure(&o);
    capture_load();
    return !capture_self_init(&self) || strcmp(capture_name(), "replay") != 0;
}

static void begin(void) {
    memset(&figures, 0, sizeof figures);
    memset(&fuzz, 0, sizeof fuzz);
    memset(objects, 0, sizeof objects);
    fuzz.calls = &main_calls;
    fuzz.visit = visit;
    nobjects = OBJECTS;
}

static void run(unsigned visits, uint64_t seed, unsigned depth) {
    fuzz.random = seed * 0x9e3779b97f4a7c15u | 1;
    fuzz.left = visits;
    turn = seed;
    while (fuzz.left != 0)
        fuzz_next(&fuzz, (unsigned)fuzz_random(&fuzz, depth), 0);
}

/* None wrong; and enough told that something has been tested. */
static void assert_sound(uint64_t least_told) {
    assert_int_equal(figures.wrong, 0);
    assert_int_equal(figures.lost, 0);
    assert_true(figures.told >= least_told);
    assert_true(figures.with_ended > figures.told / 2);
    assert_true(figures.missed < figures.ended);
}

static void functions_of_all_kinds(void **state) {
    (void)state;
    begin();
    fuzz_add_O0(&fuzz);
    fuzz_add_O2(&fuzz);
    fuzz_add_O3(&fuzz);
    fuzz_add_fp(&fuzz);
    run(300000 / LESS, 1, 60);
    assert_sound(140000 / LESS);
}

static void jumps_and_exceptions(void **state) {
    (void)state;
    begin();
    fuzz_add_O2(&fuzz);
    fuzz_add_fp(&fuzz);
    fuzz_add_jumps(&fuzz);
    fuzz_add_exceptions(&fuzz);
    run(200000 / LESS, 2, 60);
    assert_sound(90000 / LESS);
}

/* Much that is ordinary, so that not all is between two switches. */
static void add_ordinary(void) {
    for (int i = 0; i < 4; i++) {
        fuzz_add_O2(&fuzz);
        fuzz_add_fp(&fuzz);
    }
    nobjects = 3;
}

static void signals_on_two_stacks(void **state) {
    (void)state;
    if (CAPTURE_THREAD_SLEEPS)
        skip(); /* the thread sanitizer delays signals into places where there are none */
    begin();
    add_ordinary();
    fuzz_add_signals(&fuzz);
    run(200000 / LESS, 3, 30);
    assert_sound(50000 / LESS);
    assert_true(figures.not_told[REPLAY_SWITCHED] != 0);
}

static void coroutines_whose_stacks_are_used_again(void **state) {
    (void)state;
    if (SANITIZED)
        skip(); /* swapcontext is beyond them */
    begin();
    add_ordinary();
    fuzz_add_coroutines(&fuzz);
    run(200000, 4, 60);
    assert_sound(30000);
    assert_true(figures.not_told[REPLAY_SWITCHED] != 0);
}

static void add_all(void) {
    fuzz_add_O0(&fuzz);
    fuzz_add_O2(&fuzz);
    fuzz_add_O3(&fuzz);
    fuzz_add_fp(&fuzz);
    fuzz_add_exceptions(&fuzz);
    fuzz_add_jumps(&fuzz);
    fuzz_add_slow(&fuzz);
    add_ordinary();
    if (!CAPTURE_THREAD_SLEEPS)
        fuzz_add_signals(&fuzz);
    if (!SANITIZED)
        fuzz_add_coroutines(&fuzz);
}

static void everything_at_once(void **state) {
    (void)state;
    begin();
    add_all();
    run(300000 / LESS, 5, 120);
    assert_int_equal(figures.wrong, 0);
    assert_int_equal(figures.lost, 0);
    assert_true(figures.told > 10000 / LESS);
    assert_true(known_by_heart != 0);
    assert_true(figures.not_told[REPLAY_STOPPED] != 0);
}

/* Cases by hand: case_recursion puts `depth` frames of one function on the stack, and one more. */
static struct replay_moment moment;
static enum replay_verdict verdict;
static uint32_t ended;

static void note(void) {
    struct capture_stack s;
    capture_take(&self, &s);
    moment = capture_moment(&self);
}

static void compare(void) {
    capture_observe(&self);
    verdict = capture_ended(&self, moment, &ended);
}

static void assert_verdict(enum replay_verdict want, uint32_t want_ended) {
    assert_int_equal(verdict, want);
    assert_int_equal(ended, want_ended);
}

static void note_and_compare_deeper(void) {
    note();
    case_recursion(compare, 5);
}

static void what_is_called_meanwhile_ends_nothing(void **state) {
    (void)state;
    case_recursion(note_and_compare_deeper, 20);
    assert_verdict(REPLAY_TOLD, 0);
}

/* Of two recursions from the same place, of which one is deeper, the outer frames look the same. */
static void as_many_have_ended_as_are_gone(void **state) {
    (void)state;
    for (volatile unsigned gone = 1; gone < 20; gone++) {
        for (volatile int i = 0; i < 2; i++)
            case_recursion(i == 0 ? note : compare, i == 0 ? 20 : 20 - gone);
        assert_verdict(REPLAY_TOLD, gone);
    }
}

static void a_call_from_the_same_place_is_not_refuted(void **state) {
    (void)state;
    for (volatile int i = 0; i < 2; i++)
        case_recursion(i == 0 ? note : compare, 20);
    assert_verdict(REPLAY_TOLD, 0);
}

/* It is, if there was a capture in between that was out of it. */
static void a_call_that_was_seen_to_be_over_is_over_for_ever(void **state) {
    (void)state;
    for (volatile int i = 0; i < 3; i++)
        case_recursion(i == 0 ? note : compare, i == 1 ? 5 : 20);
    /* the frames of depth 5 are the outer ones of the recursion: 15 inner calls are over */
    assert_verdict(REPLAY_TOLD, 15);
}

static uint32_t site; /* of the stack that is captured next */
static bool noted;    /* it is the moment */

static void note_and_tell(void) {
    struct capture_stack s;
    capture_take(&self, &s);
    known_by_heart += s.site != 0;
    capture_tell(&self, site);
    if (noted)
        moment = capture_moment(&self);
}

/* It is, too, if none of these stacks had to be walked.  With a record that the tests before have
 * taught nothing. */
static void a_call_that_was_over_in_a_stack_known_by_heart_is_over(void **state) {
    (void)state;
    enum { NOTED = 12, COMPARED = NOTED + 3 };
    struct capture_self others = self;
    memset(&self, 0, sizeof self);
    assert_true(capture_self_init(&self));
    for (volatile unsigned i = 0; i <= COMPARED; i++) {
        noted = i == NOTED;
        site = 100 + i % 2;
        known_by_heart = noted ? 0 : known_by_heart;
        case_recursion(i == COMPARED ? compare : note_and_tell,
                       i % 2 == 0 || i == COMPARED ? 20 : 5);
    }
    self = others;
    assert_int_equal(known_by_heart, COMPARED - NOTED);
    assert_verdict(REPLAY_TOLD, 15);
}

/* A capture on some stack. */
struct step {
    void (*run)(case_visit *visit, unsigned depth);
    unsigned depth;
    case_visit *visit;
    uint32_t site; /* 0: it is not told */
    bool noted;
};
static const struct step deep = {case_recursion, 20, note_and_tell, 100, false};
static const struct step shallow = {case_recursion, 5, note_and_tell, 101, false};

/* take_turns learns two stacks by heart, in a record that the tests before have taught nothing, and
 * then takes n steps; all from one call, so that the same ones are the same stacks. */
static gm_noinline void take_turns(const struct step *one, const struct step *other,
                                   const struct step *then, size_t n) {
    const size_t learning = 12;
    struct capture_self others = self;
    memset(&self, 0, sizeof self);
    assert_true(capture_self_init(&self));
    for (volatile size_t i = 0; i < learning + n; i++) {
        const struct step *s = i >= learning ? &then[i - learning] : i % 2 == 0 ? one : other;
        site = s->site;
        noted = s->noted;
        known_by_heart = i == learning ? 0 : known_by_heart;
        s->run(s->visit, s->depth);
    }
    self = others;
}

static char coroutines[2][1 << 16] __attribute__((aligned(4096)));

/* Of three coroutines the first and the last have the same memory. */
static void in_coroutine(case_visit *to, unsigned i) {
    char *top = coroutines[i % 2] + sizeof coroutines[i % 2];
    if (i < 2)
        case_begins(top, to);
    else
        case_begins_too(top, to);
    __asm__ volatile(""); /* no tail call */
}

static void a_coroutine_whose_stack_is_known_by_heart_ends_nothing_of_another(void **state) {
    const struct step one = {in_coroutine, 0, note_and_tell, 100, true};
    (void)state;
    if (SANITIZED)
        skip(); /* other stacks are beyond them */
    for (unsigned i = 1; i < 3; i++) {
        const struct step other = {in_coroutine, i, note_and_tell, 101, false};
        const struct step then[] = {
            one, other, {.run = in_coroutine, .depth = i, .visit = compare}};
        take_turns(&one, &other, then, 3);
        assert_verdict(REPLAY_SWITCHED, 0);
    }
}

static char *borrowed; /* the end of a piece of an outer frame */

static void borrow(char *piece, size_t n) {
    borrowed = piece + n - (uintptr_t)(piece + n) % 16;
}

static void on_borrowed(case_visit *to, unsigned depth) {
    (void)depth;
    case_borrows(borrowed, to);
    __asm__ volatile(""); /* no tail call */
}

/* After a stack that goes over several pieces of memory the next one is walked. */
static void a_moment_after_a_stack_of_two_pieces_is_told(void **state) {
    char piece[1 << 14];
    const struct step then[] = {
        {.run = on_borrowed, .visit = note_and_tell, .site = 102},
        {case_recursion, 20, note_and_tell, 100, true},
        {.run = case_recursion, .depth = 20, .visit = compare},
    };
    (void)state;
    if (SANITIZED)
        skip();
    borrow(piece, sizeof piece);
    take_turns(&deep, &shallow, then, 3);
    assert_verdict(REPLAY_TOLD, 0);
    assert_int_equal(known_by_heart, 0);
}

/* Nor is it learnt by heart itself. */
static void a_stack_of_two_pieces_is_not_known_by_heart(void **state) {
    char piece[1 << 14];
    const struct step two = {.run = on_borrowed, .visit = note_and_tell, .site = 102};
    const struct step then[] = {two, deep, two, shallow};
    (void)state;
    if (SANITIZED)
        skip();
    borrow(piece, sizeof piece);
    take_turns(&two, &shallow, then, 4);
    assert_int_equal(known_by_heart, 0);
}

static void by_rbx(case_visit *to, unsigned depth) {
    (void)depth;
    case_by_rbx(to);
    __asm__ volatile(""); /* no tail call */
}

/* An observation that finds no stack forgets the last one: the next is walked. */
static void a_moment_after_an_observation_in_vain_can_be_told(void **state) {
    const struct step then[] = {
        {.run = by_rbx, .visit = compare},
        {case_recursion, 20, note_and_tell, 100, true},
        {.run = case_recursion, .depth = 20, .visit = compare},
    };
    (void)state;
    take_turns(&deep, &shallow, then, 3);
    assert_int_not_equal(moment.when, 0);
    assert_verdict(REPLAY_TOLD, 0);
}

/* As when an object is found to have taken the place of another. */
static void code_is_replaced(case_visit *to, unsigned depth) {
    (void)to;
    (void)depth;
    atomic_fetch_add_explicit(&codeobj_generation, 1, memory_order_seq_cst);
}

static void what_is_known_by_heart_is_forgotten_when_code_was_replaced(void **state) {
    const struct step then[] = {
        {.run = code_is_replaced},
        {case_recursion, 20, note_and_tell, 0, false},
        {case_recursion, 5, note_and_tell, 0, false},
        {case_recursion, 20, note_and_tell, 0, false},
    };
    (void)state;
    take_turns(&deep, &shallow, then, 4);
    assert_int_equal(known_by_heart, 0);
}

static void of_a_stack_deeper_than_is_remembered_nothing_is_told(void **state) {
    (void)state;
    for (volatile int i = 0; i < 2; i++)
        case_recursion(i == 0 ? note : compare, i == 0 ? 2 * REPLAY_REMEMBERED : 20);
    assert_int_equal(moment.when, 0);
    assert_verdict(REPLAY_DEEP, 0);
    for (volatile int i = 0; i < 2; i++)
        case_recursion(i == 0 ? note : compare, i == 1 ? 2 * REPLAY_REMEMBERED : 20);
    assert_verdict(REPLAY_DEEP, 0);
}

static void a_moment_of_before_an_endless_stack_is_not_told(void **state) {
    (void)state;
    for (volatile int i = 0; i < 3; i++)
        case_recursion(i == 0 ? note : compare, i == 1 ? 2 * REPLAY_MAX_WALK : 20);
    assert_verdict(REPLAY_DEEP, 0);
}

static void an_observation_leaves_what_is_known_as_it_was(void **state) {
    (void)state;
    struct capture_stack s;
    uint64_t last[DEPTH], now[DEPTH];
    unsigned n = 0;
    for (volatile int i = 0; i < 2; i++) { /* twice from the same place */
        capture_take(&self, &s);
        memcpy(i == 0 ? last : now, s.pcs, (s.n - s.known) * sizeof *s.pcs);
        if (i == 1)
            memcpy(now + s.n - s.known, last + n - s.known, s.known * sizeof *last);
        n = s.n;
        capture_forget(&self); /* so that all are handed out, but for those of the next line */
        capture_take(&self, &s);
        case_recursion(compare, 3);
    }
    assert_memory_equal(now, last, n * sizeof *now);
}

/* A thread whose record, stack and thread pointer are those of one that is no more. */
static void *note_in_thread(void *arg) {
    (void)arg;
    note();
    return NULL;
}

static void *compare_in_thread(void *arg) {
    (void)arg;
    compare();
    return NULL;
}

static void in_thread(void *(*run_it)(void *)) {
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, run_it, NULL), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
}

static void another_thread_with_the_same_record_is_told_from_it(void **state) {
    (void)state;
    in_thread(note_in_thread);
    uint32_t before = moment.thread;
    in_thread(compare_in_thread);
    assert_verdict(REPLAY_SWITCHED, 0);
    assert_true(capture_moment(&self).thread != before);
}

/* The numbers of a record do not come again in another one of the same thread. */
static void a_moment_of_another_record_is_not_told(void **state) {
    (void)state;
    struct capture_self first = self;
    struct capture_self second = {.pcs = NULL};
    assert_true(capture_self_init(&second));
    for (unsigned i = 0; i < 50; i++)
        note();
    self = second;
    for (unsigned i = 0; i < 100; i++) {
        case_recursion(compare, i % 10);
        assert_verdict(REPLAY_SWITCHED, 0);
    }
    self = first;
    compare();
    assert_verdict(REPLAY_SWITCHED, 0);
}

static void another_unwinder_tells_nothing(void **state) {
    (void)state;
    struct capture_self none = {.pcs = NULL};
    uint64_t value;
    assert_int_equal(capture_moment(&none).when, 0);
    assert_false(capture_observe(&none));
    assert_int_equal(capture_ended(&none, moment, &ended), REPLAY_STOPPED);
    assert_int_equal(capture_return_slot(&none, 0, &value), 0);
}

static int fuzz_for(unsigned frees, uint64_t seed) {
    begin();
    add_all();
    uint64_t want = frees, wrong = 0, told = 0, with_ended = 0, not_told = 0;
    while (told < want) {
        run(200000, seed, 40 + seed % 80);
        seed++;
        told += figures.told;
        with_ended += figures.with_ended;
        wrong += figures.wrong + figures.lost;
        not_told += figures.not_told[1] + figures.not_told[2] + figures.not_told[3];
        memset(&figures, 0, sizeof figures);
    }
    printf("%llu told, %llu of them that something has ended, %llu not told, %llu wrong\n",
           (unsigned long long)told, (unsigned long long)with_ended, (unsigned long long)not_told,
           (unsigned long long)wrong);
    return wrong != 0;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_all_kinds),
        cmocka_unit_test(jumps_and_exceptions),
        cmocka_unit_test(signals_on_two_stacks),
        cmocka_unit_test(coroutines_whose_stacks_are_used_again),
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(what_is_called_meanwhile_ends_nothing),
        cmocka_unit_test(as_many_have_ended_as_are_gone),
        cmocka_unit_test(a_call_from_the_same_place_is_not_refuted),
        cmocka_unit_test(a_call_that_was_seen_to_be_over_is_over_for_ever),
        cmocka_unit_test(a_call_that_was_over_in_a_stack_known_by_heart_is_over),
        cmocka_unit_test(a_coroutine_whose_stack_is_known_by_heart_ends_nothing_of_another),
        cmocka_unit_test(a_moment_after_a_stack_of_two_pieces_is_told),
        cmocka_unit_test(a_stack_of_two_pieces_is_not_known_by_heart),
        cmocka_unit_test(a_moment_after_an_observation_in_vain_can_be_told),
        cmocka_unit_test(what_is_known_by_heart_is_forgotten_when_code_was_replaced),
        cmocka_unit_test(of_a_stack_deeper_than_is_remembered_nothing_is_told),
        cmocka_unit_test(a_moment_of_before_an_endless_stack_is_not_told),
        cmocka_unit_test(an_observation_leaves_what_is_known_as_it_was),
        cmocka_unit_test(another_thread_with_the_same_record_is_told_from_it),
        cmocka_unit_test(a_moment_of_another_record_is_not_told),
        cmocka_unit_test(another_unwinder_tells_nothing),
    };
    if (argc > 1) {
        load(NULL);
        return fuzz_for((unsigned)strtoul(argv[1], NULL, 10),
                        argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    }
    return cmocka_run_group_tests(tests, load, NULL);
}
