/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Epochs: a time comes back no later than it was, and not earlier by more than is said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "heap/mepoch.h"

static void epochs_grow_with_time_and_each_is_used(void **state) {
    (void)state;
    uint32_t before = 0;
    for (uint32_t e = 0; e < MEPOCH_UNKNOWN; e++) {
        uint32_t seconds = mepoch_seconds((uint16_t)e);
        assert_int_equal(mepoch_of(seconds), e);
        if (e != 0)
            assert_true(seconds > before);
        before = seconds;
    }
    assert_true(before > 4u * 365 * 86400);
}

static void a_time_is_known_to_the_second_or_a_part_in_4096(void **state) {
    (void)state;
    for (uint64_t t = 0; t < (uint64_t)4 * 365 * 86400; t += 1 + t / 1777) {
        uint64_t known = mepoch_seconds(mepoch_of(t));
        assert_true(known <= t);
        assert_true(t - known <= t / 4096);
    }
}

static void a_time_too_late_is_the_last_one(void **state) {
    (void)state;
    uint16_t last = MEPOCH_UNKNOWN - 1;
    assert_int_equal(mepoch_of(MEPOCH_MAX_SECONDS), last);
    assert_int_equal(mepoch_of(UINT64_MAX), last);
    assert_int_equal(mepoch_seconds(MEPOCH_UNKNOWN), MEPOCH_NOT_A_TIME);
}

static void the_first_update_is_the_start(void **state) {
    (void)state;
    assert_int_equal(mepoch_now(), MEPOCH_UNKNOWN);
    mepoch_update();
    /* 0, if this machine is not asleep between the two calls. */
    uint16_t first = mepoch_now();
    assert_int_not_equal(first, MEPOCH_UNKNOWN);
    mepoch_update();
    assert_true(mepoch_now() >= first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(epochs_grow_with_time_and_each_is_used),
        cmocka_unit_test(a_time_is_known_to_the_second_or_a_part_in_4096),
        cmocka_unit_test(a_time_too_late_is_the_last_one),
        cmocka_unit_test(the_first_update_is_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
