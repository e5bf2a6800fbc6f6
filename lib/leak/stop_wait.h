/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a stop waits for whom.
 *
 * Who is held waits for the slowest, so there is an end to it, which depends on what the kernel
 * says of who has not answered:
 *
 *      has ended, or runs nothing more     not waited for
 *      waits for a processor               1 s: on a busy machine it comes
 *      is in the kernel, or blocks the     100 ms, then it is missing
 *      signal
 *
 * Where a copy is made (stop_soon), who does not block the signal is late after 10 ms, and waited
 * for in the copy, up to 5 s: nobody else notices.  For who blocks it, all are let go meanwhile.
 */
#ifndef GM_LEAK_STOP_WAIT_H
#define GM_LEAK_STOP_WAIT_H

#include "leak/stop_signal.h"

/* Who has been asked, and when.  Of the stopper; the copy has it, too. */
struct stop_asked {
    uint32_t n;        /* records in use */
    int dir;           /* /proc/self/task */
    uint64_t start_ns; /* CLOCK_MONOTONIC */
    uint64_t deadline_ns;
    uint32_t nlate; /* that may be late */
    bool soon;      /* stop_soon */
    bool last;      /* of stop_soon: the last attempt */
};

/* stop_count returns how many are in that state. */
uint32_t stop_count(const struct stop_asked *a, enum stop_state state);

/* stop_wait_begin is called when the first is about to be asked. */
void stop_wait_begin(struct stop_asked *a);

/* stop_wait_answers returns when nobody is still to answer: has, has ended, is late or missing; or
 * STOP_BLOCKED. */
enum stop_error stop_wait_answers(struct stop_asked *a);

/* stop_wait_leave waits until all have gone on, and stop_wait_rest, before a stop, for who is late
 * from the one before.  False: somebody still is in the handler. */
bool stop_wait_leave(void);
bool stop_wait_rest(void);

/* stop_wait_unblocked waits, after STOP_BLOCKED, until nobody blocks the signal.  False: somebody
 * still does. */
bool stop_wait_unblocked(const struct stop_asked *a);

/* stop_wait_late waits, in the copy, for those that are late. */
void stop_wait_late(const struct stop_asked *a);

#endif
