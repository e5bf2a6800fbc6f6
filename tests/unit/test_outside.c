/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who is outside of the library: threads as a stop finds them, on made stacks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <cmocka.h>

#include "leak/outside.h"

#define WORDS 256
#define SP    100 /* words of the stack: the pointer, and libc's descriptor */
#define TP    200

static uintptr_t stack[WORDS];
static ucontext_t context;

/* The library's code is 1 MiB here. */
static const struct outside library = {.text_lo = 0x7f0000000000,
                                       .text_hi = 0x7f0000100000,
                                       .main_stack = (uintptr_t)&stack[TP + 20],
                                       .main_tid = 1};

/* thread is one that sleeps somewhere in libc. */
static struct stop_thread thread(void) {
    memset(stack, 0, sizeof stack);
    memset(&context, 0, sizeof context);
    return (struct stop_thread){.tid = 2,
                                .state = STOP_STOPPED,
                                .sp = (uintptr_t)&stack[SP],
                                .pc = 0x7e0000001234,
                                .tp = (uintptr_t)&stack[TP],
                                .regs_lo = (uintptr_t)&context,
                                .regs_hi = (uintptr_t)(&context + 1),
                                .stack_lo = (uintptr_t)stack,
                                .stack_hi = (uintptr_t)&stack[WORDS]};
}

static void a_thread_that_sleeps_is_outside(void **state) {
    struct stop_thread t = thread();
    (void)state;
    for (int i = 0; i < WORDS; i++)
        stack[i] = 0x7e0000000000 + (uintptr_t)i;
    assert_true(outside_is(&library, &t));
}

static void the_program_counter_tells(void **state) {
    struct stop_thread t = thread();
    (void)state;
    t.pc = library.text_lo;
    assert_false(outside_is(&library, &t));
    t.pc = library.text_hi - 1;
    assert_false(outside_is(&library, &t));
    t.pc = library.text_hi;
    assert_true(outside_is(&library, &t));
    t.pc = library.text_lo - 1;
    assert_true(outside_is(&library, &t));
}

/* Any word of the frames may be where it returns to; those below are of calls that are over, and
 * those beyond, libc's own of the thread. */
static void a_word_that_leads_into_the_library_tells(void **state) {
    (void)state;
    for (int i = 0; i < WORDS; i++) {
        struct stop_thread t = thread();
        stack[i] = library.text_lo + 0x500;
        assert_int_equal(outside_is(&library, &t), i < SP || i >= TP);
    }
}

static void who_did_not_stop_is_not_outside(void **state) {
    struct stop_thread t = thread();
    static const enum stop_state states[] = {STOP_ASKED, STOP_MISSING, STOP_ENDED};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        t.state = states[i];
        assert_false(outside_is(&library, &t));
    }
}

/* Of a coroutine's stack, and of one that is not known, too little is seen. */
static void another_stack_tells_nothing(void **state) {
    struct stop_thread t = thread();
    (void)state;
    t.tp = (uintptr_t)&stack[SP - 1];
    assert_false(outside_is(&library, &t));
    t.tp = (uintptr_t)&stack[WORDS];
    assert_false(outside_is(&library, &t));
    t = thread();
    t.stack_lo = t.stack_hi = 0;
    assert_false(outside_is(&library, &t));
}

/* The alternate stack may be part of the thread's own: what it has interrupted may be below. */
static void the_alternate_stack_tells_nothing(void **state) {
    struct stop_thread t = thread();
    (void)state;
    context.uc_stack.ss_sp = &stack[SP - 10];
    context.uc_stack.ss_size = 20 * sizeof *stack;
    assert_false(outside_is(&library, &t));
    context.uc_stack.ss_sp = &stack[SP + 1];
    assert_true(outside_is(&library, &t));
    context.uc_stack.ss_sp = &stack[SP - 20];
    assert_true(outside_is(&library, &t));
}

/* The first thread's descriptor is elsewhere; its stack ends with what the kernel has put there. */
static void the_first_threads_stack_is_known_by_its_end(void **state) {
    struct stop_thread t = thread();
    (void)state;
    t.tid = library.main_tid;
    t.tp = 0x7e0000000000;
    assert_true(outside_is(&library, &t));
    stack[TP + 19] = library.text_lo;
    assert_false(outside_is(&library, &t));
    stack[TP + 19] = 0;
    t.stack_hi = (uintptr_t)&stack[TP];
    assert_false(outside_is(&library, &t));
}

/* This program has the library in it: its functions are within, its data and libc's are not. */
static void this_process_is_described(void **state) {
    struct outside o;
    (void)state;
    outside_init(&o);
    uintptr_t here = (uintptr_t)&outside_is;
    assert_true(here >= o.text_lo && here < o.text_hi);
    assert_false((uintptr_t)stack - o.text_lo < o.text_hi - o.text_lo);
    assert_false((uintptr_t)&o - o.text_lo < o.text_hi - o.text_lo);
    assert_true(o.main_stack > (uintptr_t)&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_that_sleeps_is_outside),
        cmocka_unit_test(the_program_counter_tells),
        cmocka_unit_test(a_word_that_leads_into_the_library_tells),
        cmocka_unit_test(who_did_not_stop_is_not_outside),
        cmocka_unit_test(another_stack_tells_nothing),
        cmocka_unit_test(the_alternate_stack_tells_nothing),
        cmocka_unit_test(the_first_threads_stack_is_known_by_its_end),
        cmocka_unit_test(this_process_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
