/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stopping all threads of the process for a moment.
 *
 * One thread, the library's own, stops the others by a signal: its handler notes where the thread
 * is, says so, and waits.  When all have answered, a function of the caller's runs; then they are
 * let go.  What the function may do is what can be done while any lock of the program, of libc or
 * of the allocator may be held by a stopped thread: system calls.
 *
 * Threads are found in /proc/self/task.  That is read again until it shows nobody new: threads that
 * are not stopped yet may make others, and those that are may not.  A thread that does not answer
 * in time is missing: it blocks the signal (by a system call; libc does not let it be blocked), or
 * is in the kernel, waiting for a disk, or for its child in vfork.  It runs on meanwhile, and so
 * may its children: who draws conclusions must say so.  Where a copy is made, nobody waits for
 * these (stop_soon).
 *
 * What the program notices: the pause.  Calls that the signal interrupts go on, but for some with a
 * time-out, which return EINTR (stop_calls.h).
 */
#ifndef GM_LEAK_STOP_H
#define GM_LEAK_STOP_H

#include "sys/compiler.h"

#define STOP_TIMEOUT_NS  UINT64_C(100000000) /* for all to answer */
#define STOP_RUNNABLE_NS UINT64_C(900000000) /* and more, for who waits for a processor */
#define STOP_MAX         32768               /* threads */

enum stop_state {
    STOP_ASKED,   /* not at rest: no answer yet */
    STOP_STOPPED, /* waits in the handler, or has */
    STOP_MISSING, /* did not answer in time, or could not be asked */
    STOP_ENDED,   /* was no more when it was asked, or before it answered */
    STOP_LATE     /* is going to say where it was, see stop_late.h */
};

/* One thread that was met. */
struct stop_thread {
    uint32_t tid;
    enum stop_state state;

    /* If it is STOPPED: where it was interrupted.  Its registers, the vector registers too, lie in
     * memory, at [regs_lo, regs_hi), on its stack or its alternate signal stack. */
    uint64_t sp;
    uint64_t pc;
    uint64_t tp; /* thread pointer */
    uint64_t regs_lo;
    uint64_t regs_hi;

    /* The stack that it was on, from its red zone to the mapping's end; 0, 0: unknown.  See
     * stop_find_stacks. */
    uint64_t stack_lo;
    uint64_t stack_hi;
};

enum stop_error {
    STOP_OK,
    STOP_BUSY,      /* another thread stops them, or one has not come out of the last stop yet */
    STOP_NO_MEMORY, /* for the list of threads */
    STOP_NO_LIST,   /* /proc/self/task can't be read, or is another namespace's */
    STOP_NO_SIGNAL, /* the kernel refuses a handler */
    STOP_TOO_MANY,  /* threads: more than STOP_MAX */
    STOP_BLOCKED    /* of stop_soon: a thread blocks the signal */
};

struct stop_result {
    enum stop_error error; /* if not OK, the function has not run, and all threads run on */
    uint32_t nstopped;
    uint32_t nmissing;
    uint32_t nended;
    uint32_t nlate;       /* of stop_soon */
    uint32_t npasses;     /* how often the list was read */
    uint64_t stopping_ns; /* from the first signal until all had answered or the time was over */
    uint64_t running_ns;  /* after that: the function */
    uint64_t held_ns;     /* from the first thread's arrival until all were let go */
    uint64_t longest_ns;  /* the longest pause, as its thread saw it: in the handler, and until it
                             got a processor again */
    uint32_t longest_tid; /* whose that was */
};

/* stop_look looks at what the threads wait for, so that their calls go on after a stop that follows
 * soon (stop_calls.h).  It takes some microseconds a thread, in which they run: to be called before
 * the stop, and before any lock is taken for it.  From the stopper. */
void stop_look(void);

/* stop_all stops all threads but the calling one, calls run(arg), and lets them go.  From a thread
 * that holds no lock of the program's, has the signals blocked that libc can block, and has a
 * descriptor table of its own. */
struct stop_result stop_all(void (*run)(void *arg), void *arg);

/* stop_soon is stop_all for who makes a copy of the process within run, in which the late ones are
 * waited for: the threads wait for each other for some milliseconds, rather than for tenths of a
 * second, but for who waits for a processor while it blocks the signal.  `late` is shared with the
 * copy, and all zeroes.  If a thread blocks the signal, run is not called, unless this is the last
 * attempt: the caller waits by stop_await_blocked, in which all run, and tries again; false: the
 * signal is still blocked.  After the check, stop_late_end takes `late` back; false: it must stay
 * as it is for ever. */
struct stop_late;
struct stop_result stop_soon(void (*run)(void *arg), void *arg, struct stop_late *late, bool last);
bool stop_await_blocked(void);
bool stop_late_end(void);

/* stop_await_late waits, in the copy, for those that are late, and for as long as is sensible.  Of
 * those it finds which have ended instead. */
void stop_await_late(void);

/* stop_forbid lets no stop begin until stop_allow is called, and waits for the end of one that goes
 * on: for a thread that is about to execute another program, which a signal on its way would end.
 * False: it has done nothing, as this is not the process that stop_owner_is_here was called in. */
void stop_owner_is_here(void);
bool stop_forbid(void);
void stop_allow(void);

/* stop_nthreads and stop_thread tell whom the stop has met: within run, in a copy of the process
 * made there, and afterwards until the next stop. */
uint32_t stop_nthreads(void);
struct stop_thread stop_thread(uint32_t i);

/* stop_find_stacks looks the threads' stacks up in the process's mappings.  Within run, or, better,
 * in a copy.  False: they can't be read. */
bool stop_find_stacks(void);

#endif
