// SPDX-License-Identifier: BSD-3-Clause
//
// A plugin in C++ for cxx_local.c: it brings libstdc++ along.
#include <cstddef>
#include <new>

static char *volatile kept; // or the compiler sees that nobody needs the memory

extern "C" int plugin_try(std::size_t n) {
    try {
        kept = new char[n];
        delete[] kept;
        return 0;
    } catch (const std::bad_alloc &) {
        return 1;
    }
}

extern "C" int plugin_try_nothrow(std::size_t n) {
    kept = new (std::nothrow) char[n];
    delete[] kept;
    return kept == nullptr;
}

static int handled;

static void handler() {
    std::set_new_handler(nullptr);
    handled++;
}

extern "C" int plugin_try_with_handler(std::size_t n) {
    std::set_new_handler(handler);
    return plugin_try(n) + 10 * handled;
}
