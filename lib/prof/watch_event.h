/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One hardware watchpoint in the kernel: an event on a thread's writes into eight bytes, and the
 * mapping of its ring, which is all that is kept of it.
 *
 * The event lives as long as the mapping.  A forked child does not inherit the mapping: there its
 * address may be anything's.
 */
#ifndef GM_PROF_WATCH_EVENT_H
#define GM_PROF_WATCH_EVENT_H

#include "sys/compiler.h"

struct perf_event_mmap_page;

/* watch_event_start looks whether events may be asked for at all, and remembers how to look again:
 * for the library's own thread, before it is asked for any. */
void watch_event_start(void);

/* watch_event_tested tells whether the kernel lets us watch and the processor does what is said of
 * it: it is tried once, on the calling thread. */
bool watch_event_tested(void);

/* watch_event_arm watches the calling process's thread tid, which need not be the calling one, for
 * that many writes into the eight bytes at addr (a multiple of 8).  From its return on each write
 * is seen.  Returns 0 or a negative errno; -EPERM: not here, and not later. */
int watch_event_arm(uint32_t tid, uint64_t addr, uint32_t hits,
                    const volatile struct perf_event_mmap_page **ret);
void watch_event_close(const volatile struct perf_event_mmap_page *ring);

/* watch_event_hits returns how many writes have been seen, by the calling thread before its last
 * instruction; no more than a few over what it was armed for. */
uint32_t watch_event_hits(const volatile struct perf_event_mmap_page *ring);

#endif
