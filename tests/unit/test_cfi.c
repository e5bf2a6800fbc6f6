/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Unwind information: the shorter way to a row says what the full one says, or nothing; in the code
 * of the objects that are loaded here, written by several compilers and by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "unwind/cfi_private.h"

/* What was looked at. */
struct seen {
    unsigned long rows;
    unsigned long shortly; /* of these, those that the shorter way knows */
};

static void assert_same_row(const struct cfi_fde *fde, uint64_t pc, struct seen *seen) {
    struct cfi_row full;
    struct cfi_short s;
    seen->rows++;
    if (!cfi_short_row(fde, pc, &s))
        return;
    seen->shortly++;
    assert_true(cfi_full_row(fde, pc, &full));
    assert_int_equal(full.cfa.rule, CFI_IN_REGISTER);
    assert_int_equal(full.cfa.reg, s.cfa_reg);
    assert_int_equal(full.cfa.value, s.cfa_offset);
    assert_int_equal(full.regs[CFI_RIP].rule, CFI_AT_OFFSET);
    assert_int_equal(full.regs[CFI_RIP].value, -8);
    assert_int_equal(full.regs[CFI_RSP].rule, CFI_SAME);
    assert_int_equal(full.regs[CFI_RBP].rule, s.rbp != 0 ? CFI_AT_OFFSET : CFI_SAME);
    assert_int_equal(full.regs[CFI_RBP].value, s.rbp);
    assert_false(full.signal);
}

/* look_at goes through every few functions of the object that the address is in, by the table in
 * .eh_frame_hdr: after 12 bytes, pairs of 4 bytes, the first of which is a function's beginning. */
static void look_at(const void *code, struct seen *seen) {
    const unsigned every = 7;
    struct cfi_object o;
    uint32_t n;
    assert_true(cfi_object_of((uintptr_t)code, &o));
    memcpy(&n, o.hdr + 8, sizeof n);
    assert_true(n > 0 && n < (o.info_end - o.info_start) / 8);
    for (uint32_t i = 0; i < n; i += every) {
        struct cfi_fde fde;
        int32_t at;
        memcpy(&at, o.hdr + 12 + 8 * (size_t)i, sizeof at);
        uint64_t start = (uintptr_t)o.hdr + (uint64_t)(int64_t)at;
        if (!cfi_find_fde(&o, start, &fde))
            continue;
        uint64_t step = 1 + (fde.end - fde.start) / 64;
        for (uint64_t pc = fde.start; pc < fde.end; pc += step)
            assert_same_row(&fde, pc, seen);
    }
}

static void the_shorter_way_to_a_row_tells_what_the_full_one_does(void **state) {
    (void)state;
    struct seen seen = {.rows = 0};
    assert_true(cfi_init());
    look_at((const void *)(uintptr_t)look_at, &seen);
    look_at((const void *)(uintptr_t)qsort, &seen);
    look_at((const void *)(uintptr_t)_cmocka_run_group_tests, &seen);
    look_at((const void *)(uintptr_t)sin, &seen);
    print_message("%lu rows, %lu by the shorter way\n", seen.rows, seen.shortly);
    assert_true(seen.rows > 1000);
    assert_true(seen.shortly > seen.rows / 10 * 9);
}

/* Operations that are none of a usual row must be left to the full way: each alone, in an FDE of
 * its own. */
static void what_is_not_usual_is_left_to_the_full_way(void **state) {
    (void)state;
    static const uint8_t usual[] = {0x0c, 7, 8, 0x90, 1}; /* CFA = rsp + 8, rip at CFA - 8 */
    static const uint8_t unusual[][5] = {
        {0x90, 2},             /* rip elsewhere */
        {0x87, 2},             /* rsp saved */
        {0x0f, 2, 0x77, 8, 0}, /* CFA by an expression */
        {0x10, 6, 1, 0x77, 0}, /* rbp by an expression */
        {0x07, 16},            /* no caller */
        {0x08, 6},             /* rbp is the same again */
        {0x86, 0},             /* rbp at the CFA itself */
        {0x0b},                /* a row that was not remembered */
        {0x0c, 40, 8},         /* no such register */
        {0x0a, 0x0a, 0x0a, 0x0a},
    };
    struct cfi_fde fde = {
        .cie = {.program = {usual, usual + sizeof usual, false}, .code_align = 1, .data_align = -8},
        .program = {usual, usual, false},
        .start = 0x1000,
        .end = 0x2000};
    struct cfi_short s;
    assert_true(cfi_short_row(&fde, 0x1000, &s));
    for (size_t i = 0; i < sizeof unusual / sizeof unusual[0]; i++) {
        fde.program = (struct cfi_cursor){unusual[i], unusual[i] + sizeof unusual[i], false};
        assert_false(cfi_short_row(&fde, 0x1000, &s));
    }
    fde.program.end = fde.program.p;
    fde.cie.signal = true;
    assert_false(cfi_short_row(&fde, 0x1000, &s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shorter_way_to_a_row_tells_what_the_full_one_does),
        cmocka_unit_test(what_is_not_usual_is_left_to_the_full_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
