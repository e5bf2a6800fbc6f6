/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tables that grow at their end, and sealed memory.
 *
 * What may be read and written is asked of the kernel, which gives EFAULT for what may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sanitized.h"
#include "sys/mem.h"

enum { PAGE = 4096 };

static int pipe_ends[2];

/* Does write(2) get a byte out of p? */
static bool readable(const char *p) {
    char c;
    if (write(pipe_ends[1], p, 1) != 1) {
        assert_int_equal(errno, EFAULT);
        return false;
    }
    assert_int_equal(read(pipe_ends[0], &c, 1), 1);
    return true;
}

/* Does read(2) get a zero into p? */
static bool writable(char *p) {
    char c = 0;
    assert_int_equal(write(pipe_ends[1], &c, 1), 1);
    if (read(pipe_ends[0], p, 1) == 1)
        return true;
    assert_int_equal(errno, EFAULT);
    assert_int_equal(read(pipe_ends[0], &c, 1), 1);
    return false;
}

static int make_pipe(void **state) {
    (void)state;
    return pipe(pipe_ends);
}

static int close_pipe(void **state) {
    (void)state;
    return close(pipe_ends[0]) | close(pipe_ends[1]);
}

/* The bytes of MEM_OTHER in each state are those of the one table. */
static void assert_accounted(const struct mem_table *t, uint64_t reserved, uint64_t prepared) {
    const struct mem_stat *s = &mem_stats[MEM_OTHER];
    assert_int_equal(s->reserved, reserved + t->max - t->open);
    assert_int_equal(s->prepared, prepared + t->open);
    assert_int_equal(s->reserved + s->moved[MEM_SYS_MAP] + s->moved[MEM_SYS_FREE_RESERVED],
                     s->moved[MEM_SYS_RESERVE]);
    assert_int_equal(s->prepared + s->moved[MEM_SYS_FREE_PREPARED], s->moved[MEM_SYS_MAP]);
}

static void a_table_is_open_as_far_as_it_was_reached(void **state) {
    (void)state;
    struct mem_table t;
    uint64_t reserved = mem_stats[MEM_OTHER].reserved, prepared = mem_stats[MEM_OTHER].prepared;
    assert_true(mem_table_init(&t, 8 << 20, MEM_OTHER));
    assert_false(readable(t.base));
    assert_accounted(&t, reserved, prepared);
    size_t steps = 0;
    for (size_t n = 1; n <= t.max; n += 1000) {
        size_t open = t.open;
        assert_true(mem_table_reach(&t, n));
        steps += t.open != open;
        assert_true(t.open >= n && t.open % PAGE == 0);
        assert_int_equal(t.base[n - 1], 0);
        t.base[n - 1] = 'x';
        if (t.open != open) {
            assert_accounted(&t, reserved, prepared);
            assert_true(writable(t.base + t.open - 1));
            assert_true(t.open == t.max || !readable(t.base + t.open));
        }
    }
    for (size_t n = 1; n <= t.max; n += 1000)
        assert_int_equal(t.base[n - 1], 'x');
    assert_in_range(steps, 8, 64); /* neither at once nor a page at a time */
    mem_table_free(&t);
    assert_accounted(&t, reserved, prepared);
}

static void a_table_opens_at_most_what_it_has_twice_and_a_page(void **state) {
    (void)state;
    struct mem_table t;
    assert_true(mem_table_init(&t, 8 << 20, MEM_OTHER));
    for (size_t n = 1; n <= t.max; n += 1000) {
        assert_true(mem_table_reach(&t, n));
        assert_true(t.open <= 2 * n + PAGE);
    }
    mem_table_free(&t);
}

static void a_long_step_is_made_at_once(void **state) {
    (void)state;
    struct mem_table t;
    assert_true(mem_table_init(&t, 8 << 20, MEM_OTHER));
    assert_true(mem_table_reach(&t, (5 << 20) + 1));
    assert_int_equal(t.open, (5 << 20) + PAGE);
    assert_true(writable(t.base + (5 << 20)));
    assert_false(readable(t.base + t.open));
    assert_true(mem_table_reach(&t, 1)); /* is there already */
    assert_int_equal(t.open, (5 << 20) + PAGE);
    mem_table_free(&t);
}

static void a_table_ends_where_it_was_told_to(void **state) {
    (void)state;
    struct mem_table t;
    assert_true(mem_table_init(&t, 5 * PAGE, MEM_OTHER));
    assert_true(mem_table_reach(&t, 4 * PAGE));
    assert_false(mem_table_reach(&t, 5 * PAGE + 1));
    assert_int_equal(t.open, 4 * PAGE);
    assert_true(mem_table_reach(&t, 5 * PAGE)); /* twice as much would be 8 */
    assert_int_equal(t.open, 5 * PAGE);
    mem_table_free(&t);
}

/* Lets the process have as much as it has, and the given bytes. */
static struct rlimit limit_to(int resource, rlim_t bytes) {
    struct rlimit old, limit;
    getrlimit(resource, &old);
    limit = (struct rlimit){.rlim_cur = bytes, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(resource, &limit), 0);
    return old;
}

static void a_table_that_the_kernel_refuses_is_none(void **state) {
    (void)state;
    struct mem_table t;
    if (SANITIZED)
        skip();
    uint64_t reserved = mem_stats[MEM_OTHER].reserved;
    struct rlimit old = limit_to(RLIMIT_AS, 1 << 20);
    bool made = mem_table_init(&t, 64 << 20, MEM_OTHER);
    setrlimit(RLIMIT_AS, &old);
    assert_false(made);
    assert_null(t.base);
    assert_int_equal(mem_stats[MEM_OTHER].reserved, reserved);
    mem_table_free(&t); /* of none */
    assert_int_equal(mem_stats[MEM_OTHER].reserved, reserved);
}

/* RLIMIT_AS counts what is reserved; it is RLIMIT_DATA that counts what is opened. */
static void a_step_that_the_kernel_refuses_changes_nothing(void **state) {
    (void)state;
    struct mem_table t;
    if (SANITIZED)
        skip();
    uint64_t reserved = mem_stats[MEM_OTHER].reserved, prepared = mem_stats[MEM_OTHER].prepared;
    assert_true(mem_table_init(&t, 64 << 20, MEM_OTHER));
    assert_true(mem_table_reach(&t, 100));
    t.base[99] = 'x';
    size_t open = t.open;
    struct rlimit old = limit_to(RLIMIT_DATA, PAGE);
    bool reached = mem_table_reach(&t, open + 1) || mem_table_reach(&t, 32 << 20);
    bool still = mem_table_reach(&t, open);
    setrlimit(RLIMIT_DATA, &old);
    assert_false(reached);
    assert_true(still);
    assert_int_equal(t.open, open);
    assert_int_equal(t.base[99], 'x');
    assert_false(readable(t.base + open));
    assert_accounted(&t, reserved, prepared);
    assert_true(mem_table_reach(&t, 32 << 20));
    assert_int_equal(t.base[99], 'x');
    mem_table_free(&t);
}

static void sealed_memory_reads_as_zero_until_it_is_unsealed(void **state) {
    (void)state;
    static _Alignas(PAGE) char table[8 * PAGE];
    mem_seal(table, sizeof table);
    for (size_t i = 0; i < sizeof table; i += PAGE) {
        assert_int_equal(table[i], 0);
        assert_false(writable(&table[i]));
    }
    assert_true(mem_unseal(&table[2 * PAGE], 2 * PAGE));
    table[2 * PAGE] = table[4 * PAGE - 1] = 'x';
    assert_true(mem_unseal(&table[3 * PAGE], PAGE)); /* is so already */
    assert_int_equal(table[4 * PAGE - 1], 'x');
    assert_false(writable(&table[2 * PAGE - 1]));
    assert_false(writable(&table[4 * PAGE]));
    assert_true(mem_unseal(table, sizeof table));
    assert_int_equal(table[2 * PAGE], 'x');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_open_as_far_as_it_was_reached),
        cmocka_unit_test(a_table_opens_at_most_what_it_has_twice_and_a_page),
        cmocka_unit_test(a_long_step_is_made_at_once),
        cmocka_unit_test(a_table_ends_where_it_was_told_to),
        cmocka_unit_test(a_table_that_the_kernel_refuses_is_none),
        cmocka_unit_test(a_step_that_the_kernel_refuses_changes_nothing),
        cmocka_unit_test(sealed_memory_reads_as_zero_until_it_is_unsealed),
    };
    return cmocka_run_group_tests(tests, make_pipe, close_pipe);
}
