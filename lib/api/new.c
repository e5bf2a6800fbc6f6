/* SPDX-License-Identifier: BSD-3-Clause
 *
 * C++ operator new and delete, in every form, under their mangled names.
 *
 * In C, so that the library does not need libstdc++: what only matters when memory has run out (the
 * new handler, std::bad_alloc) is looked up then.  Compiled with -fexceptions, because a handler
 * throws through these frames.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "sys/compiler.h"
#include "sys/throw.h"

typedef void handler(void);

/* A program in C may have loaded libstdc++ with a plugin, and then only the plugin sees it. */
static void *find_local(const char *name) {
    void *libstdcxx = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    if (libstdcxx == NULL)
        return NULL;
    void *p = dlsym(libstdcxx, name);
    dlclose(libstdcxx);
    return p;
}

static void *find(const char *name) {
    void *p = dlsym(RTLD_DEFAULT, name);
    return p != NULL ? p : find_local(name);
}

/* The present new handler, or NULL.  [new.delete.single]: call it and try again, as long as there
 * is one. */
static handler *new_handler(void) {
    handler *(*get)(void) = (handler * (*)(void)) find("_ZSt15get_new_handlerv");
    return get != NULL ? get() : NULL;
}

static _Noreturn gm_cold void throw_bad_alloc(void) {
    void (*thrower)(void) = (void (*)(void))find("_ZSt17__throw_bad_allocv");
    if (thrower != NULL)
        thrower();
    throw_("operator new: out of memory, and no std::bad_alloc to throw");
}

static void *get(size_t size, size_t align) {
    return align == 0 ? malloc(size) : memalign(align, size);
}

static gm_noinline void *new_failed(size_t size, size_t align) {
    for (;;) {
        handler *h = new_handler();
        if (h == NULL)
            throw_bad_alloc();
        h();
        void *p = get(size, align);
        if (p != NULL)
            return p;
    }
}

/* A nothrow form must swallow what the handler throws, which C can't: libstdc++'s own does it, and
 * calls back our throwing form. */
static gm_noinline void *nothrow_failed(const char *name, size_t size, size_t align,
                                        const void *tag) {
    if (new_handler() == NULL)
        return NULL;
    void *next = dlsym(RTLD_NEXT, name);
    if (next == NULL)
        next = find_local(name);
    if (next == NULL)
        return NULL;
    if (align == 0)
        return ((void *(*)(size_t, const void *))next)(size, tag);
    return ((void *(*)(size_t, size_t, const void *))next)(size, align, tag);
}

#define NEW(name, symbol)                                                                          \
    gm_export void *name(size_t size) __asm__(symbol);                                             \
    void *name(size_t size) {                                                                      \
        void *p = malloc(size);                                                                    \
        return gm_likely(p != NULL) ? p : new_failed(size, 0);                                     \
    }
#define NEW_NOTHROW(name, symbol)                                                                  \
    gm_export void *name(size_t size, const void *tag) __asm__(symbol);                            \
    void *name(size_t size, const void *tag) {                                                     \
        void *p = malloc(size);                                                                    \
        return gm_likely(p != NULL) ? p : nothrow_failed(symbol, size, 0, tag);                    \
    }
#define NEW_ALIGNED(name, symbol)                                                                  \
    gm_export void *name(size_t size, size_t align) __asm__(symbol);                               \
    void *name(size_t size, size_t align) {                                                        \
        void *p = memalign(align, size);                                                           \
        return gm_likely(p != NULL) ? p : new_failed(size, align);                                 \
    }
#define NEW_ALIGNED_NOTHROW(name, symbol)                                                          \
    gm_export void *name(size_t size, size_t align, const void *tag) __asm__(symbol);              \
    void *name(size_t size, size_t align, const void *tag) {                                       \
        void *p = memalign(align, size);                                                           \
        return gm_likely(p != NULL) ? p : nothrow_failed(symbol, size, align, tag);                \
    }
/* The further arguments of delete (size, alignment, nothrow) tell nothing that the span doesn't. */
#define DELETE(name, symbol)                                                                       \
    gm_export void name(void *p) __asm__(symbol);                                                  \
    void name(void *p) {                                                                           \
        free(p);                                                                                   \
    }

NEW(new_, "_Znwm")
NEW(new_array, "_Znam")
NEW_NOTHROW(new_nothrow, "_ZnwmRKSt9nothrow_t")
NEW_NOTHROW(new_array_nothrow, "_ZnamRKSt9nothrow_t")
NEW_ALIGNED(new_aligned, "_ZnwmSt11align_val_t")
NEW_ALIGNED(new_array_aligned, "_ZnamSt11align_val_t")
NEW_ALIGNED_NOTHROW(new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t")
NEW_ALIGNED_NOTHROW(new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t")
DELETE(delete_, "_ZdlPv")
DELETE(delete_sized, "_ZdlPvm")
DELETE(delete_nothrow, "_ZdlPvRKSt9nothrow_t")
DELETE(delete_aligned, "_ZdlPvSt11align_val_t")
DELETE(delete_sized_aligned, "_ZdlPvmSt11align_val_t")
DELETE(delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t")
DELETE(delete_array, "_ZdaPv")
DELETE(delete_array_sized, "_ZdaPvm")
DELETE(delete_array_nothrow, "_ZdaPvRKSt9nothrow_t")
DELETE(delete_array_aligned, "_ZdaPvSt11align_val_t")
DELETE(delete_array_sized_aligned, "_ZdaPvmSt11align_val_t")
DELETE(delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t")
