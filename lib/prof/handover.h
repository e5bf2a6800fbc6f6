/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which threads free what others have allocated: a count for each site, allocating thread and
 * freeing thread.
 *
 * The table has room for HANDOVERS of them; what comes later is counted in one sum.  Threads are
 * known by numbers of the recorder's, which are not used twice; their kernel ids and names are kept
 * in a directory, by their own doing: nobody can ask for another's name without opening a file, nor
 * for that of a thread that has ended.  The directory has the last THREADS threads.
 *
 * Everything is under a lock of the caller's.
 */
#ifndef GM_PROF_HANDOVER_H
#define GM_PROF_HANDOVER_H

#include "sys/lock.h"
#include "sys/mem.h"

#define HANDOVERS        4096
#define HANDOVER_THREADS 4096

struct handover_thread {
    uint32_t number; /* 0: nobody */
    uint32_t tid;
    char comm[16];
};

struct handover {
    uint32_t site;
    uint32_t from; /* numbers of threads */
    uint32_t to;
    uint32_t from_tid;
    uint32_t to_tid;
    char from_comm[16]; /* as of the last 2^n-th object; empty: not known */
    char to_comm[16];
    uint64_t objects;
};

struct handover_table {
    struct handover *all;            /* in the order in which they were first seen */
    uint16_t *index;                 /* by hash: 1 + place in `all`, 0 = none */
    struct handover_thread *threads; /* by number % HANDOVER_THREADS */
    uint32_t n;
    uint64_t rest; /* objects of those for which there was no room */
};

/* handover_note_thread enters the calling thread's id and name.  The lock is held. */
void handover_note_thread(struct handover_table *t, uint32_t number);

/* handover_add counts an object.  `to` is the calling thread.  The lock is held. */
void handover_add(struct handover_table *t, uint32_t site, uint32_t from, uint32_t to);

#endif
