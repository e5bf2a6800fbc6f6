/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stopping all threads: whom to ask.
 *
 *      pass 1   everybody in the list is asked; wait for the answers
 *      pass 2   again, for who was born meanwhile; and so on
 *      pass n   nobody new: all who can be stopped are, and nobody can be born but by a thread that
 *               is missing
 *
 * The list shows threads in the order in which they were made, so a pass that has seen those before
 * meets them in the same order: who is known is found at once.  How long it is waited for whom:
 * stop_wait.h.
 */
#include "leak/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "leak/red_zone.h"
#include "leak/stop_calls.h"
#include "leak/stop_late.h"
#include "leak/stop_signal.h"
#include "leak/stop_wait.h"
#include "leak/task.h"
#include "sys/maps.h"
#include "sys/mem.h"
#include "sys/rawcall.h"

#define MAX_PASSES  100
#define TABLE_BYTES ((sizeof(struct stop_record) * STOP_MAX + 4095) & ~(size_t)4095)

/* Of the stopper; a stop at a time. */
static struct {
    _Atomic uint32_t owner;  /* pid of the process in which there is a stopper; 0: none */
    struct mem_table table;  /* records */
    struct stop_asked asked; /* who has been, and when */
    uint32_t nbefore;        /* before this pass */
    uint32_t next;           /* where the thread after the one found last is expected */
    uint32_t self;           /* the stopper's tid */
    struct maps_reader maps;
} stop;

/* What getdents64 writes. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

/* ---- whom to ask -------------------------------------------------------------------------- */

static uint32_t own_pid(void) {
    return (uint32_t)sys_call3(SYS_getpid, 0, 0, 0);
}

/* is_known tells whether the thread has been asked.  One that had ended may be in the list for
 * long, or its number may be another's by now. */
static bool is_known(uint32_t tid) {
    for (uint32_t k = 0; k < stop.asked.n; k++) {
        uint32_t i = (stop.next + k) % stop.asked.n;
        if (stop_record(i)->tid == tid &&
            (stop_state_at(i) != STOP_ENDED || task_has_ended(stop.asked.dir, tid))) {
            stop.next = i + 1;
            return true;
        }
    }
    return false;
}

/* ask adds the thread's record and sends it the signal.  The kernel may have no room for one more
 * signal (RLIMIT_SIGPENDING): then the thread is missing. */
static enum stop_error ask(uint32_t tid) {
    if (stop.asked.n == STOP_MAX)
        return STOP_TOO_MANY;
    if (!mem_table_reach(&stop.table, (stop.asked.n + 1) * sizeof(struct stop_record)))
        return STOP_NO_MEMORY;
    uint32_t i = stop.asked.n++;
    struct stop_record *t = stop_record(i);
    memset(t, 0, sizeof *t);
    t->tid = tid;
    atomic_store_explicit(&t->word, stop_word(stop_number(), STOP_ASKED), memory_order_release);
    int error = stop_signal_send(i);
    if (error != 0)
        stop_resolve(i, error == -ESRCH ? STOP_ENDED : STOP_MISSING);
    return STOP_OK;
}

static uint32_t number_in(const char *name) {
    uint32_t n = 0;
    for (; *name >= '0' && *name <= '9'; name++)
        n = n * 10 + (uint32_t)(*name - '0');
    return n;
}

static bool open_list(void) {
    stop.asked.dir = (int)sys_call4(SYS_openat, AT_FDCWD, (long)"/proc/self/task",
                                    O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    stop.self = (uint32_t)sys_call3(SYS_gettid, 0, 0, 0);
    return stop.asked.dir >= 0;
}

static void close_list(void) {
    sys_call3(SYS_close, stop.asked.dir, 0, 0);
}

/* for_each reads the list once, and has each thread of it visited but the stopper. */
static enum stop_error for_each(enum stop_error (*visit)(uint32_t tid)) {
    char buf[8192] __attribute__((aligned(8)));
    bool met_self = false;
    long n;
    sys_call3(SYS_lseek, stop.asked.dir, 0, SEEK_SET);
    while ((n = sys_call3(SYS_getdents64, stop.asked.dir, (long)buf, sizeof buf)) > 0) {
        const struct entry *e;
        for (long at = 0; at < n; at += e->size) {
            e = (const struct entry *)(buf + at);
            uint32_t tid = number_in(e->name);
            met_self |= tid == stop.self;
            if (tid == 0 || tid == stop.self)
                continue;
            enum stop_error error = visit(tid);
            if (error != STOP_OK)
                return error;
        }
    }
    return n < 0 || !met_self ? STOP_NO_LIST : STOP_OK;
}

static enum stop_error look_at(uint32_t tid) {
    stop_calls_look(stop.asked.dir, tid);
    return STOP_OK;
}

static enum stop_error ask_if_new(uint32_t tid) {
    return stop.nbefore != 0 && is_known(tid) ? STOP_OK : ask(tid);
}

/* pass asks who is new in the list; *ret_new tells how many those were. */
static enum stop_error pass(uint32_t *ret_new) {
    stop.next = 0;
    stop.nbefore = stop.asked.n;
    enum stop_error error = for_each(ask_if_new);
    *ret_new = stop.asked.n - stop.nbefore;
    return error;
}

static enum stop_error stop_them(struct stop_result *r) {
    uint32_t fresh = 1;
    stop_wait_begin(&stop.asked);
    while (fresh != 0 && r->npasses < MAX_PASSES) {
        r->npasses++;
        enum stop_error error = pass(&fresh);
        if (error == STOP_OK)
            error = stop_wait_answers(&stop.asked);
        if (error != STOP_OK)
            return error;
    }
    return STOP_OK;
}

/* ---- and on ------------------------------------------------------------------------------- */

static void let_go(void) {
    struct stop_shared *s = &stop_shared;
    for (uint32_t i = 0; i < stop.asked.n; i++) /* after an error some may not have answered */
        stop_resolve(i, STOP_MISSING);
    atomic_store_explicit(&s->hold, 0, memory_order_release);
    stop_futex_wake(&s->hold);
    stop_wait_leave();
}

static void note_pauses(struct stop_result *r, uint64_t end_ns) {
    for (uint32_t i = 0; i < stop.asked.n; i++) {
        const struct stop_record *t = stop_record(i);
        uint64_t left_ns = atomic_load_explicit(&t->left_ns, memory_order_relaxed);
        if (stop_state_at(i) != STOP_STOPPED)
            continue;
        if (end_ns - t->entered_ns > r->held_ns)
            r->held_ns = end_ns - t->entered_ns;
        uint64_t pause_ns = (left_ns != 0 ? left_ns : stop_now_ns()) - t->entered_ns;
        if (pause_ns > r->longest_ns) {
            r->longest_ns = pause_ns;
            r->longest_tid = t->tid;
        }
    }
}

/* take makes the calling thread the stopper.  False: there is one. */
static bool take(void) {
    uint32_t pid = own_pid(), owner = 0;
    if (atomic_compare_exchange_strong_explicit(&stop.owner, &owner, pid, memory_order_acquire,
                                                memory_order_relaxed))
        return true;
    if (owner == pid)
        return false;
    atomic_store_explicit(&stop.owner, pid,
                          memory_order_relaxed); /* a fork's child: it was there */
    return true;
}

static void give_back(void) {
    atomic_store_explicit(&stop.owner, 0, memory_order_release);
}

static enum stop_error prepare(struct stop_late *late) {
    struct stop_shared *s = &stop_shared;
    uint32_t pid = own_pid();
    atomic_store_explicit(&s->late_number, 0, memory_order_seq_cst);
    if (s->pid != pid) /* a child of a fork in the middle of a stop: nobody is inside here */
        atomic_store_explicit(&s->ninside, 0, memory_order_relaxed);
    s->pid = pid;
    if (!stop_wait_rest())
        return STOP_BUSY;
    if (stop.table.base == NULL && !mem_table_init(&stop.table, TABLE_BYTES, MEM_OTHER))
        return STOP_NO_MEMORY;
    if (!mem_table_reach(&stop.table, sizeof(struct stop_record)))
        return STOP_NO_MEMORY;
    if (!open_list())
        return STOP_NO_LIST;
    stop.asked.n = 0;
    stop.asked.nlate = 0;
    s->late = late;
    if (late != NULL)
        stop_late_clear(late);
    s->records = (struct stop_record *)stop.table.base;
    s->last_number += s->last_number == UINT32_MAX ? 2 : 1; /* 0 is none */
    atomic_store_explicit(&s->nanswered, 0, memory_order_relaxed);
    atomic_store_explicit(&s->wanted, UINT32_MAX, memory_order_relaxed);
    atomic_store_explicit(&s->hold, s->last_number, memory_order_relaxed);
    atomic_store_explicit(&s->number, s->last_number, memory_order_seq_cst);
    return STOP_OK;
}

static void run_stopped(void (*run)(void *arg), void *arg, struct stop_result *r) {
    uint64_t start_ns = stop_now_ns();
    r->error = stop_them(r);
    uint64_t stopped_ns = stop_now_ns();
    r->stopping_ns = stopped_ns - start_ns;
    if (r->error == STOP_OK) {
        run(arg);
        r->running_ns = stop_now_ns() - stopped_ns;
    }
    uint64_t end_ns = stop_now_ns();
    let_go();
    note_pauses(r, end_ns);
}

void stop_look(void) {
    if (!take())
        return;
    if (open_list()) {
        stop_calls_begin();
        for_each(look_at);
        close_list();
    }
    give_back();
}

/* In the child of a fork amid a stop nobody is going to end it. */
void stop_owner_is_here(void) {
    atomic_store_explicit(&stop_shared.nforbid, 0, memory_order_relaxed);
    atomic_store_explicit(&stop_shared.number, 0, memory_order_relaxed);
    atomic_store_explicit(&stop_shared.late_number, 0, memory_order_relaxed);
    stop_shared.here = own_pid();
}

bool stop_forbid(void) {
    const uint64_t while_ns = 1000000;
    struct stop_shared *s = &stop_shared;
    uint32_t n;
    if (s->here != own_pid())
        return false;
    atomic_fetch_add_explicit(&s->nforbid, 1, memory_order_seq_cst);
    /* Who stops them either sees nforbid, or is seen. */
    while ((n = atomic_load_explicit(&s->number, memory_order_seq_cst)) != 0)
        stop_futex_wait(&s->number, n, while_ns);
    own_pid(); /* what was sent before that has been taken, at the latest when this returns */
    return true;
}

void stop_allow(void) {
    atomic_fetch_sub_explicit(&stop_shared.nforbid, 1, memory_order_release);
}

/* end_stop ends it for handlers that are still to come, but for those of late threads. */
static void end_stop(const struct stop_result *r) {
    struct stop_shared *s = &stop_shared;
    if (r->error != STOP_OK)
        stop.asked.nlate = 0;
    if (stop.asked.nlate != 0)
        atomic_store_explicit(&s->late_number, stop_number(), memory_order_seq_cst);
    atomic_store_explicit(&s->number, 0, memory_order_seq_cst);
    if (stop.asked.nlate == 0)
        stop_signal_restore(r->nmissing == 0 && r->nlate == 0);
}

static struct stop_result stop_as_owner(void (*run)(void *arg), void *arg, struct stop_late *late) {
    struct stop_result r = {.error = prepare(late)};
    if (r.error != STOP_OK)
        return r;
    if (atomic_load_explicit(&stop_shared.nforbid, memory_order_seq_cst) != 0)
        r.error = STOP_BUSY;
    else if (!stop_signal_install())
        r.error = STOP_NO_SIGNAL;
    else
        run_stopped(run, arg, &r);
    r.nstopped = stop_count(&stop.asked, STOP_STOPPED);
    r.nmissing = stop_count(&stop.asked, STOP_MISSING);
    r.nended = stop_count(&stop.asked, STOP_ENDED);
    r.nlate = stop.asked.nlate;
    end_stop(&r);
    close_list();
    return r;
}

struct stop_result stop_all(void (*run)(void *arg), void *arg) {
    struct stop_result r = {.error = STOP_BUSY};
    if (take()) {
        stop.asked.soon = false;
        r = stop_as_owner(run, arg, NULL);
        give_back();
    }
    return r;
}

struct stop_result stop_soon(void (*run)(void *arg), void *arg, struct stop_late *late, bool last) {
    struct stop_result r = {.error = STOP_BUSY};
    if (take()) {
        stop.asked.soon = true;
        stop.asked.last = last;
        r = stop_as_owner(run, arg, late);
        give_back();
    }
    return r;
}

/* ---- after stop_soon ----------------------------------------------------------------------- */

bool stop_await_blocked(void) {
    bool let_in = false;
    if (!take())
        return false;
    if (open_list()) {
        let_in = stop_wait_unblocked(&stop.asked);
        close_list();
    }
    give_back();
    return let_in;
}

bool stop_late_end(void) {
    struct stop_shared *s = &stop_shared;
    if (atomic_exchange_explicit(&s->late_number, 0, memory_order_seq_cst) != 0 && take()) {
        stop_signal_restore(atomic_load(&s->late->nthere) == stop.asked.nlate &&
                            stop_count(&stop.asked, STOP_MISSING) == 0);
        give_back();
    }
    return stop_wait_leave();
}

void stop_await_late(void) {
    stop_wait_late(&stop.asked);
}

uint32_t stop_nthreads(void) {
    return stop.asked.n;
}

struct stop_thread stop_thread(uint32_t i) {
    const struct stop_record *t = stop_record(i);
    struct stop_thread ret = {.tid = t->tid, .state = stop_state_at(i)};
    if (ret.state == STOP_STOPPED) {
        ret.sp = t->sp;
        ret.pc = t->pc;
        ret.tp = t->tp;
        ret.regs_lo = t->regs_lo;
        ret.regs_hi = t->regs_hi;
        ret.stack_lo = t->stack_lo;
        ret.stack_hi = t->stack_hi;
    }
    if (ret.state == STOP_LATE && stop_late_get(stop_shared.late, t->late, &ret))
        ret.state = STOP_STOPPED;
    return ret;
}

bool stop_find_stacks(void) {
    struct maps_line l;
    if (!maps_open(&stop.maps))
        return false;
    while (maps_next(&stop.maps, &l))
        for (uint32_t i = 0; i < stop.asked.n; i++) {
            struct stop_record *t = stop_record(i);
            if (t->sp < l.start || t->sp >= l.end || stop_state_at(i) != STOP_STOPPED)
                continue;
            t->stack_lo = red_zone_begin(l.start, t->sp);
            t->stack_hi = l.end;
        }
    maps_close(&stop.maps);
    return !stop.maps.failed;
}
