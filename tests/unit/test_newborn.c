/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A large object of which a thread, stopped within the library, has but the span's header.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "heap/malloc.h"
#include "leak/newborn.h"

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static void *make(size_t n) {
    void *p = heap_alloc(self(), n, false);
    assert_non_null(p);
    return p;
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* is_kept tells whether a thread that was stopped at pc with the word in a register, or on its
 * stack, keeps p. */
static bool is_kept(void *p, uintptr_t word, bool on_stack, uintptr_t pc) {
    uintptr_t regs[16] = {0}, stack[512] = {0}; /* more than is looked at */
    struct mark m;
    if (on_stack)
        stack[40] = word;
    else
        regs[5] = word;
    const struct root_thread t = {.sp = (uintptr_t)stack,
                                  .regs_lo = (uintptr_t)regs,
                                  .regs_hi = (uintptr_t)(regs + 16),
                                  .pc = pc};
    assert_true(mark_begin(&m, &(struct mark_options){.interior = true}));
    newborn_mark(&m, &t, 1);
    assert_true(mark_all(&m));
    bool kept = !mark_is_unseen(&m, (uintptr_t)p);
    mark_end(&m);
    return kept;
}

#define HERE ((uintptr_t)is_kept) /* the library is linked into this program */

static void the_header_of_a_large_objects_span_keeps_it(void **state) {
    (void)state;
    void *p = make(100000);
    uintptr_t header = (uintptr_t)mheap_span_of((uintptr_t)p);
    assert_true(is_kept(p, header, false, HERE));
    assert_true(is_kept(p, header, true, HERE));
    assert_false(is_kept(p, header + 8, false, HERE));
    assert_false(is_kept(p, 0, false, HERE));
    release(p);
}

static void outside_of_the_library_it_does_not(void **state) {
    (void)state;
    void *p = make(100000);
    uintptr_t header = (uintptr_t)mheap_span_of((uintptr_t)p);
    assert_false(is_kept(p, header, false, 0));
    assert_false(is_kept(p, header, false, (uintptr_t)pthread_join));
    release(p);
}

static void other_words_keep_nothing_and_are_not_followed_astray(void **state) {
    static char aligned[128] __attribute__((aligned(64)));
    static const uintptr_t words[] = {64, 4096, UINTPTR_MAX & ~63ul, (uintptr_t)1 << 47, 0x1000040};
    (void)state;
    void *p = make(100000), *small = make(64);
    memset(aligned, 0, sizeof aligned);
    assert_false(is_kept(p, (uintptr_t)aligned, false, HERE));
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        assert_false(is_kept(p, words[i], true, HERE));
    assert_false(is_kept(small, (uintptr_t)mheap_span_of((uintptr_t)small), false, HERE));
    release(p);
    release(small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_of_a_large_objects_span_keeps_it),
        cmocka_unit_test(outside_of_the_library_it_does_not),
        cmocka_unit_test(other_words_keep_nothing_and_are_not_followed_astray),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
