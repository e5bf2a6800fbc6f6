/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A plugin with memory in which pointers may stand: data, bss, thread-local variables.
 */
#include "leak_world.h"

static uintptr_t data[64] = {1};
static uintptr_t bss[64];
static __thread uintptr_t tls[64];

static uintptr_t *own_tls(void) {
    return tls;
}

extern const struct leak_plugin leak_plugin;
const struct leak_plugin leak_plugin = {data, bss, own_tls};
