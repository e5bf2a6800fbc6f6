/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the other files of this layer need of malloc.c.
 */
#ifndef GM_API_MALLOC_H
#define GM_API_MALLOC_H

#include "sys/compiler.h"

/* api_allocate is malloc (or calloc) with a word on the contents; errno ENOMEM on failure. */
void *api_allocate(size_t size, bool zero, bool noscan);

/* Between these two, which may be nested, leak checks ignore what the thread allocates. */
void api_ignore_begin(void);
void api_ignore_end(void);

#endif
