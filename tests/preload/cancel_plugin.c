/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A plugin with something to clean up, which libgcc_s does for it: see never.c.
 */
#include <unistd.h>

static void call(void (**clean)(void)) {
    (*clean)();
}

void plugin_wait(void (*clean)(void));
void plugin_wait(void (*clean)(void)) {
    __attribute__((cleanup(call))) void (*scope)(void) = clean;
    for (;;)
        pause();
    (void)scope;
}
