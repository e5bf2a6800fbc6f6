/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The slices of the library's threads.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/slice.h"

/* As the kernel has it. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static struct attributes of_this_thread(void) {
    struct attributes a = {.size = 0};
    assert_return_code(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0), 0);
    return a;
}

/* What a thread of this priority and policy is before, and after. */
struct changed {
    int policy;
    int nice;
    struct attributes before, after;
};

static void *shorten(void *arg) {
    struct changed *c = arg;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), c->nice);
    sched_setscheduler(0, c->policy, &(struct sched_param){0});
    c->before = of_this_thread();
    slice_shorten();
    c->after = of_this_thread();
    return NULL;
}

static struct changed changed(int policy, int nice) {
    struct changed c = {.policy = policy, .nice = nice};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, shorten, &c), 0);
    pthread_join(thread, NULL);
    return c;
}

static void the_slice_is_shorter_and_all_else_as_before(void **state) {
    (void)state;
    const int policies[] = {SCHED_OTHER, SCHED_BATCH};
    for (size_t i = 0; i < 2; i++) {
        struct changed c = changed(policies[i], 7);
        assert_int_equal(c.before.nice, 7);
        assert_int_equal(c.after.nice, 7);
        assert_int_equal(c.after.policy, policies[i]);
        assert_int_equal(c.after.priority, 0);
        if (c.before.runtime != 0) /* this kernel has slices */
            assert_int_equal(c.after.runtime, 100000);
    }
}

static void other_policies_are_left_alone(void **state) {
    (void)state;
    struct changed c = changed(SCHED_IDLE, 0);
    assert_int_equal(c.before.policy, SCHED_IDLE);
    assert_memory_equal(&c.after, &c.before, sizeof c.after);
}

static void the_other_threads_keep_theirs(void **state) {
    (void)state;
    struct attributes before = of_this_thread();
    changed(SCHED_OTHER, 0);
    struct attributes after = of_this_thread();
    assert_memory_equal(&after, &before, sizeof after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slice_is_shorter_and_all_else_as_before),
        cmocka_unit_test(other_policies_are_left_alone),
        cmocka_unit_test(the_other_threads_keep_theirs),
    };
    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
