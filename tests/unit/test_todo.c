/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a mark has to look into: nothing is lost, nothing comes twice, a region at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "leak/todo.h"
#include "random.h"

enum { REGIONS = 8, OBJECTS = 4 * TODO_OBJECTS };
#define BASE UINT64_C(0xc000000000)

static struct todo_region regions[REGIONS];
static uint8_t pending[REGIONS][OBJECTS]; /* how often it has been pushed and not popped */

static uintptr_t object(unsigned region, unsigned i) {
    return BASE + region * TODO_REGION + (uintptr_t)i * TODO_GRANULE;
}

static void push(struct todo *t, unsigned region, unsigned i) {
    todo_push(t, &regions[region], object(region, i));
    pending[region][i]++;
}

/* Takes one; returns its region, REGIONS: there is none. */
static unsigned pop(struct todo *t) {
    uintptr_t p = todo_pop(t);
    if (p == 0)
        return REGIONS;
    unsigned region = (unsigned)((p - BASE) / TODO_REGION);
    size_t i = p % TODO_REGION / TODO_GRANULE;
    assert_in_range(p, BASE, BASE + REGIONS * TODO_REGION - 1);
    assert_true(i < OBJECTS && pending[region][i] > 0);
    pending[region][i]--;
    return region;
}

static void what_is_pushed_is_popped_once(void **state) {
    struct todo t = {.first = NULL};
    struct random r = {.state = 3};
    size_t n = 0;
    (void)state;
    for (int round = 0; round < 200; round++) {
        for (unsigned k = random_below(&r, 2000); k > 0; k--, n++)
            push(&t, random_below(&r, REGIONS), random_below(&r, OBJECTS));
        for (unsigned k = random_below(&r, 2200); k > 0 && pop(&t) != REGIONS; k--)
            n--;
    }
    for (; pop(&t) != REGIONS; n--)
        continue;
    assert_int_equal(n, 0);
    assert_false(t.failed);
    todo_free(&t);
    memset(regions, 0, sizeof regions);
}

static void a_region_is_emptied_before_the_next(void **state) {
    struct todo t = {.first = NULL};
    (void)state;
    for (unsigned i = 0; i < OBJECTS; i++)
        for (unsigned region = 0; region < REGIONS; region++)
            push(&t, region, i);
    for (unsigned region = 0; region < REGIONS; region++) {
        assert_int_equal(pop(&t), region);
        push(&t, region, 0); /* to that whose turn it is */
        for (unsigned i = 0; i < OBJECTS; i++)
            assert_int_equal(pop(&t), region);
    }
    assert_int_equal(pop(&t), REGIONS);
    push(&t, 5, 1); /* and again */
    assert_int_equal(pop(&t), 5);
    assert_int_equal(pop(&t), REGIONS);
    todo_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_pushed_is_popped_once),
        cmocka_unit_test(a_region_is_emptied_before_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
