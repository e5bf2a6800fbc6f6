/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Calls that a stop interrupts go on after it.
 */
#include "leak/stop_calls.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/personality.h>
#include <time.h>

#include "leak/task.h"
#include "sys/rawcall.h"

#define NPLACES    32   /* libc has two for each call, and few programs use more than some */
#define MAX_LOOKS  4096 /* threads: a look takes some microseconds */
#define BEFORE     32   /* bytes of code within which the number is loaded */
#define NEAR       16   /* and within which that alone says which number it is */
#define NR_END     1024 /* of the kernel's calls */
#define LOAD_BYTES 5    /* movl $number, %eax */
#define CALL_BYTES 2    /* syscall */
#define FRAME      4096 /* from the stack pointer: what lies there is the thread's to write */
#define KERNEL_SET 8    /* bytes of a set of signals */
#define PAGE       4096

/* Behind this program counter is a call of this number.  A handler may read while the next stop
 * writes: it checks the code itself. */
struct place {
    _Atomic uint64_t pc; /* 0: none */
    _Atomic uint32_t nr;
};

static struct {
    struct place places[NPLACES];
    uint32_t nlooks;            /* of this stop.  Stopper */
    _Atomic bool kept_timeouts; /* the kernel does not write what is left of a time-out */
} calls;

/* ---- which call ---------------------------------------------------------------------------- */

/* load_before tells whether the code before pc makes a call and has, `back` bytes before that, a
 * load of its number.  What lies on the page before may not be there. */
static bool load_before(uint64_t pc, unsigned back, uint32_t *ret_nr) {
    const uint8_t *code = (const uint8_t *)(uintptr_t)pc - CALL_BYTES; /* NOLINT */
    if (code[0] != 0x0f || code[1] != 0x05 || back > (uintptr_t)code % PAGE ||
        code[-(int)back] != 0xb8)
        return false;
    memcpy(ret_nr, code - back + 1, sizeof *ret_nr);
    return true;
}

/* is_call tells whether the code before pc loads the number and makes a call. */
static bool is_call(uint64_t pc, uint32_t nr) {
    uint32_t loaded;
    for (unsigned back = LOAD_BYTES; back <= BEFORE; back++)
        if (load_before(pc, back, &loaded) && loaded == nr)
            return true;
    return false;
}

/* has_prefix tells whether the load is of another register, r8, or may be: it has a prefix then. */
static bool has_prefix(uint64_t pc, unsigned back) {
    const uint8_t *code = (const uint8_t *)(uintptr_t)pc - CALL_BYTES - back; /* NOLINT */
    return (uintptr_t)code % PAGE == 0 || (code[-1] & 0xf0) == 0x40;
}

/* number_by_code returns the number that the code right before pc loads and calls, -1: none. */
static long number_by_code(uint64_t pc) {
    uint32_t loaded;
    for (unsigned back = LOAD_BYTES; back <= NEAR; back++)
        if (load_before(pc, back, &loaded) && loaded < NR_END && !has_prefix(pc, back))
            return (long)loaded;
    return -1;
}

static void add(uint64_t pc, uint32_t nr) {
    for (unsigned i = 0; i < NPLACES; i++) {
        struct place *p = &calls.places[i];
        uint64_t there = atomic_load_explicit(&p->pc, memory_order_relaxed);
        if (there == pc)
            return;
        if (there != 0)
            continue;
        atomic_store_explicit(&p->nr, nr, memory_order_relaxed);
        atomic_store_explicit(&p->pc, pc, memory_order_release);
        return;
    }
}

/* What is known stays known, as the code is looked at each time: who has just gone on after a stop
 * is often not seen to wait in time for the next one.  Only where there is no room it begins anew.
 */
static void make_room(void) {
    if (atomic_load_explicit(&calls.places[NPLACES - 1].pc, memory_order_relaxed) == 0)
        return;
    for (unsigned i = 0; i < NPLACES; i++)
        atomic_store_explicit(&calls.places[i].pc, 0, memory_order_relaxed);
}

void stop_calls_begin(void) {
    calls.nlooks = 0;
    make_room();
    long p = sys_call3(SYS_personality, 0xffffffff, 0, 0);
    atomic_store_explicit(&calls.kept_timeouts, p < 0 || (p & STICKY_TIMEOUTS) != 0,
                          memory_order_relaxed);
}

/* read_call reads "NUMBER ARGUMENT... SP PC"; false: "running", or "-1 SP PC": in no call. */
static bool read_call(const char *text, uint32_t *ret_nr, uint64_t *ret_pc) {
    const char *pc = strrchr(text, ' ');
    if (*text < '0' || *text > '9' || pc == NULL)
        return false;
    for (*ret_nr = 0; *text >= '0' && *text <= '9'; text++)
        *ret_nr = *ret_nr * 10 + (uint32_t)(*text - '0');
    *ret_pc = task_hex(pc + 1);
    return *ret_pc > BEFORE + CALL_BYTES;
}

void stop_calls_look(int dir, uint32_t tid) {
    char text[256];
    uint32_t nr;
    uint64_t pc;
    if (calls.nlooks++ >= MAX_LOOKS)
        return;
    task_read(dir, tid, "/syscall", text, sizeof text);
    if (read_call(text, &nr, &pc))
        add(pc, nr);
}

/* number_at returns the number of the call behind pc, -1: not known. */
static long number_at(uint64_t pc) {
    for (unsigned i = 0; i < NPLACES; i++) {
        struct place *p = &calls.places[i];
        uint64_t there = atomic_load_explicit(&p->pc, memory_order_acquire);
        uint32_t nr = atomic_load_explicit(&p->nr, memory_order_relaxed);
        if (there == pc && is_call(pc, nr))
            return (long)nr;
        if (there == 0)
            break;
    }
    return number_by_code(pc);
}

/* ---- whether it may be made again ---------------------------------------------------------- */

/* is_written tells whether the kernel has written what is left of a time-out.  It does where it
 * can; what is on the stack can be written. */
static bool is_written(uint64_t timeout, uint64_t sp) {
    return !atomic_load_explicit(&calls.kept_timeouts, memory_order_relaxed) &&
           timeout - (sp - 128) < FRAME;
}

static bool is_repeatable(long nr, const greg_t *r) {
    uint64_t sp = (uint64_t)r[REG_RSP];
    switch (nr) {
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_semop:
    case SYS_msgsnd:
    case SYS_msgrcv:
        return true;
    case SYS_poll:
        return (int)r[REG_RDX] < 0;
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
        return (int)r[REG_R10] < 0;
    case SYS_semtimedop:
    case SYS_epoll_pwait2:
        return r[REG_R10] == 0;
    case SYS_rt_sigtimedwait:
        return r[REG_RDX] == 0;
    case SYS_io_getevents:
        return r[REG_R8] == 0;
    case SYS_ppoll:
        return r[REG_RDX] == 0 || is_written((uint64_t)r[REG_RDX], sp);
    case SYS_select:
    case SYS_pselect6:
        return r[REG_R8] == 0 || is_written((uint64_t)r[REG_R8], sp);
    case SYS_nanosleep: /* what is left is written where it is read */
        return r[REG_RDI] == r[REG_RSI];
    case SYS_clock_nanosleep:
        return (r[REG_RSI] & TIMER_ABSTIME) != 0 || r[REG_RDX] == r[REG_R10];
    case SYS_futex: /* its time-out is an absolute one */
        return (r[REG_RSI] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    default:
        return false;
    }
}

/* is_handled tells whether the signal, when it is delivered, is more than ignored. */
static bool is_handled(int sig) {
    struct {
        uintptr_t handler;
        uint64_t rest[3];
    } action = {0, {0}};
    if (sys_call4(SYS_rt_sigaction, sig, 0, (long)&action, KERNEL_SET) != 0)
        return true;
    if (action.handler != (uintptr_t)SIG_DFL)
        return action.handler != (uintptr_t)SIG_IGN;
    return sig != SIGCHLD && sig != SIGCONT && sig != SIGURG && sig != SIGWINCH;
}

/* is_signal_due tells whether a signal waits that is delivered as soon as the handler returns. */
static bool is_signal_due(const ucontext_t *uc) {
    uint64_t pending = 0, blocked;
    memcpy(&blocked, &uc->uc_sigmask, sizeof blocked);
    if (sys_call3(SYS_rt_sigpending, (long)&pending, KERNEL_SET, 0) != 0)
        return true;
    for (pending &= ~blocked; pending != 0; pending &= pending - 1)
        if (is_handled(__builtin_ctzll(pending) + 1))
            return true;
    return false;
}

void stop_calls_resume(ucontext_t *uc) {
    greg_t *r = uc->uc_mcontext.gregs;
    if (r[REG_RAX] != -EINTR || r[REG_RCX] != r[REG_RIP]) /* as the instruction leaves it */
        return;
    long nr = number_at((uint64_t)r[REG_RIP]);
    if (nr < 0 || !is_repeatable(nr, r) || is_signal_due(uc))
        return;
    r[REG_RAX] = nr;
    r[REG_RIP] -= CALL_BYTES;
}
