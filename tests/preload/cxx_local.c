/* SPDX-License-Identifier: BSD-3-Clause
 *
 * operator new of a C++ plugin in a C program runs out of memory: cxx_local.c PLUGIN
 *
 * libstdc++ comes with the plugin, dlopen'ed RTLD_LOCAL as interpreters do, so it is not among the
 * symbols that everybody sees; the plugin catches std::bad_alloc all the same.
 */
#include <dlfcn.h>

#include "check.h"

static int ask(void *plugin, const char *name, size_t n) {
    union {
        void *symbol;
        int (*try)(size_t n);
    } f = {dlsym(plugin, name)};
    CHECK(f.symbol != NULL);
    return f.try(n);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(plugin != NULL);
    const size_t too_much = (size_t)1 << 60;
    CHECK(ask(plugin, "plugin_try", 1000) == 0);
    CHECK(ask(plugin, "plugin_try", too_much) == 1);
    CHECK(ask(plugin, "plugin_try_nothrow", too_much) == 1);
    CHECK(ask(plugin, "plugin_try_with_handler", too_much) == 11);
    return 0;
}
