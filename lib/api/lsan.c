/* SPDX-License-Identifier: BSD-3-Clause
 *
 * LeakSanitizer's functions, for programs that call them if they are there.
 *
 * Such a program declares them weak, or looks for them by dlsym; so what it has to say about its
 * memory is heard, though it was built without a sanitizer.  In a program that has one, that one's
 * own functions come first.  Departures: a check on demand says in a line what was found, and the
 * program goes on, as with LeakSanitizer's exitcode=0; what is not balanced is not punished.
 */
#include <stddef.h>

#include "agent/leak_now.h"
#include "api/malloc.h"
#include "leak/ignore.h"
#include "leak/region.h"

gm_export void __lsan_register_root_region(const void *p, size_t size);
gm_export void __lsan_unregister_root_region(const void *p, size_t size);
gm_export void __lsan_ignore_object(const void *p);
gm_export void __lsan_disable(void);
gm_export void __lsan_enable(void);
gm_export void __lsan_do_leak_check(void);
gm_export int __lsan_do_recoverable_leak_check(void);

void __lsan_register_root_region(const void *p, size_t size) {
    region_add((uintptr_t)p, size);
}

void __lsan_unregister_root_region(const void *p, size_t size) {
    region_remove((uintptr_t)p, size);
}

void __lsan_ignore_object(const void *p) {
    ignore_object((uintptr_t)p);
}

void __lsan_disable(void) {
    api_ignore_begin();
}

void __lsan_enable(void) {
    api_ignore_end();
}

void __lsan_do_leak_check(void) {
    const struct leak_caller here = LEAK_CALLER_HERE;
    leak_now_say(&here, false);
}

int __lsan_do_recoverable_leak_check(void) {
    const struct leak_caller here = LEAK_CALLER_HERE;
    return leak_now_say(&here, false);
}
