/* SPDX-License-Identifier: BSD-3-Clause
 *
 * No crime, or one that is none of the library's: expect_abort must not be content with these.
 */
#include <signal.h>

#include "misuse.h"

static void nothing(void) {
    void *p = do_malloc(48);
    announce(p);
    do_free(p);
    do_free(NULL);
}

static void plain_abort(void) {
    announce(do_malloc(48));
    abort();
}

static void segfault(void) {
    announce(do_malloc(48));
    raise(SIGSEGV);
}

/* The right words, and another death. */
static void words(void) {
    void *p = do_malloc(48);
    announce(p);
    fprintf(stderr, "innocent(%d): gomalloc: double free: 0x%lx in free\n", (int)getpid(),
            (unsigned long)(uintptr_t)p);
    exit(1);
}

/* The right words and the right death, but of another pointer. */
static void another_pointer(void) {
    void *p = do_malloc(48);
    announce((char *)p + 16);
    fprintf(stderr, "innocent(%d): gomalloc: double free: 0x%lx in free\n", (int)getpid(),
            (unsigned long)(uintptr_t)p);
    abort();
}

/* Everything as it should be: the only one that is accepted. */
static void convincing(void) {
    void *p = do_malloc(48);
    announce(p);
    fprintf(stderr, "innocent(%d): gomalloc: double free: 0x%lx in free\n", (int)getpid(),
            (unsigned long)(uintptr_t)p);
    abort();
}

int main(int argc, char **argv) {
    static const struct variant variants[] = {
        {"nothing", nothing}, {"plain_abort", plain_abort},         {"segfault", segfault},
        {"words", words},     {"another_pointer", another_pointer}, {"convincing", convincing},
        {NULL, NULL},
    };
    return misuse_main(argc, argv, variants);
}
