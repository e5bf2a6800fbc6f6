/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Allocation before and after main: in the preinit array, in constructors of the program and of a
 * library it links (early_lib.c), in destructors, exit handlers and in thread-specific data.
 *
 * The preinit array runs before the constructors of every library, a preloaded one included.
 */
#include <pthread.h>

#include "check.h"

void *early_lib_object(void); /* early_lib.c */
int early_lib_check(void);

static char *in_preinit, *in_first_constructor, *in_constructor;
static pthread_key_t key;

static void preinit(void) {
    in_preinit = malloc(1000);
    fill(in_preinit, 1000, 1);
    char *p = calloc(10, 100000);
    CHECK(p != NULL && p[999999] == 0);
    p = realloc(p, 2000000);
    free(p);
}
__attribute__((section(".preinit_array"), used)) static void (*preinit_entry)(void) = preinit;

__attribute__((constructor(101))) static void first_constructor(void) {
    CHECK(filled(in_preinit, 1000, 1));
    in_first_constructor = malloc(77);
    fill(in_first_constructor, 77, 2);
}

__attribute__((constructor)) static void constructor(void) {
    in_constructor = realloc(in_preinit, 3000);
    CHECK(filled(in_constructor, 1000, 1));
}

static void at_end(void) {
    for (int i = 0; i < 1000; i++)
        free(malloc((size_t)i * 10));
    CHECK(filled(in_first_constructor, 77, 2));
}

__attribute__((destructor(101))) static void last_destructor(void) {
    at_end();
    free(in_first_constructor);
    free(in_constructor);
    printf("last destructor\n");
}

static void key_destructor(void *value) {
    free(value);
    at_end();
}

static void *thread(void *unused) {
    (void)unused;
    CHECK(pthread_setspecific(key, malloc(50)) == 0);
    return malloc(5);
}

int main(void) {
    CHECK(filled(early_lib_object(), 500, 3) && early_lib_check());
    CHECK(pthread_key_create(&key, key_destructor) == 0);
    CHECK(atexit(at_end) == 0);
    pthread_t t;
    void *result;
    CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
    CHECK(pthread_join(t, &result) == 0);
    free(result);
    printf("main\n");
    return 0;
}
