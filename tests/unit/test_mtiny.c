/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tiny allocator: objects of less than 16 bytes that share a block.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "heap/mtiny.h"

static struct mcache *self(void) {
    struct mcache *c = mcache_self;
    return c != &mcache0 ? c : mcache_attach();
}

static void objects_share_a_block_at_the_alignment_of_their_size(void **state) {
    (void)state;
    tiny_flush(self());
    char *a = tiny_alloc(self(), 1);
    char *b = tiny_alloc(self(), 4);
    char *c = tiny_alloc(self(), 2);
    char *d = tiny_alloc(self(), 6);
    assert_ptr_equal(b, a + 4);
    assert_ptr_equal(c, a + 8);
    assert_ptr_equal(d, a + 10);
    assert_int_equal(tiny_usable(a), 1);
    assert_int_equal(tiny_usable(b), 4);
    assert_int_equal(tiny_usable(c), 2);
    assert_int_equal(tiny_usable(d), 6);
    assert_int_equal(tiny_usable(a + 1), 0);
    char *e = tiny_alloc(self(), 8); /* no room left */
    assert_int_equal((uintptr_t)e % 16, 0);
    for (char *const *p = (char *[]){a, b, c, d, e, NULL}; *p != NULL; p++)
        assert_int_equal(heap_free_slow((uintptr_t)*p), FREE_OK);
}

static void a_block_lives_until_its_last_object_is_freed(void **state) {
    (void)state;
    tiny_flush(self());
    char *a = tiny_alloc(self(), 8);
    char *b = tiny_alloc(self(), 8);
    tiny_flush(self());
    struct mspan *s = mheap_span_of((uintptr_t)a);
    size_t live = mspan_count_live(s);
    assert_int_equal(heap_free_slow((uintptr_t)a), FREE_OK);
    assert_int_equal(mspan_count_live(s), live);
    assert_int_equal(heap_free_slow((uintptr_t)a), FREE_DOUBLE);
    assert_int_equal(heap_free_slow((uintptr_t)b), FREE_OK);
    assert_int_equal(mspan_count_live(s), live - 1);
    assert_int_equal(heap_free_slow((uintptr_t)b), FREE_INVALID); /* nothing is there any more */
}

static void a_block_that_is_being_filled_outlives_its_objects(void **state) {
    (void)state;
    tiny_flush(self());
    char *a = tiny_alloc(self(), 4);
    struct mspan *s = mheap_span_of((uintptr_t)a);
    size_t live = mspan_count_live(s);
    assert_int_equal(heap_free_slow((uintptr_t)a), FREE_OK);
    assert_int_equal(mspan_count_live(s), live);
    char *b = tiny_alloc(self(), 4);
    assert_ptr_equal(b, a + 4);
    tiny_flush(self());
    assert_int_equal(heap_free_slow((uintptr_t)b), FREE_OK);
    assert_int_equal(mspan_count_live(s), live - 1);
}

static void an_ordinary_object_of_the_same_span_is_freed_as_ever(void **state) {
    (void)state;
    char *tiny = tiny_alloc(self(), 2);
    char *plain = heap_alloc(self(), 16, true);
    assert_ptr_equal(mheap_span_of((uintptr_t)plain), mheap_span_of((uintptr_t)tiny));
    assert_int_equal(heap_usable(plain), 16);
    assert_false(heap_free_fast(plain));
    assert_int_equal(heap_free_slow((uintptr_t)plain), FREE_OK);
    assert_int_equal(heap_free_slow((uintptr_t)plain), FREE_DOUBLE);
    assert_int_equal(heap_free_slow((uintptr_t)tiny), FREE_OK);
}

enum { N = 40000, NTHREADS = 4 };
static char *objects[NTHREADS][N];

static void *allocate(void *arg) {
    char **p = arg;
    for (size_t i = 0; i < N; i++) {
        size_t size = 1 + i % 15;
        p[i] = tiny_alloc(self(), size);
        if (p[i] == NULL) /* the first one of a thread needs an mcache */
            return (void *)1;
        memset(p[i], (int)i, size);
    }
    return NULL;
}

static void *release(void *arg) {
    char **p = arg;
    for (size_t i = 0; i < N; i++)
        if (p[i][0] != (char)i || heap_free_slow((uintptr_t)p[i]) != FREE_OK)
            return (void *)1;
    return NULL;
}

static void run(void *(*f)(void *), unsigned shift) {
    pthread_t t[NTHREADS];
    for (unsigned i = 0; i < NTHREADS; i++)
        pthread_create(&t[i], NULL, f, objects[(i + shift) % NTHREADS]);
    for (unsigned i = 0; i < NTHREADS; i++) {
        void *failed;
        pthread_join(t[i], &failed);
        assert_null(failed);
    }
}

static void other_threads_may_free_them(void **state) {
    (void)state;
    uint64_t before = mheap_.pages_in_use;
    run(allocate, 0);
    run(release, 1);
    mheap_reclaim(&mheap_);
    assert_true(mheap_.pages_in_use <= before + 2);
    const char *why;
    assert_true(mheap_consistent(&mheap_, &why));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_share_a_block_at_the_alignment_of_their_size),
        cmocka_unit_test(a_block_lives_until_its_last_object_is_freed),
        cmocka_unit_test(a_block_that_is_being_filled_outlives_its_objects),
        cmocka_unit_test(an_ordinary_object_of_the_same_span_is_freed_as_ever),
        cmocka_unit_test(other_threads_may_free_them),
    };
    return cmocka_run_group_tests_name("tiny allocator", tests, NULL, NULL);
}
