/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which pages of the process are there: /proc/self/pagemap.
 *
 * Reading a page that has never been touched gives zeroes, but takes time, and a program may have
 * reserved terabytes.  So they are passed over.  Where the kernel does not say, every page counts
 * as there.
 */
#ifndef GM_LEAK_PRESENT_H
#define GM_LEAK_PRESENT_H

#include "sys/compiler.h"

#define PRESENT_PAGES 512 /* asked about at a time */

struct present {
    int fd;          /* -1: the kernel does not say */
    bool changed;    /* only pages that differ from their file's; none where the kernel does not
                        say.  By who asks */
    uintptr_t start; /* address of the first page that `entries` tells of */
    uintptr_t end;
    uint64_t entries[PRESENT_PAGES];
};

void present_open(struct present *p);
void present_close(struct present *p);

/* present_next finds the next run of pages that are there (in memory or swapped out), from *from
 * on: sets *from to its start, not before what it was, and *ret_to to its end, at most `end`.
 * False: there is none.  A run may be found in pieces. */
bool present_next(struct present *p, uintptr_t *from, uintptr_t end, uintptr_t *ret_to);

#endif
