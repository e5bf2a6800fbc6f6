/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The list of wrappers: names without what tells instances apart, patterns, and what users add.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Before cmocka, which has a macro called fail. */
#include "names/wrapper.h"

#include <cmocka.h>

static void test_names_lose_what_tells_instances_apart(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"xmalloc", "xmalloc"},
        {"xmalloc.part.0", "xmalloc"},
        {"Perl_sv_grow.constprop.12.isra.0", "Perl_sv_grow"},
        {"main.loop", "main.loop"},
        {"__GI___strdup", "__strdup"},
        {"operator new", "operator new"},
        {"operator new[](unsigned long)", "operator new[]"},
        {"operator delete(void*, unsigned long)", "operator delete"},
        {"std::vector<int, std::allocator<int> >::push_back", "std::vector::push_back"},
        {"void std::vector<a<b>, c>::emplace_back<int>(int&&)", "std::vector::emplace_back"},
        {"std::_Rb_tree_node<std::pair<int const, x> >* std::_Rb_tree<int, "
         "x>::_M_create_node<y>(y)",
         "std::_Rb_tree::_M_create_node"},
        {"std::ostream& std::operator<< <std::char_traits<char> >(std::ostream&, char const*)",
         "std::operator<<"},
        {"a::operator->() const", "a::operator->"},
        {"std::operator+<char, std::char_traits<char> >", "std::operator+"},
        {"a::operator[](int)", "a::operator[]"},
        {"a::operator<=><int>(b)", "a::operator<=>"},
        {"bool a::operator< <int>(int)", "a::operator<"},
        {"a::operator()(int) const", "a::operator()"},
        {"a::operator std::string() const", "a::operator std::string"},
        {"(anonymous namespace)::grow<int>(int)", "(anonymous namespace)::grow"},
        {"a::(anonymous namespace)::grow", "a::(anonymous namespace)::grow"},
        {"load(int)::{lambda(int)#1}::operator()(int) const", "load::{lambda(int)#1}::operator()"},
        {"load(int) const::{lambda()#1}::operator()() const", "load::{lambda()#1}::operator()"},
        {"alloc::vec::Vec<T,A>::push", "alloc::vec::Vec::push"},
        {"<alloc::string::String as core::clone::Clone>::clone", "alloc::string::String::clone"},
        {"<alloc::vec::Vec<u8> as core::iter::Extend<&u8>>::extend", "alloc::vec::Vec::extend"},
        {"<&mut a::B<c> as d>::e::{{closure}}", "a::B::e::{{closure}}"},
        {"<alloc::raw_vec::RawVec<T,A>>::grow_one", "alloc::raw_vec::RawVec::grow_one"},
        {"grow [clone .cold]", "grow"},
        {"operation", "operation"},
        {"", ""},
        {"<", ""},
        {"a<b<c", "a"},
        {"f(", "f"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buf[256];
        assert_string_equal(wrapper_plain_name(cases[i][0], buf, sizeof buf), cases[i][1]);
    }
}

/* Whatever bytes a file has for a name, no byte beyond the buffer is written. */
static void test_any_name_fits_any_buffer(void **state) {
    (void)state;
    static const char alphabet[] = "a:<>(){}[] .-&operator new as";
    unsigned random = 12345;
    for (unsigned round = 0; round < 200000; round++) {
        char name[32], buf[24];
        size_t size = 1 + round % 16, n = round % 31;
        for (size_t i = 0; i < n; i++) {
            random = random * 1664525 + 1013904223;
            name[i] = alphabet[(random >> 16) % (sizeof alphabet - 1)];
        }
        name[n] = '\0';
        memset(buf, 'x', sizeof buf);
        wrapper_plain_name(name, buf, size);
        assert_true(strlen(buf) < size);
        for (size_t i = size; i < sizeof buf; i++)
            assert_int_equal(buf[i], 'x');
    }
}

static void test_the_built_in_list_knows_wrappers_and_no_more(void **state) {
    (void)state;
    static const char *const wrappers[] = {"xmalloc",
                                           "xstrdup",
                                           "operator new(unsigned long)",
                                           "operator new[]",
                                           "g_malloc0_n",
                                           "strdup",
                                           "__strndup",
                                           "std::allocator<int>::allocate",
                                           "__gnu_cxx::new_allocator<int>::allocate",
                                           "std::vector<int, std::allocator<int> >::push_back",
                                           "std::_Rb_tree<a, b>::_M_create_node<c>",
                                           "std::__cxx11::basic_string<char>::_M_create",
                                           "alloc::raw_vec::RawVec<T,A>::reserve_for_push",
                                           "<alloc::string::String as core::clone::Clone>::clone",
                                           "PyMem_Malloc",
                                           "PyObject_Malloc",
                                           "sqlite3Malloc",
                                           "sqlite3DbMallocRawNN",
                                           "zmalloc",
                                           "zmalloc_usable",
                                           "av_malloc",
                                           "apr_palloc",
                                           "CRYPTO_malloc",
                                           "Perl_safesysmalloc"};
    static const char *const others[] = {
        "main",      "make_node",        "load_file",  "mallocator",  "newt", "operator==",
        "a::strdup", "my::vector::grow", "stdx::push", "std_vector_", "??",   ""};
    wrapper_reset();
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++)
        if (!wrapper_matches(wrappers[i], NULL, "/usr/bin/x"))
            fail_msg("%s is none", wrappers[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (wrapper_matches(others[i], NULL, "/usr/bin/x"))
            fail_msg("%s is one", others[i]);
    assert_true(wrapper_matches(NULL, NULL, "/usr/lib/libgomalloc.so.0.1"));
    assert_false(wrapper_matches(NULL, NULL, "/usr/lib/libgomalloc/x"));
    assert_false(wrapper_matches(NULL, NULL, NULL));
    assert_true(wrapper_matches("thread<x>", "/usr/include/c++/12/bits/std_thread.h", NULL));
    assert_false(wrapper_matches("thread<x>", "/usr/include/curl/curl.h", NULL));
}

static void add(const char *text) {
    struct failure failure;
    if (wrapper_add("test", text, strlen(text), &failure) != STATUS_DONE)
        fail_msg("%s", failure.text);
}

static void test_users_add_and_take_back(void **state) {
    (void)state;
    wrapper_reset();
    add("# mine\n\n  pool_*get  # "
        "comment\r\n!strdup\n@libpool.so*\nf(int)\n{closure#0}\n/opt/*.h\n");
    assert_true(wrapper_matches("anything", "/opt/pool/a.h", NULL));
    assert_false(wrapper_matches("anything", "/opt/pool/a.c", NULL));
    assert_true(wrapper_matches("pool_get", NULL, NULL));
    assert_true(wrapper_matches("pool_and_get", NULL, NULL));
    assert_false(wrapper_matches("pool_get_", NULL, NULL));
    assert_false(wrapper_matches("strdup", NULL, NULL));
    assert_true(wrapper_matches("strndup", NULL, NULL));
    assert_true(wrapper_matches(NULL, NULL, "/opt/libpool.so.3"));
    assert_true(wrapper_matches("anything", NULL, "libpool.so"));
    assert_true(wrapper_matches("f(int)", NULL, NULL));
    assert_false(wrapper_matches("f(long)", NULL, NULL));
    assert_true(wrapper_matches("{closure#0}", NULL, NULL));
    add("!pool_get\nstrdup");
    assert_false(wrapper_matches("pool_get", NULL, NULL));
    assert_true(wrapper_matches("pool_or_get", NULL, NULL));
    assert_true(wrapper_matches("strdup", NULL, NULL));
    wrapper_reset();
    assert_false(wrapper_matches("pool_or_get", NULL, NULL));
}

static void test_a_malformed_list_is_refused_with_its_line(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *expected;
    } cases[] = {
#define CASE(text, expected) {text, sizeof(text) - 1, expected}
        CASE("a\n!\n", "list:2: there is no pattern after"),
        CASE("@", "list:1: there is no"),
        CASE("a\nb\n*", "list:3: a pattern of nothing but *"),
        CASE("@**", "list:1: a pattern of nothing"),
        CASE("a\0b", "list:1: a control character"),
        CASE("\x7f"
             "ELF",
             "list:1: a control character"),
        CASE("@/usr/lib/x", "list:1: after @ comes"),
#undef CASE
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct failure failure = {.status = STATUS_DONE};
        wrapper_reset();
        assert_int_equal(wrapper_add("list", cases[i].text, cases[i].n, &failure), STATUS_FAILURE);
        if (strncmp(failure.text, cases[i].expected, strlen(cases[i].expected)) != 0)
            fail_msg("%s", failure.text);
        assert_null(strchr(failure.text, '\n'));
    }
    wrapper_reset();
}

/* Many stars would take exponential time in a naive comparison. */
static void test_many_stars_take_no_time(void **state) {
    (void)state;
    char name[4000];
    wrapper_reset();
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    add("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b");
    assert_false(wrapper_matches(name, NULL, NULL));
    wrapper_reset();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_lose_what_tells_instances_apart),
        cmocka_unit_test(test_any_name_fits_any_buffer),
        cmocka_unit_test(test_the_built_in_list_knows_wrappers_and_no_more),
        cmocka_unit_test(test_users_add_and_take_back),
        cmocka_unit_test(test_a_malformed_list_is_refused_with_its_line),
        cmocka_unit_test(test_many_stars_take_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
