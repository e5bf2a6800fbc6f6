/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which pages of the process are there: /proc/self/pagemap.
 *
 * Reading a page that has never been touched gives zeroes, but takes time, and a program may have
 * reserved terabytes.  So they are passed over.  Linux 6.7 and later tell the runs of pages that
 * are there (PAGEMAP_SCAN), and pass over holes at once; earlier ones tell of each page, a terabyte
 * in some seconds.  Where the kernel does not say, every page counts as there.
 */
#ifndef GM_LEAK_PRESENT_H
#define GM_LEAK_PRESENT_H

#include "sys/compiler.h"

#define PRESENT_PAGES 512 /* asked about at a time */
#define PRESENT_RUNS  64

/* A run of pages: struct page_region of linux/fs.h. */
struct present_run {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

struct present {
    int fd;          /* -1: the kernel does not say */
    bool changed;    /* only pages that differ from their file's; none where the kernel does not
                        say.  By who asks */
    bool by_page;    /* the kernel tells of each page only */
    bool of_changed; /* the runs are only of such pages */
    uintptr_t start; /* address of the first page that is known of */
    uintptr_t end;
    uint64_t nruns;
    union {
        uint64_t entries[PRESENT_PAGES]; /* by_page */
        struct present_run runs[PRESENT_RUNS];
    };
};

void present_open(struct present *p);
void present_close(struct present *p);

/* present_next finds the next run of pages that are there (in memory or swapped out), from *from
 * on: sets *from to its start, not before what it was, and *ret_to to its end, at most `end`.
 * False: there is none.  A run may be found in pieces. */
bool present_next(struct present *p, uintptr_t *from, uintptr_t end, uintptr_t *ret_to);

#endif
