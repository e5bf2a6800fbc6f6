/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why an object lives: planted pointers, and the chain that is told.  The objects' addresses are in
 * clear only where the test has put them, or the answer would be another.  Not for sanitizers, as
 * test_roots.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "heap/mstack.h"
#include "leak/ignore.h"
#include "leak/why.h"

enum { PAGE = 4096 };

#define HIDE(p) (~(uintptr_t)(p))

/* Where objects are kept from: data of a file.  The test's own data are the library's. */
static void *volatile *others;
#define VARIABLE others[100]

static struct why *y; /* the library's own memory, which is no root */
static struct roots_report report;
static struct leaks leaks;
static struct mark_options options = {.interior = true};
static struct root_region region;
static uint64_t nlive;

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

/* make returns the complement of a new object's address. */
static gm_noinline uintptr_t make(size_t n, bool noscan) {
    void *p = heap_alloc(self(), n, noscan);
    assert_non_null(p);
    return HIDE(memset(p, 0, n));
}

static gm_noinline void drop(uintptr_t hidden) {
    void *p = (void *)HIDE(hidden);
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* put stores the address of an object in a place, or at an offset in another object. */
static gm_noinline void put(volatile void *place, uintptr_t hidden) {
    *(volatile uintptr_t *)place = HIDE(hidden);
}

static gm_noinline void put_in(uintptr_t object, size_t offset, uintptr_t hidden) {
    put((void *)(HIDE(object) + offset), hidden);
}

static gm_noinline void wipe_stack(void) {
    volatile char room[8192];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0;
}

static uintptr_t thread_pointer(void) {
    uintptr_t v;
    __asm__("movq %%fs:0, %0" : "=r"(v));
    return v;
}

static gm_noinline bool ask_at(uintptr_t sp, uintptr_t hidden, size_t offset) {
    struct mark m;
    struct root_thread t = {.tid = (uint32_t)gettid(), .sp = sp, .tp = thread_pointer()};
    const struct roots r = {.threads = &t,
                            .nthreads = 1,
                            .regions = &region,
                            .nregions = region.start != 0,
                            .mapped = true};
    memset(y, 0, sizeof *y);
    memset(&report, 0, sizeof report);
    memset(&leaks, 0, sizeof leaks);
    assert_true(mark_begin(&m, &options));
    bool ok = why_ask(&m, &r, HIDE(hidden) + offset, y, &report, &leaks);
    nlive = m.nlive;
    leaks_free(&leaks);
    mark_end(&m);
    return ok;
}

/* ask asks about the byte of an object; the stack counts from the caller's caller on. */
static gm_noinline enum why_state ask(uintptr_t hidden, size_t offset) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    wipe_stack();
    assert_true(ask_at(here + 1024, hidden, offset));
    return y->object.state;
}

static bool is_object(const struct why_step *s, uintptr_t hidden, size_t offset) {
    return s->place.is_object && s->place.start == HIDE(hidden) &&
           s->place.word == HIDE(hidden) + offset;
}

static bool is_end(const struct why_step *s, uintptr_t hidden) {
    return s->place.is_object && s->place.start == HIDE(hidden) && s->place.word == 0;
}

static bool is_root(const struct why_step *s, enum root_kind kind, volatile void *word) {
    return !s->place.is_object && s->place.kind == kind && s->place.word == (uintptr_t)word;
}

static void test_a_variable_and_objects_lead_to_an_object(void **state) {
    (void)state;
    uintptr_t a = make(64, false), b = make(48, false), c = make(5000, false), d = make(80, true);
    put(&VARIABLE, a);
    put_in(a, 56, b);
    put_in(b, 0, c);
    put_in(c, 4080, d);
    put_in(d, 0, b); /* nobody looks into it */
    assert_int_equal(ask(d, 0), WHY_REACHABLE);
    assert_int_equal(y->object.start, HIDE(d));
    assert_int_equal(y->object.bytes, 80);
    assert_int_equal(y->length, 5);
    assert_int_equal(y->nsteps, 5);
    assert_true(is_root(&y->steps[0], ROOT_DATA, &VARIABLE));
    assert_int_equal(y->steps[0].value, HIDE(a));
    assert_true(is_object(&y->steps[1], a, 56));
    assert_true(is_object(&y->steps[2], b, 0));
    assert_true(is_object(&y->steps[3], c, 4080));
    assert_int_equal(y->steps[3].value, HIDE(d));
    assert_true(is_end(&y->steps[4], d));
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(y->steps[i].number, i);
    assert_int_equal(y->referrers.nwords, 1);
    VARIABLE = NULL;
    drop(a), drop(b), drop(c), drop(d);
}

static void test_the_shortest_of_several_chains_is_told(void **state) {
    (void)state;
    uintptr_t a = make(32, false), b = make(32, false), c = make(32, false), d = make(32, false);
    put(&others[0], a);
    put_in(a, 0, b);
    put_in(b, 0, c);
    put_in(c, 0, d);
    put(&others[1], c);
    assert_int_equal(ask(d, 0), WHY_REACHABLE);
    assert_int_equal(y->length, 3);
    assert_true(is_root(&y->steps[0], ROOT_DATA, &others[1]));
    put(&others[2], d);
    assert_int_equal(ask(d, 0), WHY_REACHABLE);
    assert_int_equal(y->length, 2);
    assert_int_equal(y->referrers.nwords, 2);
    memset((void *)others, 0, PAGE);
    drop(a), drop(b), drop(c), drop(d);
}

static void test_an_address_within_an_object_is_that_object(void **state) {
    (void)state;
    uintptr_t a = make(100, false), b = make(40000, false);
    put(&VARIABLE, a);
    put_in(a, 8, b - 30000); /* the complement of its byte 30000 */
    assert_int_equal(ask(b, 20000), WHY_REACHABLE);
    assert_int_equal(y->object.start, HIDE(b));
    assert_int_equal(y->asked, HIDE(b) + 20000);
    assert_true(is_object(&y->steps[1], a, 8));
    assert_int_equal(y->steps[1].value, HIDE(b) + 30000);
    options.interior = false;
    assert_int_equal(ask(b, 20000), WHY_LEAKED);
    options.interior = true;
    VARIABLE = NULL;
    drop(a), drop(b);
}

static void test_a_word_at_any_address_counts_if_that_is_asked(void **state) {
    (void)state;
    uintptr_t a = make(64, false), b = make(64, false);
    put(&VARIABLE, a);
    put_in(a, 13, b);
    assert_int_equal(ask(b, 0), WHY_LEAKED);
    options.unaligned = true;
    assert_int_equal(ask(b, 0), WHY_REACHABLE);
    options.unaligned = false;
    assert_true(is_object(&y->steps[1], a, 13));
    VARIABLE = NULL;
    drop(a), drop(b);
}

static void test_a_list_of_a_million_is_told_by_its_ends(void **state) {
    (void)state;
    const uint64_t n = 1000000;
    uintptr_t first = make(16, false), last = first;
    for (uint64_t i = 1; i < n; i++) {
        uintptr_t next = make(16, false);
        put_in(last, 8, next);
        last = next;
    }
    put(&VARIABLE, first);
    assert_int_equal(ask(last, 0), WHY_REACHABLE);
    assert_int_equal(y->length, n + 1);
    assert_int_equal(y->nsteps, 2 * WHY_ENDS);
    assert_true(is_object(&y->steps[1], first, 8));
    assert_int_equal(y->steps[WHY_ENDS - 1].number, WHY_ENDS - 1);
    assert_int_equal(y->steps[WHY_ENDS].number, n + 1 - WHY_ENDS);
    assert_true(is_end(&y->steps[2 * WHY_ENDS - 1], last));
    for (unsigned i = 2; i < 2 * WHY_ENDS; i++)
        assert_true(i == WHY_ENDS || y->steps[i].place.start == y->steps[i - 1].value);
    VARIABLE = NULL;
    for (uintptr_t p = first, next; HIDE(p) != 0; p = next) {
        next = HIDE(*(uintptr_t *)(HIDE(p) + 8));
        drop(p);
    }
}

static void test_what_is_lost_is_told_with_its_head(void **state) {
    (void)state;
    uintptr_t a = make(64, false), b = make(64, false), c = make(64, false);
    put_in(a, 8, b);
    put_in(b, 16, c);
    put_in(c, 24, c);
    assert_int_equal(ask(c, 0), WHY_LEAKED);
    assert_int_equal(y->head, HIDE(a));
    assert_int_equal(y->length, 3);
    assert_true(is_object(&y->steps[0], a, 8));
    assert_true(is_object(&y->steps[1], b, 16));
    assert_true(is_end(&y->steps[2], c));
    assert_int_equal(y->referrers.nwords, 1); /* not its own */
    assert_int_equal(y->referrers.nleaked, 1);
    assert_int_equal(ask(a, 63), WHY_LEAKED);
    assert_int_equal(y->head, HIDE(a));
    assert_int_equal(y->length, 1);
    assert_int_equal(y->referrers.nwords, 0);
    drop(a), drop(b), drop(c);
}

static void test_words_that_are_alike_are_counted_together(void **state) {
    (void)state;
    enum { HOLDERS = 500 };
    uintptr_t target = make(80, false), table = make(HOLDERS * 8, false), lost = make(64, false);
    put(&VARIABLE, table);
    for (unsigned i = 0; i < HOLDERS; i++) {
        uintptr_t h = make(i < HOLDERS / 2 ? 32 : 48, false);
        put_in(h, 8, target - i % 80); /* bytes of it */
        put_in(table, i * 8, h);
    }
    put_in(lost, 0, target);
    put_in(lost, 8, target);
    put(&others[0], target);
    put(&others[2], target);
    assert_int_equal(ask(target, 0), WHY_REACHABLE);
    assert_int_equal(y->referrers.nwords, HOLDERS + 4);
    assert_int_equal(y->referrers.nleaked, 2);
    assert_int_equal(y->referrers.n, 5);
    const struct why_referrer *r = y->referrers.all;
    assert_int_equal(r[0].place.word, &others[0]); /* each variable for itself */
    assert_int_equal(r[1].place.word, &others[2]);
    assert_int_equal(r[2].words, HOLDERS / 2);
    assert_int_equal(r[2].place.end - r[2].place.start, 32);
    assert_int_equal(r[3].words, HOLDERS / 2);
    assert_true(r[4].leaked);
    assert_int_equal(r[4].words, 2);
    memset((void *)others, 0, PAGE);
    VARIABLE = NULL;
    for (unsigned i = 0; i < HOLDERS; i++)
        drop(HIDE(((uintptr_t *)HIDE(table))[i]));
    drop(target), drop(table), drop(lost);
}

static void test_more_sorts_of_holders_than_there_is_room_for_are_counted(void **state) {
    (void)state;
    uintptr_t target = make(80, false);
    for (unsigned i = 0; i < 40; i++)
        put(&others[i], target);
    assert_int_equal(ask(target, 0), WHY_REACHABLE);
    assert_int_equal(y->referrers.nwords, 40);
    assert_true(y->referrers.n < WHY_REFERRERS); /* objects would have room */
    memset((void *)others, 0, PAGE);
    drop(target);
}

static gm_noinline void clear(void *volatile *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        words[i] = NULL;
}

static gm_noinline void on_the_stack(uintptr_t target) {
    void *volatile local[200];
    clear(local, 200);
    put(&local[150], target);
    assert_int_equal(ask(target, 0), WHY_REACHABLE);
    assert_true(is_root(&y->steps[0], ROOT_STACK, &local[150]));
    assert_int_equal(y->steps[0].place.tid, gettid());
    assert_int_equal(y->length, 2);
    clear(local, 200);
}

static gm_noinline void on_the_stack_and_in_a_variable(uintptr_t target, uintptr_t holder) {
    void *volatile local[200];
    clear(local, 200);
    put(&local[150], target);
    put(&VARIABLE, holder);
    put_in(holder, 0, target);
    assert_int_equal(ask(target, 0), WHY_REACHABLE);
    assert_true(is_root(&y->steps[0], ROOT_DATA, &VARIABLE));
    assert_int_equal(y->length, 3);
    assert_int_equal(y->referrers.nwords, 2);
    clear(local, 200);
    VARIABLE = NULL;
}

static void test_a_stack_leads_there_but_a_variable_is_told_rather(void **state) {
    (void)state;
    uintptr_t target = make(96, false), holder = make(96, false);
    on_the_stack(target);
    on_the_stack_and_in_a_variable(target, holder);
    wipe_stack();
    assert_int_equal(ask(target, 0), WHY_LEAKED);
    drop(target), drop(holder);
}

static __thread void *volatile thread_variable;

static void test_a_thread_local_variable_is_one(void **state) {
    (void)state;
    uintptr_t target = make(96, false);
    put(&thread_variable, target);
    assert_int_equal(ask(target, 0), WHY_REACHABLE);
    /* Where libraries are mapped upwards, the kernel may make one mapping of libc's data and the
     * first thread's variables behind it. */
    if (is_root(&y->steps[0], ROOT_DATA, &thread_variable)) {
        print_message("the first thread's variables are in libc's mapping\n");
    } else {
        assert_true(is_root(&y->steps[0], ROOT_STACK, &thread_variable));
        assert_true(y->steps[0].place.variable);
        assert_int_equal(y->steps[0].place.tp, thread_pointer());
    }
    thread_variable = NULL;
    drop(target);
}

static void test_mapped_memory_comes_last_unless_the_program_has_named_it(void **state) {
    (void)state;
    uintptr_t target = make(96, false);
    char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    put(p + 3 * PAGE + 64, target);
    assert_int_equal(ask(target, 0), WHY_REACHABLE);
    assert_true(is_root(&y->steps[0], ROOT_MAPPED, p + 3 * PAGE + 64));
    region = (struct root_region){(uintptr_t)p + 3 * PAGE, (uintptr_t)p + 4 * PAGE};
    assert_int_equal(ask(target, 0), WHY_REACHABLE);
    assert_true(is_root(&y->steps[0], ROOT_REGION, p + 3 * PAGE + 64));
    assert_int_equal(y->steps[0].place.start, p + 3 * PAGE);
    region.start = 0;
    munmap(p, 16 * PAGE);
    drop(target);
}

static void test_what_the_program_ignores_is_told(void **state) {
    (void)state;
    uintptr_t a = make(96, false), b = make(96, false);
    put_in(a, 8, b);
    assert_int_equal(ask(b, 0), WHY_LEAKED);
    assert_int_equal(ignore_object(HIDE(a)), 0);
    assert_int_equal(ask(b, 0), WHY_IGNORED);
    assert_int_equal(y->length, 2);
    assert_true(is_object(&y->steps[0], a, 8));
    put(&VARIABLE, b);
    assert_int_equal(ask(b, 0), WHY_REACHABLE);
    VARIABLE = NULL;
    drop(a), drop(b);
}

static void test_what_is_no_object_is_said(void **state) {
    (void)state;
    int local;
    uintptr_t freed = make(3000, false), large = make(3 << 20, false);
    char *own = mem_alloc(PAGE, MEM_OTHER);
    void *stack = stack_alloc(self(), 65536, false);
    const struct mspan *s = mheap_span_covering(HIDE(freed));
    uintptr_t tail = s->base + s->nelems * mspan_elem_bytes(s);
    assert_int_equal(ask(HIDE(&local), 0), WHY_OUTSIDE);
    assert_int_equal(ask(HIDE(16), 0), WHY_OUTSIDE);
    assert_int_equal(ask(HIDE(own), 100), WHY_OWN);
    assert_int_equal(ask(HIDE(&mheap_), 0), WHY_OWN);
    assert_int_equal(ask(HIDE(stack), 100), WHY_STACK);
    if (tail < s->base + (s->npages << GM_PAGE_SHIFT))
        assert_int_equal(ask(HIDE(tail), 0), WHY_NO_SLOT);
    drop(freed);
    assert_int_equal(ask(freed, 2999), WHY_FREE);
    assert_int_equal(y->object.start, HIDE(freed));
    assert_int_equal(y->length, 0);
    drop(large);
    assert_int_equal(ask(large, 1 << 20), WHY_NO_SPAN);
    stack_free(self(), (uintptr_t)stack);
    mem_free(own, PAGE, MEM_OTHER, 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_variable_and_objects_lead_to_an_object),
        cmocka_unit_test(test_the_shortest_of_several_chains_is_told),
        cmocka_unit_test(test_an_address_within_an_object_is_that_object),
        cmocka_unit_test(test_a_word_at_any_address_counts_if_that_is_asked),
        cmocka_unit_test(test_a_list_of_a_million_is_told_by_its_ends),
        cmocka_unit_test(test_what_is_lost_is_told_with_its_head),
        cmocka_unit_test(test_words_that_are_alike_are_counted_together),
        cmocka_unit_test(test_more_sorts_of_holders_than_there_is_room_for_are_counted),
        cmocka_unit_test(test_a_stack_leads_there_but_a_variable_is_told_rather),
        cmocka_unit_test(test_a_thread_local_variable_is_one),
        cmocka_unit_test(test_mapped_memory_comes_last_unless_the_program_has_named_it),
        cmocka_unit_test(test_what_the_program_ignores_is_told),
        cmocka_unit_test(test_what_is_no_object_is_said),
    };
    int fd = memfd_create("data", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, PAGE) == 0);
    others = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    assert_true((void *)others != MAP_FAILED);
    y = mem_alloc(align_up(sizeof *y, PAGE), MEM_OTHER);
    assert_non_null(y);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
