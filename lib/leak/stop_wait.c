/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How long a stop waits for whom.
 */
#include "leak/stop_wait.h"

#include <errno.h>
#include <time.h>

#include "leak/stop_late.h"
#include "leak/task.h"
#include "sys/rawcall.h"

#define SLICE_NS     UINT64_C(1000000)    /* waited for answers before it is looked who has ended */
#define LEAVING_NS   UINT64_C(1000000000) /* waited for all to go on */
#define REST_NS      UINT64_C(10000000)   /* waited for who is late from the stop before */
#define BLOCKED_NS   UINT64_C(300000000) /* waited for the signal to be let in, between two stops */
#define BLOCKED_STEP ((struct timespec){.tv_nsec = 2000000})
#define COMING_NS    UINT64_C(5000000000) /* waited for who is late, in a copy */

uint32_t stop_count(const struct stop_asked *a, enum stop_state state) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n; i++)
        n += stop_state_at(i) == state;
    return n;
}

/* give_up decides about a thread that has not answered yet: whether it has ended, or is missing.
 * Who only waits for a processor, as many others do, will answer. */
static void give_up(const struct stop_asked *a, uint32_t i, uint64_t now_ns) {
    char state = task_state(a->dir, stop_record(i)->tid);
    uint64_t deadline_ns = a->deadline_ns + (state == 'R' ? STOP_RUNNABLE_NS : 0);
    if (state == 'Z')
        stop_resolve(i, STOP_ENDED);
    else if (now_ns >= deadline_ns)
        stop_resolve(i, STOP_MISSING);
}

/* give_up_soon is for who is not waited for.  False: a thread blocks the signal, and the stop is to
 * be tried again. */
static bool give_up_soon(struct stop_asked *a, uint32_t i, uint64_t now_ns) {
    struct stop_record *t = stop_record(i);
    char state = task_state(a->dir, t->tid);
    if (state == 'Z')
        stop_resolve(i, STOP_ENDED);
    if (state == 'Z' || now_ns < a->start_ns + STOP_LATE_NS)
        return true;
    if (a->nlate < STOP_LATE_MAX && !task_blocks(a->dir, t->tid)) {
        t->late = a->nlate;
        a->nlate += stop_resolve(i, STOP_LATE);
        return true;
    }
    if (state == 'R' || a->nlate == STOP_LATE_MAX)
        give_up(a, i, now_ns);
    else if (a->last)
        stop_resolve(i, STOP_MISSING);
    return a->last || stop_state_at(i) != STOP_ASKED || a->nlate == STOP_LATE_MAX;
}

/* give_up_all decides about all of them. */
static bool give_up_all(struct stop_asked *a) {
    bool ok = true;
    for (uint32_t i = 0; i < a->n && ok; i++) {
        if (stop_state_at(i) != STOP_ASKED)
            continue;
        if (a->soon)
            ok = give_up_soon(a, i, stop_now_ns());
        else
            give_up(a, i, stop_now_ns());
    }
    return ok;
}

void stop_wait_begin(struct stop_asked *a) {
    a->start_ns = stop_now_ns();
    a->deadline_ns = a->start_ns + STOP_TIMEOUT_NS;
}

enum stop_error stop_wait_answers(struct stop_asked *a) {
    struct stop_shared *s = &stop_shared;
    for (;;) {
        uint32_t answered = atomic_load_explicit(&s->nanswered, memory_order_seq_cst);
        uint32_t left = stop_count(a, STOP_ASKED);
        if (left == 0)
            return STOP_OK;
        atomic_store_explicit(&s->wanted, answered + left, memory_order_seq_cst);
        stop_futex_wait(&s->nanswered, answered, SLICE_NS);
        if (atomic_load_explicit(&s->nanswered, memory_order_seq_cst) == answered &&
            !give_up_all(a))
            return STOP_BLOCKED;
    }
}

/* await_nobody_inside waits for who is in the handler.  False: somebody still is. */
static bool await_nobody_inside(uint64_t timeout_ns) {
    struct stop_shared *s = &stop_shared;
    uint64_t until_ns = stop_now_ns() + timeout_ns;
    for (uint32_t n; (n = atomic_load_explicit(&s->ninside, memory_order_seq_cst)) != 0;) {
        stop_futex_wait(&s->ninside, n, SLICE_NS);
        if (stop_now_ns() > until_ns)
            return false;
    }
    return true;
}

bool stop_wait_leave(void) {
    return await_nobody_inside(LEAVING_NS);
}

bool stop_wait_rest(void) {
    return await_nobody_inside(REST_NS);
}

static bool any_blocks(const struct stop_asked *a) {
    for (uint32_t i = 0; i < a->n; i++)
        if (stop_state_at(i) == STOP_MISSING && !task_has_ended(a->dir, stop_record(i)->tid) &&
            task_blocks(a->dir, stop_record(i)->tid))
            return true;
    return false;
}

bool stop_wait_unblocked(const struct stop_asked *a) {
    const struct timespec step = BLOCKED_STEP;
    uint64_t until_ns = stop_now_ns() + BLOCKED_NS;
    bool blocks;
    while ((blocks = any_blocks(a)) && stop_now_ns() < until_ns)
        sys_call3(SYS_nanosleep, (long)&step, 0, 0);
    return !blocks;
}

/* ---- in the copy --------------------------------------------------------------------------- */

/* is_coming tells, in the copy, whether a late thread is still to come.  One that was about to end
 * never does. */
static bool is_coming(uint32_t i, long process) {
    struct stop_record *t = stop_record(i);
    struct stop_thread there;
    if (stop_state_at(i) != STOP_LATE)
        return false;
    bool ended = sys_call3(SYS_tgkill, process, t->tid, 0) == -ESRCH;
    if (stop_late_get(stop_shared.late, t->late, &there)) /* before it ended, perhaps */
        return false;
    if (ended)
        atomic_store_explicit(&t->word, stop_word(stop_number(), STOP_ENDED), memory_order_relaxed);
    return !ended;
}

static bool any_coming(const struct stop_asked *a) {
    long process = sys_call3(SYS_getppid, 0, 0, 0);
    bool any = false;
    for (uint32_t i = 0; i < a->n; i++)
        any |= is_coming(i, process);
    return any;
}

void stop_wait_late(const struct stop_asked *a) {
    uint64_t until_ns = stop_now_ns() + COMING_NS;
    struct stop_late *late = stop_shared.late;
    uint32_t nthere;
    if (a->nlate == 0)
        return;
    while (nthere = atomic_load_explicit(&late->nthere, memory_order_acquire),
           any_coming(a) && stop_now_ns() < until_ns)
        stop_late_wait(late, nthere);
}
