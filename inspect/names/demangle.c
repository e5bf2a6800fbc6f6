/* SPDX-License-Identifier: BSD-3-Clause
 *
 * C++ and Rust symbols as their authors wrote them; the only file that knows libiberty.
 *
 * Parameters are left out: the line tells overloads apart, and a C++ signature is longer than a
 * terminal is wide.  Symbols come from files that somebody else wrote, so a name too long to be
 * honest is not decoded, and libiberty's own limit on recursion stays on.
 */
#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "names/demangle.h"
#include "base/say.h"

#define LONGEST 8192 /* bytes of a symbol that is decoded */

/* version_length returns where "@VERSION" begins in a dynamic symbol. */
static size_t version_length(const char *symbol) {
    return strcspn(symbol, "@");
}

char *demangle(const char *symbol) {
    size_t n = version_length(symbol);
    char *plain = n > 0 ? must_dup_n(symbol, n) : must_dup(symbol), *name = NULL;
    if (strncmp(plain, "_R", 2) != 0 && strncmp(plain, "_Z", 2) != 0)
        return plain;
    if (strlen(plain) <= LONGEST)
        name = rust_demangle(plain, DMGL_NO_OPTS);
    if (!name && strlen(plain) <= LONGEST)
        name = cplus_demangle_v3(plain, DMGL_ANSI);
    if (!name)
        return plain;
    free(plain);
    return name;
}
