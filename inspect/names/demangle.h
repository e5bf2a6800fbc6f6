/* SPDX-License-Identifier: BSD-3-Clause
 *
 * C++ and Rust symbols as their authors wrote them.
 */
#ifndef GOINSPECT_DEMANGLE_H
#define GOINSPECT_DEMANGLE_H

/* demangle returns the name of a function without its parameters, to be freed; a name that is not
 * mangled comes back as it is. */
char *demangle(const char *symbol);

#endif
