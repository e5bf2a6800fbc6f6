/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names that are too long: what goes first, and what stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/elide.h"

static void expect(char *(*elide)(const char *, size_t), const char *text, size_t width,
                   const char *want) {
    char *s = elide(text, width);
    assert_string_equal(s, want);
    free(s);
}

static void test_arguments_go_first_the_longest_before_the_others(void **state) {
    (void)state;
    static const char name[] =
        "std::vector<std::pair<int, char> >::push_back(std::pair<int, char>&&)";
    expect(elide_name, name, strlen(name), name);
    expect(elide_name, name, 60, "std::vector<~>::push_back(std::pair<int, char>&&)");
    expect(elide_name, name, 45, "std::vector<~>::push_back(std::pair<~>&&)");
    expect(elide_name, name, 40, "std::vector<~>::push_back(~)");
}

static void test_then_the_middle_goes_and_the_function_stays(void **state) {
    (void)state;
    expect(elide_name, "acme::server::requests::Parser::parse(std::string const&)", 24,
           "acme::s~Parser::parse(~)");
    expect(elide_name, "a_function_in_c_with_a_very_long_name_indeed", 20, "a_func~g_name_indeed");
}

static void test_what_are_no_brackets_stays(void **state) {
    (void)state;
    expect(elide_name, "ns::operator<(Longer, Longer)", 20, "ns::operator<(~)");
    expect(elide_name, "ns::operator<<(Stream&, Longer)", 20, "ns::operator<<(~)");
    expect(elide_name, "(anonymous namespace)::f(int, int)", 30, "(anonymous namespace)::f(~)");
    expect(elide_name, "f<&S::operator->>()", 8, "f<~>()");
}

static void test_ends_are_cut(void **state) {
    (void)state;
    expect(elide_end, "a < b < c", 9, "a < b < c");
    expect(elide_end, "a < b < c", 6, "a < b~");
    expect(elide_begin, "/usr/src/file.c:12", 10, "~file.c:12");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments_go_first_the_longest_before_the_others),
        cmocka_unit_test(test_then_the_middle_goes_and_the_function_stays),
        cmocka_unit_test(test_what_are_no_brackets_stays),
        cmocka_unit_test(test_ends_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
