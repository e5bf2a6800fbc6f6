/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What /proc/PID/pagemap has of each page: a word (linux/Documentation/admin-guide/mm/pagemap.rst).
 */
#ifndef GM_SYS_PAGEMAP_H
#define GM_SYS_PAGEMAP_H

#include <stddef.h>

#include "sys/compiler.h"
#include "sys/rawcall.h"

#define PAGEMAP_PRESENT   ((uint64_t)1 << 63)
#define PAGEMAP_SWAPPED   ((uint64_t)1 << 62)
#define PAGEMAP_OF_FILE   ((uint64_t)1 << 61) /* or of shared memory; of no private copy */
#define PAGEMAP_EXCLUSIVE ((uint64_t)1 << 56)

#define PAGEMAP_SHIFT 12 /* of addresses, to pages */

/* pagemap_read stores the words of the page at addr, and of those behind it, and returns how many;
 * at most n.  0: the kernel says nothing. */
gm_inline size_t pagemap_read(int fd, uint64_t addr, uint64_t *entries, size_t n) {
    long bytes = sys_call4(SYS_pread64, fd, (long)entries, (long)(n * sizeof *entries),
                           (long)(addr >> PAGEMAP_SHIFT << 3));
    return bytes < 0 ? 0 : (size_t)bytes / sizeof *entries;
}

#endif
