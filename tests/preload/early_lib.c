/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A library that allocates in its constructor, for early.c.
 */
#include "check.h"

void *early_lib_object(void);
int early_lib_check(void);

static void *object, *aligned_object;

__attribute__((constructor)) static void constructor(void) {
    object = malloc(500);
    fill(object, 500, 3);
    CHECK(posix_memalign(&aligned_object, 4096, 100) == 0);
}

__attribute__((destructor)) static void destructor(void) {
    free(object);
    free(aligned_object);
}

void *early_lib_object(void) {
    return object;
}

int early_lib_check(void) {
    return ((uintptr_t)aligned_object & 4095) == 0;
}
