/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The pages of unwind information that the unwinder alone has touched are given back.
 *
 * To find the row of an address (rowcache.h) the object's .eh_frame_hdr and .eh_frame are read, a
 * few dozen bytes in one place or another, once.  The kernel maps 64 KiB of the file around each
 * page that is read for the first time, for good: 2 MiB in a compiler, which count as the program's
 * resident set although nobody looks at them again.  So the library's thread drops these pages from
 * the process (not from memory: they stay in the kernel's cache of the file), every 10 ms as long
 * as rows are computed, and less often where that is so much that faulting it in again would take
 * more than a third of a percent of the time.  Who reads there again, the program that throws an
 * exception for instance, has the kernel map 64 KiB again, in a microsecond.
 *
 * Dropping a page that differs from the file would lose what was written.  That is impossible by
 * several rules, each of which would nearly do:
 *
 *   - only objects that the program was started with, as these are never unloaded: the addresses
 *     can't meanwhile be somebody else's;
 *   - only what lies between places that were read as unwind information, by the object's own
 *     table, in whole pages;
 *   - only where the mapping is private, of a file, and can be neither written nor executed, so
 *     neither a writable segment nor one that holds code too, nor an object that was unpacked or
 *     copied into memory without a file;
 *   - only pages of which the kernel has just said (/proc/self/pagemap) that they are the file's: a
 *     page of which a private copy was made, by a relocation or by whoever has made it writable for
 *     a moment, is not.  Where it does not say, nothing is dropped.
 *
 * Reading that file takes a descriptor, so it is for a thread with a table of its own: where the
 * kernel gives it none, nothing is dropped either.  Memory that was locked stays, as the kernel
 * refuses.
 */
#ifndef GM_UNWIND_INFO_PAGES_H
#define GM_UNWIND_INFO_PAGES_H

#include <stdatomic.h>

#include "sys/compiler.h"

struct cfi_fde;

/* Addresses; both 0: none. */
struct info_range {
    _Atomic uint64_t start;
    _Atomic uint64_t end;
};

/* What has been read of one object. */
struct info_pages {
    struct info_range table;   /* .eh_frame_hdr, up to the end of its table */
    struct info_range records; /* of .eh_frame: from the first to the last that was read */
    _Atomic bool touched;      /* since the pages were last given back */

    /* By who gives back: the mapping that they are in, as it was found to be. */
    uint64_t map_start; /* 0: not looked at */
    uint64_t map_end;   /* == map_start: not to be touched */
};

/* info_pages_note notes that a record of the object was read, whose .eh_frame_hdr is at hdr.  From
 * any thread, any number at a time, from signal handlers. */
void info_pages_note(struct info_pages *p, const uint8_t *hdr, const struct cfi_fde *fde);

/* info_pages_turn gives back what was touched, if it is time to, and returns when it wants to be
 * called again (CLOCK_MONOTONIC; UINT64_MAX: whenever).  For one thread, which has descriptors of
 * its own. */
uint64_t info_pages_turn(uint64_t now_ns);

/* info_pages_give_back does so now; *ret_pages: how many were dropped.  False: nothing was touched
 * since. */
bool info_pages_give_back(size_t *ret_pages);

#endif
