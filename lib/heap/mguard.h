/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Guard pages: heap pages that fault.  See mguard.c.
 */
#ifndef GM_HEAP_MGUARD_H
#define GM_HEAP_MGUARD_H

#include "sys/compiler.h"

/* mguard_set makes n bytes at base (multiples of 4096, of a span in use) fault at any access, and
 * gives their memory back.  False: there are too many guards, and nothing has changed. */
bool mguard_set(uintptr_t base, size_t n);

/* mguard_clear makes them ordinary memory again, of any contents.  False: the kernel refuses, and
 * they fault still. */
bool mguard_clear(uintptr_t base, size_t n);

/* mguard_count returns the guards that are set. */
uint64_t mguard_count(void);

#endif
