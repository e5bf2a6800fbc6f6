/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A leak check of the running process.
 *
 * The threads are stopped only while they say where they are and a copy of the process is made;
 * everything else is done in the copy, while they run on:
 *
 *      look          at what the threads wait for, so that their calls can go on
 *      lock          the heap: nobody is amid a change, and the copy can go on with it
 *      stop          the threads: pointers on their way are seen here or there
 *      copy          the page tables, nothing else
 *      unshare       what each thread writes to first (unshare.h)
 *      unlock        who goes on may need the heap
 *      go on         and then the copy begins:
 *      in the copy   mark from the roots, group what is left, report
 *
 * A copy that lacks memory, which the program keeps from its children (withheld.h), is made once
 * more.  Where the copy is refused (memory may not be committed twice, or no process made), nothing
 * is done and the reason is told; who asks for it has the check made in place, with the threads
 * stopped all the while.
 */
#ifndef GM_LEAK_LEAK_H
#define GM_LEAK_LEAK_H

#include "leak/fork_copy.h"
#include "leak/held.h"
#include "leak/ignore.h"
#include "leak/leaks.h"
#include "leak/roots.h"
#include "leak/stop.h"
#include "leak/why.h"

struct leak_options {
    struct mark_options mark;
    uintptr_t why; /* an address: why it lives is asked, not what has leaked; 0: no */
    bool mapped;   /* memory that the program has mapped itself is a root */
    bool in_place; /* no copy: the threads wait for all of it */
    const struct root_thread *caller; /* who waits for the check: it counts from where it says, not
                                         from where it waits; NULL: nobody does */

    /* What is done while it is waited for the copy, until fd can be read, or for a moment; false:
     * the check is not wanted any more.  NULL: nothing. */
    bool (*meanwhile)(void *arg, int fd);
    void *arg;
};

#define LEAK_MISSING_TIDS 16

/* What stopping and copying cost the process. */
struct leak_pause {
    uint64_t longest_ns;  /* of a thread, as it saw it; in place: unknown yet, 0 */
    uint64_t stopping_ns; /* until all had stopped */
    uint64_t copying_ns;
    uint64_t lacking_bytes; /* of the program's memory, which the copy could not be given */
    uint32_t longest_tid;
    uint32_t nstopped;
    uint32_t nmissing; /* threads that did not stop: what only they know of may look leaked */
    uint32_t missing[LEAK_MISSING_TIDS];
};

struct leak_findings {
    bool mapped; /* as in the options */
    bool in_place;
    struct mark mark;
    struct leaks leaks; /* with why: none, unless the object has leaked */
    struct why *why;    /* NULL: was not asked */
    struct roots_report roots;
    struct held held; /* with why: none */
    struct ignored ignored;
    struct leak_pause pause;
    uint64_t mark_ns;
    uint64_t group_ns;
};

/* What is done with the findings: in the copy, or in place.  fd: for words to the process, -1 in
 * place.  Returns 0 .. 200. */
struct leak_report {
    int (*run)(void *arg, const struct leak_findings *f, int fd);
    void *arg;
    int keep; /* a descriptor that it needs, -1: none */
};

enum leak_error {
    LEAK_OK,
    LEAK_STOP,   /* the threads can't be stopped: detail is enum stop_error */
    LEAK_COPY,   /* the copy was refused: detail is a negative errno */
    LEAK_MEMORY, /* for the check itself */
};

/* A check that has begun. */
struct leak_check {
    enum leak_error error;
    int detail;
    struct fork_copy copy; /* pid 0: in place, and done */
    int result;            /* in place: the report's */
    struct leak_pause pause;
    struct leak_shared *shared;
};

#define LEAK_CHECK_FAILED 255 /* result of a report that could not be made: memory was short */

/* leak_begin stops the threads, and has the findings reported.  From one thread at a time, as
 * stop_all, which has no lock of the allocator's.  After an error nothing is to be done; otherwise
 * the caller reads what the copy says (fork_copy_read), and ends the check. */
struct leak_check leak_begin(const struct leak_options *o, const struct leak_report *report);

/* leak_end waits for the copy's end, or ends it; returns how, and the report's result. */
enum fork_copy_end leak_end(struct leak_check *c, bool kill, int *ret_result);

#endif
