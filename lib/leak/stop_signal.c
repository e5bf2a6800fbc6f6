/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The signal that stops a thread.
 *
 * Which signal: one that libc keeps to itself, that of setuid (33).  A program can take any other
 * in ways that we would not see, or that it would not bear: threads that wait for "all signals" in
 * sigwait or signalfd would be handed it and take it for something.  libc leaves its own out of all
 * such sets, programs can't block it by way of libc, and debuggers pass it on without a word.  When
 * there is a second thread, libc has its handler in place for good; ours stands before it as long
 * as a stop takes, and calls it for each signal that is not ours: a setuid meanwhile waits until
 * the threads are let go, and is done.
 *
 * Ours carry a value: the number of the stop and of the thread's record.  A handler that comes too
 * late, as its thread was not running, finds another number.  It must be ours still: libc's would
 * take the signal and let a call fail that it has interrupted, and where there is none, as in a
 * program whose threads are not libc's, the process would end.  So ours stays, until a stop that
 * all have answered.
 *
 * The handler runs on the alternate signal stack, where a thread has one: on small stacks, of
 * coroutines, the kernel's frame alone may be too large.  It does nothing but wait, by a system
 * call of its own, look at the clock, and see to it that an interrupted call goes on
 * (stop_calls.h): no lock, no errno.
 */
#include "leak/stop_signal.h"

#include <assert.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "leak/stop_calls.h"
#include "leak/stop_late.h"
#include "sys/rawcall.h"

#define STOP_VALUE  0x673u /* in the value's upper bits: it is ours */
#define INDEX_BITS  16
#define NUMBER_BITS 32
#define KERNEL_SET  8 /* bytes of a set of signals */
#define SA_RESTORER 0x04000000u

static_assert(STOP_MAX <= 1 << INDEX_BITS, "a value names the record");

/* As the kernel has it. */
struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

struct stop_shared stop_shared;
static struct kernel_sigaction before; /* what stood there.  Written before ours is in place */

/* What a handler returns to: libc has one, but keeps it to itself.  Debuggers know it by these
 * bytes. */
__asm__(".text\n"
        ".type stop_restorer, @function\n"
        ".hidden stop_restorer\n"
        ".globl stop_restorer\n"
        "stop_restorer:\n"
        "    movq $15, %rax\n" /* rt_sigreturn */
        "    syscall\n"
        ".size stop_restorer, . - stop_restorer\n");

uint64_t stop_now_ns(void) {
    struct timespec t = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &t); /* which is no system call, and cannot fail */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void stop_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns) {
    struct timespec t = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
    sys_call4(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, value, (long)&t);
}

void stop_futex_wake(_Atomic uint32_t *word) {
    sys_call3(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

/* ---- the handler -------------------------------------------------------------------------- */

/* save_registers notes where they are: in the context, and the vector registers in the area that it
 * points to, whose size the kernel writes into bytes that the processor leaves alone. */
static void save_registers(struct stop_record *t, const ucontext_t *uc) {
    const char *fp = (const char *)uc->uc_mcontext.fpregs;
    uint32_t magic = 0, size = 0;
    t->sp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP];
    t->pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    t->regs_lo = (uintptr_t)uc;
    t->regs_hi = (uintptr_t)(uc + 1);
    if (fp == NULL)
        return;
    memcpy(&magic, fp + 464, sizeof magic);
    memcpy(&size, fp + 468, sizeof size);
    uintptr_t end = (uintptr_t)fp + (magic == 0x46505853 ? size : 512);
    if (end > t->regs_hi && end - t->regs_lo < 1 << 20)
        t->regs_hi = end;
}

static uint64_t thread_pointer(void) {
    uint64_t tp;
    __asm__("movq %%fs:0, %0" : "=r"(tp));
    return tp;
}

static void wait_on(uint32_t number) {
    struct stop_shared *s = &stop_shared;
    while (atomic_load_explicit(&s->hold, memory_order_acquire) == number)
        stop_futex_wait(&s->hold, number, 1000000000);
}

/* answer_late is for who has been found to be late: as little of the record is written as the copy
 * may read meanwhile. */
static void answer_late(const struct stop_record *t, uint32_t number, const ucontext_t *uc) {
    struct stop_record here = {.tp = thread_pointer()};
    if (atomic_load_explicit(&t->word, memory_order_acquire) != stop_word(number, STOP_LATE))
        return;
    save_registers(&here, uc);
    const struct stop_thread at = {.sp = here.sp,
                                   .pc = here.pc,
                                   .tp = here.tp,
                                   .regs_lo = here.regs_lo,
                                   .regs_hi = here.regs_hi};
    stop_late_arrive(stop_shared.late, t->late, &at);
}

/* answer_and_wait is the pause. */
static void answer_and_wait(struct stop_record *t, uint32_t number, const ucontext_t *uc) {
    struct stop_shared *s = &stop_shared;
    uint64_t asked = stop_word(number, STOP_ASKED), entered_ns = stop_now_ns();
    if (atomic_load_explicit(&t->word, memory_order_acquire) == asked) {
        t->entered_ns = entered_ns;
        t->tp = thread_pointer();
        save_registers(t, uc);
    }
    if (!atomic_compare_exchange_strong_explicit(&t->word, &asked, stop_word(number, STOP_STOPPED),
                                                 memory_order_acq_rel, memory_order_acquire)) {
        /* Too late just now: what was written is not looked at. */
        answer_late(t, number, uc);
        if (stop_state_of(asked) == STOP_LATE)
            wait_on(number);
        return;
    }
    uint32_t n = atomic_fetch_add_explicit(&s->nanswered, 1, memory_order_seq_cst) + 1;
    if (n >= atomic_load_explicit(&s->wanted, memory_order_seq_cst))
        stop_futex_wake(&s->nanswered);
    wait_on(number);
    atomic_store_explicit(&t->left_ns, stop_now_ns(), memory_order_relaxed);
}

/* stop_here is for a signal of ours.  While anybody is inside, no new stop begins; who comes in
 * later sees that his number is not that of the stop, and does not look at the records. */
static void stop_here(uint32_t number, uint32_t i, const ucontext_t *uc) {
    struct stop_shared *s = &stop_shared;
    atomic_fetch_add_explicit(&s->ninside, 1, memory_order_seq_cst);
    if (number != 0 && number == atomic_load_explicit(&s->number, memory_order_seq_cst))
        answer_and_wait(&s->records[i], number, uc);
    else if (number != 0 && number == atomic_load_explicit(&s->late_number, memory_order_seq_cst))
        answer_late(&s->records[i], number, uc);
    if (atomic_fetch_sub_explicit(&s->ninside, 1, memory_order_seq_cst) == 1)
        stop_futex_wake(&s->ninside);
}

static void on_signal(int sig, siginfo_t *info, void *context) {
    uint64_t value = (uintptr_t)info->si_value.sival_ptr;
    if (info->si_code == SI_QUEUE && value >> (INDEX_BITS + NUMBER_BITS) == STOP_VALUE) {
        stop_here((uint32_t)(value >> INDEX_BITS), value & ((1u << INDEX_BITS) - 1), context);
        stop_calls_resume(context);
    } else if ((uintptr_t)before.handler > 1) { /* neither SIG_DFL nor SIG_IGN */
        before.handler(sig, info, context);
    }
}

/* ---- the stopper -------------------------------------------------------------------------- */

static long sigaction_raw(const struct kernel_sigaction *set, struct kernel_sigaction *ret_old) {
    return sys_call4(SYS_rt_sigaction, STOP_SIGNAL, (long)set, (long)ret_old, KERNEL_SET);
}

bool stop_signal_install(void) {
    const struct kernel_sigaction ours = {.handler = on_signal,
                                          .flags =
                                              SA_SIGINFO | SA_RESTART | SA_ONSTACK | SA_RESTORER,
                                          .restorer = stop_restorer,
                                          .mask = ~UINT64_C(0)};
    struct kernel_sigaction old;
    if (sigaction_raw(NULL, &old) != 0)
        return false;
    if (old.handler != on_signal) /* as in the child of a fork in the middle of a stop */
        before = old;
    return sigaction_raw(&ours, NULL) == 0;
}

void stop_signal_restore(bool all_answered) {
    struct kernel_sigaction now;
    if (!all_answered)
        return;
    if (sigaction_raw(NULL, &now) == 0 && now.handler == on_signal)
        sigaction_raw(&before, NULL);
}

int stop_signal_send(uint32_t i) {
    siginfo_t info;
    long pid = sys_call3(SYS_getpid, 0, 0, 0);
    uint32_t number = atomic_load_explicit(&stop_shared.number, memory_order_relaxed);
    uint64_t value = ((uint64_t)STOP_VALUE << NUMBER_BITS | number) << INDEX_BITS | i;
    memset(&info, 0, sizeof info);
    info.si_signo = STOP_SIGNAL;
    info.si_code = SI_QUEUE;
    info.si_pid = (pid_t)pid;
    info.si_value.sival_ptr = (void *)(uintptr_t)value;
    return (int)sys_call4(SYS_rt_tgsigqueueinfo, pid, stop_shared.records[i].tid, STOP_SIGNAL,
                          (long)&info);
}
