/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ignored objects: they and what they lead to are kept, and counted; no more once they are freed.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "heap/malloc.h"
#include "leak/ignore.h"

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static void **make(size_t n) {
    void *p = heap_alloc(self(), n, false);
    assert_non_null(p);
    return memset(p, 0, n);
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

/* A check without any root but `root`; what is kept is told by is_kept. */
static struct mark mark;

static struct ignored check(void *root) {
    struct ignored ignored;
    assert_true(mark_begin(&mark, &(struct mark_options){.interior = true}));
    mark_keep(&mark, (uintptr_t)root);
    assert_true(mark_all(&mark));
    assert_true(ignore_mark(&mark, &ignored));
    return ignored;
}

static bool is_kept(void *p) {
    return !mark_is_unseen(&mark, (uintptr_t)p);
}

static void what_an_ignored_object_leads_to_is_kept_and_counted(void **state) {
    (void)state;
    void **a = make(64), **b = make(200000), **c = make(64), **d = make(64), **root = make(64);
    a[3] = b;
    b[20000] = c;
    b[20001] = root;
    struct ignored none = check(root);
    assert_int_equal(none.objects, 0);
    assert_int_equal(none.spared, 0);
    assert_false(is_kept(a));
    mark_end(&mark);
    assert_int_equal(ignore_object((uintptr_t)(a + 1)), 0);
    struct ignored some = check(root);
    assert_int_equal(some.objects, 1);
    assert_int_equal(some.spared, 3);
    assert_true(is_kept(a) && is_kept(b) && is_kept(c) && is_kept(root));
    assert_false(is_kept(d));
    mark_end(&mark);
    void **all[] = {a, b, c, d, root};
    for (unsigned i = 0; i < 5; i++)
        release(all[i]);
}

static void an_ignored_object_that_is_reachable_spares_nothing(void **state) {
    (void)state;
    void **root = make(64), **a = make(100);
    root[0] = a;
    assert_int_equal(ignore_object((uintptr_t)a), 0);
    assert_int_equal(ignore_object((uintptr_t)a), 0);
    struct ignored some = check(root);
    assert_int_equal(some.objects, 1);
    assert_int_equal(some.spared, 0);
    mark_end(&mark);
    release(a);
    release(root);
}

static void the_next_object_in_its_place_is_not_ignored(void **state) {
    (void)state;
    static const size_t sizes[] = {8, 64, 1000, 50000, 3000000};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void **a = make(sizes[i]);
        assert_int_equal(ignore_object((uintptr_t)a), 0);
        release(a);
        void **b = make(sizes[i]);
        struct ignored none = check(NULL);
        assert_int_equal(none.objects, 0);
        assert_false(is_kept(b));
        mark_end(&mark);
        release(b);
    }
}

static void what_is_no_object_is_refused(void **state) {
    (void)state;
    void **a = make(64), **b = make(200000);
    int local;
    release(a);
    assert_int_equal(ignore_object((uintptr_t)a), -EINVAL);
    assert_int_equal(ignore_object((uintptr_t)&local), -EINVAL);
    assert_int_equal(ignore_object(0), -EINVAL);
    assert_int_equal(ignore_object(UINTPTR_MAX), -EINVAL);
    release(b);
    assert_int_equal(ignore_object((uintptr_t)b), -EINVAL);
}

static void *ignore(void *p) {
    return (void *)(intptr_t)ignore_object((uintptr_t)p);
}

static void an_object_of_another_thread_can_be_ignored(void **state) {
    (void)state;
    pthread_t thread;
    void *result;
    void **a = make(64);
    assert_int_equal(pthread_create(&thread, NULL, ignore, a), 0);
    pthread_join(thread, &result);
    assert_null(result);
    assert_int_equal(check(NULL).spared, 1);
    mark_end(&mark);
    release(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_ignored_object_leads_to_is_kept_and_counted),
        cmocka_unit_test(an_ignored_object_that_is_reachable_spares_nothing),
        cmocka_unit_test(the_next_object_in_its_place_is_not_ignored),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(an_object_of_another_thread_can_be_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
