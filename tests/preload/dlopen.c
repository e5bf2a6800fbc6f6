/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dlopen and dlclose in a loop, by several threads: dlopen.c PLUGIN
 *
 * What a plugin allocates outlives it: call stacks that were recorded through it then point to
 * unmapped memory, or into whatever is loaded there next.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "check.h"

enum { ROUNDS = 150, THREADS = 3 };

static const char *plugin;

static void *rounds(void *arg) {
    int base = (int)(intptr_t)arg * ROUNDS;
    char *kept[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        void *handle = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
        CHECK(handle != NULL);
        union {
            void *symbol;
            char *(*make)(int);
        } f = {dlsym(handle, "plugin_make")};
        CHECK(f.symbol != NULL);
        kept[i] = f.make(base + i);
        CHECK(dlclose(handle) == 0);
        CHECK(dlopen("/nonexistent.so", RTLD_NOW) == NULL && dlerror() != NULL);
    }
    for (int i = 0; i < ROUNDS; i++) {
        CHECK(filled(kept[i], 100, (unsigned)(base + i)));
        free(kept[i]);
    }
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    plugin = argv[1];
    rounds(NULL);
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, rounds, (void *)(intptr_t)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    return 0;
}
