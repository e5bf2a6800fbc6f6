/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory of this process that may not be there: a read of it fails where a load would end the
 * process.
 */
#ifndef GM_LEAK_PEEK_H
#define GM_LEAK_PEEK_H

#include "sys/compiler.h"

/* peek copies n bytes at `from`; returns how many it had, from the first on. */
size_t peek(void *to, uintptr_t from, size_t n);

#endif
