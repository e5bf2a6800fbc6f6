/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a program says about its memory for leak checks: gomalloc(3).
 */
#include <errno.h>

#include "gomalloc/gomalloc.h"
#include "leak/ignore.h"
#include "leak/region.h"

static int done(int error) {
    if (error == 0)
        return 0;
    errno = -error;
    return -1;
}

gm_export int gomalloc_root_add(const void *p, size_t size) {
    return done(region_add((uintptr_t)p, size));
}

gm_export int gomalloc_root_remove(const void *p, size_t size) {
    return done(region_remove((uintptr_t)p, size));
}

gm_export int gomalloc_ignore(const void *p) {
    return done(ignore_object((uintptr_t)p));
}
