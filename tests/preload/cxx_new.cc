// SPDX-License-Identifier: BSD-3-Clause
//
// operator new and delete in every form, the new-handler and std::bad_alloc.
//
// The operators are called by name, since a compiler may remove a pair of new and delete
// expressions.  All of it holds for libstdc++ and glibc too: run without a preload, it tests
// itself.
#include <malloc.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <new>

#include "check.h"

namespace {

const std::size_t too_much = PTRDIFF_MAX;

bool aligned(const void *p, std::size_t to) {
    return (reinterpret_cast<std::uintptr_t>(p) & (to - 1)) == 0;
}

// Makes the compiler forget where a pointer came from.
template <class T> T opaque(T p) {
    asm volatile("" : "+r"(p) : : "memory");
    return p;
}

void *good(void *p, std::size_t n, std::size_t to) {
    p = opaque(p);
    CHECK(p != nullptr);
    CHECK(aligned(p, to));
    CHECK(malloc_usable_size(p) >= n);
    fill(p, n, static_cast<unsigned>(n));
    CHECK(filled(p, n, static_cast<unsigned>(n)));
    return p;
}

void plain_forms(std::size_t n) {
    std::size_t to = n >= 16 ? 16 : 8;
    if (n < 8)
        to = 1;
    ::operator delete(good(::operator new(n), n, to));
    ::operator delete[](good(::operator new[](n), n, to));
    ::operator delete(good(::operator new(n), n, to), n);
    ::operator delete[](good(::operator new[](n), n, to), n);
    ::operator delete(good(::operator new(n, std::nothrow), n, to), std::nothrow);
    ::operator delete[](good(::operator new[](n, std::nothrow), n, to), std::nothrow);
}

void aligned_forms(std::size_t n, std::size_t to) {
    std::align_val_t a{to};
    ::operator delete(good(::operator new(n, a), n, to), a);
    ::operator delete[](good(::operator new[](n, a), n, to), a);
    ::operator delete(good(::operator new(n, a), n, to), n, a);
    ::operator delete[](good(::operator new[](n, a), n, to), n, a);
    ::operator delete(good(::operator new(n, a, std::nothrow), n, to), a, std::nothrow);
    ::operator delete[](good(::operator new[](n, a, std::nothrow), n, to), a, std::nothrow);
}

void every_form_gives_memory() {
    for (std::size_t n : std::initializer_list<std::size_t>{0, 1, 7, 8, 15, 16, 17, 24, 100, 1024,
                                                            5000, 32768, 40000, 1 << 20}) {
        plain_forms(n);
        for (std::size_t to = 1; to <= 65536; to *= 2)
            aligned_forms(n, to);
    }
    void *p = nullptr;
    ::operator delete(p);
    ::operator delete[](p);
    ::operator delete (p, std::size_t{8});
    ::operator delete (p, std::align_val_t{64});
    ::operator delete(p, std::nothrow);
}

void nothing_is_unique() {
    void *a = ::operator new(0), *b = ::operator new(0);
    CHECK(opaque(a) != opaque(b));
    ::operator delete(a);
    ::operator delete (b, std::size_t{0});
}

struct alignas(128) wide {
    char bytes[300];
};

void expressions_work() {
    for (int i = 0; i < 1000; i++) {
        wide *w = opaque(new wide[3]);
        CHECK(aligned(w, 128));
        delete[] w;
        std::uint64_t *u = opaque(new std::uint64_t[1 + i]());
        CHECK(u[i] == 0);
        delete[] u;
    }
}

template <class F> bool throws_bad_alloc(F f) {
    try {
        f();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void failures_throw_bad_alloc() {
    std::align_val_t a{64};
    CHECK(throws_bad_alloc([] { opaque(::operator new(too_much)); }));
    CHECK(throws_bad_alloc([] { opaque(::operator new[](too_much)); }));
    CHECK(throws_bad_alloc([a] { opaque(::operator new(too_much, a)); }));
    CHECK(throws_bad_alloc([a] { opaque(::operator new[](too_much, a)); }));
    CHECK(opaque(::operator new(too_much, std::nothrow)) == nullptr);
    CHECK(opaque(::operator new[](too_much, std::nothrow)) == nullptr);
    CHECK(opaque(::operator new(too_much, a, std::nothrow)) == nullptr);
    CHECK(opaque(::operator new[](too_much, a, std::nothrow)) == nullptr);
}

int handler_calls;

void handler_that_gives_up_the_third_time() {
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

struct own_failure : std::bad_alloc {};

void handler_that_throws() {
    handler_calls++;
    throw own_failure();
}

void the_new_handler_is_called_until_it_gives_up() {
    handler_calls = 0;
    std::set_new_handler(handler_that_gives_up_the_third_time);
    CHECK(throws_bad_alloc([] { opaque(::operator new(too_much)); }));
    CHECK(handler_calls == 3);
    CHECK(std::get_new_handler() == nullptr);

    handler_calls = 0;
    std::set_new_handler(handler_that_gives_up_the_third_time);
    CHECK(opaque(::operator new(too_much, std::nothrow)) == nullptr);
    CHECK(handler_calls == 3);

    handler_calls = 0;
    std::set_new_handler(handler_that_gives_up_the_third_time);
    CHECK(throws_bad_alloc([] { opaque(::operator new (too_much, std::align_val_t{256})); }));
    CHECK(handler_calls == 3);
}

void what_the_new_handler_throws_arrives() {
    std::set_new_handler(handler_that_throws);
    handler_calls = 0;
    bool arrived = false;
    try {
        opaque(::operator new[](too_much));
    } catch (const own_failure &) {
        arrived = true;
    }
    CHECK(arrived);
    // nothrow swallows it
    CHECK(opaque(::operator new(too_much, std::nothrow)) == nullptr);
    CHECK(opaque(::operator new[](too_much, std::align_val_t{64}, std::nothrow)) == nullptr);
    CHECK(handler_calls == 3);
    std::set_new_handler(nullptr);
}

} // namespace

int main() {
    every_form_gives_memory();
    nothing_is_unique();
    expressions_work();
    failures_throw_bad_alloc();
    the_new_handler_is_called_until_it_gives_up();
    what_the_new_handler_throws_arrives();
    return 0;
}
