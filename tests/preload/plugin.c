/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A plugin for dlopen.c: allocates when loaded, keeps an object for each thread in thread-local
 * storage, and leaves objects to its caller that outlive its unloading.
 */
#include "check.h"

char *plugin_make(int i);

static __thread char *mine;
static char *loaded;

__attribute__((constructor)) static void load(void) {
    loaded = malloc(3000);
}

__attribute__((destructor)) static void unload(void) {
    free(loaded);
    free(mine);
}

char *plugin_make(int i) {
    free(mine);
    mine = malloc((size_t)i % 500 + 1);
    char *p = malloc(100);
    fill(p, 100, (unsigned)i);
    return p;
}
