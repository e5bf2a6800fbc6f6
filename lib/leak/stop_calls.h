/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls that a stop interrupts go on after it.
 *
 * The kernel restarts most calls after a signal (SA_RESTART), but some fail with EINTR whatever
 * the handler's flags are: pause, poll, select, epoll_wait, sleeps, semop and a few more, listed in
 * signal(7).  A program need not be prepared for a signal that it has not sent for.  So the handler
 * that stops a thread has the same call made again, where that is the same as if it had gone on:
 *
 *  - It is known which call it was.  The kernel keeps the number to itself once a handler runs.
 *    So before the stop /proc/self/task/TID/syscall is read, which has the number and the program
 *    counter of each thread that waits; and the code before the program counter loads that number.
 *    Wherever both has been seen, an interrupted thread of that program counter was in that call.
 *    Of a thread that began to wait after that, or in a process that gives no core, where the file
 *    is root's alone, the load must stand right before the call.
 *  - It may last as long as it would have: it has no time-out, or an absolute one, or the kernel
 *    has written what was left of it where the call reads it (select, ppoll, sleep).  A relative
 *    time-out elsewhere (poll and epoll_wait with one, usleep) would begin anew: such a call fails
 *    with EINTR, as after any signal.
 *  - No signal of the program's is about to be handled.  It would have interrupted the call.
 *
 * A signal that comes later than that is handled before the call is made again, as if it had come a
 * little earlier, before the call: an order that a program cannot exclude but by blocking the
 * signal and having the call unblock it (ppoll, sigsuspend); then it is blocked here, too.
 */
#ifndef GM_LEAK_STOP_CALLS_H
#define GM_LEAK_STOP_CALLS_H

#include <ucontext.h>

#include "sys/compiler.h"

/* stop_calls_begin makes ready, and stop_calls_look looks at a thread, by a descriptor of
 * /proc/self/task: of the stopper, before a stop. */
void stop_calls_begin(void);
void stop_calls_look(int dir, uint32_t tid);

/* stop_calls_resume has the call that was interrupted, if any, go on when the handler returns.
 * From the handler, all signals blocked. */
void stop_calls_resume(ucontext_t *uc);

#endif
