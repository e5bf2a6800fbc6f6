/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The library itself by dlopen: dlopen_self.c LIBRARY
 *
 * Under the preload it is found to be there already.  Without it the program keeps glibc's malloc
 * and may use the library's own through its functions; neither heap takes the other for its own.
 */
#include <dlfcn.h>
#include <gomalloc/gomalloc.h>

#include "check.h"

static void *symbol(void *handle, const char *name) {
    void *p = dlsym(handle, name);
    if (p == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(p != NULL);
    return p;
}

static void use(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(handle != NULL);
    union {
        void *symbol;
        const char *(*version)(void);
        void *(*alloc)(size_t, unsigned);
        void (*free)(void *);
    } version = {symbol(handle, "gomalloc_version")}, alloc = {symbol(handle, "gomalloc_alloc")},
      release = {symbol(handle, "free")};
    CHECK(strcmp(version.version(), GOMALLOC_VERSION) == 0);
    char *theirs[200], *ours[200];
    for (int i = 0; i < 200; i++) {
        theirs[i] = alloc.alloc((size_t)i * 40, GOMALLOC_ZERO);
        ours[i] = malloc((size_t)i * 40);
        CHECK(theirs[i] != NULL && ours[i] != NULL);
        fill(theirs[i], (size_t)i * 40, 1);
        fill(ours[i], (size_t)i * 40, 2);
    }
    for (int i = 0; i < 200; i++) {
        CHECK(filled(theirs[i], (size_t)i * 40, 1) && filled(ours[i], (size_t)i * 40, 2));
        release.free(theirs[i]);
        free(ours[i]);
    }
    CHECK(dlclose(handle) == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char *before = malloc(100);
    for (int i = 0; i < 3; i++)
        use(argv[1]);
    free(before);
    return 0;
}
