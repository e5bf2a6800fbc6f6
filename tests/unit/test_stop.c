/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Stopping all threads, and copying the process while they are stopped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "leak/fork_copy.h"
#include "leak/stop.h"
#include "leak/stop_late.h"
#include "leak/unshare.h"
#include "sanitized.h"
#include "thread_state.h"

enum { THREADS = 50, STACK = 256 << 10 };

static atomic_bool end;
static sem_t ready;
static pthread_t threads[THREADS];
static pid_t tids[THREADS];

static void start(void *(*run)(void *), unsigned n) {
    pthread_attr_t attr;
    atomic_store(&end, false);
    sem_init(&ready, 0, 0);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    for (uintptr_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], &attr, run, (void *)i), 0);
    for (unsigned i = 0; i < n; i++)
        sem_wait(&ready);
    pthread_attr_destroy(&attr);
}

static void join(unsigned n) {
    atomic_store(&end, true);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

/* record_of returns what the last stop says of a thread. */
static struct stop_thread record_of(pid_t tid) {
    for (uint32_t i = 0; i < stop_nthreads(); i++)
        if (stop_thread(i).tid == (uint32_t)tid)
            return stop_thread(i);
    fail_msg("thread %d was not met", tid);
    return (struct stop_thread){0};
}

/* The action of the signal that is libc's own, as the kernel has it. */
struct action {
    uint64_t words[4];
};
static struct action libc_action(void) {
    struct action a = {{0}};
    syscall(SYS_rt_sigaction, 33, NULL, &a, 8);
    return a;
}

/* ---- all of them -------------------------------------------------------------------------- */

static _Atomic uint64_t counts[THREADS];
static void *count_up(void *arg) {
    uintptr_t i = (uintptr_t)arg;
    tids[i] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end)) {
        atomic_fetch_add(&counts[i], 1);
        if (i % 25 != 0) /* two of them never rest */
            usleep(1000);
    }
    return NULL;
}

static bool nobody_moved;
static void look_who_moves(void *arg) {
    uint64_t before[THREADS];
    *(unsigned *)arg += 1;
    for (unsigned i = 0; i < THREADS; i++)
        before[i] = atomic_load(&counts[i]);
    for (int i = 0; i < 100; i++)
        sched_yield();
    for (unsigned i = 0; i < THREADS; i++)
        nobody_moved &= before[i] == atomic_load(&counts[i]);
}

static void fifty_threads_stand_still_and_go_on(void **state) {
    unsigned ran = 0;
    uint64_t sum = 0;
    (void)state;
    nobody_moved = true;
    start(count_up, THREADS);
    struct action before = libc_action();
    for (unsigned i = 1; i <= 10; i++) {
        struct stop_result r = stop_all(look_who_moves, &ran);
        assert_int_equal(r.error, STOP_OK);
        assert_int_equal(ran, i);
        assert_int_equal(r.nstopped, THREADS);
        assert_int_equal(r.nmissing, 0);
        assert_true(nobody_moved);
        assert_true(r.longest_ns >= r.held_ns && r.held_ns >= r.running_ns && r.longest_tid != 0);
        if (i % 5 == 0)
            print_message("stopping %u us, held %u us, the longest pause %u us\n",
                          (unsigned)(r.stopping_ns / 1000), (unsigned)(r.held_ns / 1000),
                          (unsigned)(r.longest_ns / 1000));
    }
    struct action after = libc_action();
    assert_memory_equal(&before, &after, sizeof before);
    for (unsigned i = 0; i < THREADS; i++) {
        sum = atomic_load(&counts[i]);
        while (atomic_load(&counts[i]) == sum)
            sched_yield();
    }
    join(THREADS);
}

static void nothing(void *arg) {
    (void)arg;
}

static void a_process_of_one_thread_has_nobody_to_stop(void **state) {
    unsigned ran = 0;
    (void)state;
    nobody_moved = true;
    struct stop_result r = stop_all(look_who_moves, &ran);
    assert_int_equal(r.error, STOP_OK);
    assert_int_equal(ran, 1);
    /* The sanitizers have a thread of their own. */
    assert_in_range(r.nstopped, 0, SANITIZED);
}

/* ---- where they are ----------------------------------------------------------------------- */

#define MARK 0x5ca1ab1e0ddba11u /* times the thread's number */

/* Each has a number in a register alone, one on its stack, and one in a vector register. */
static void *hold_registers(void *arg) {
    uint64_t i = (uintptr_t)arg + 1;
    volatile uint64_t on_stack = MARK * i;
    tids[i - 1] = gettid();
    sem_post(&ready);
    uint64_t in_register = (MARK + 1) * i, in_vector = (MARK + 2) * i;
    __asm__ volatile("movq %[r], %%r12\n"
                     "movq %[v], %%xmm15\n"
                     "xorl %k[r], %k[r]\n"
                     "xorl %k[v], %k[v]\n"
                     "1: cmpb $0, %[end]\n"
                     "je 1b\n"
                     : [r] "+&r"(in_register), [v] "+&r"(in_vector)
                     : [end] "m"(end)
                     : "r12", "xmm15", "cc");
    return (void *)(uintptr_t)on_stack;
}

/* holds looks for a word in memory that is another thread's, so without the sanitizers' help. */
__attribute__((no_sanitize("address"))) static bool holds(uint64_t lo, uint64_t hi, uint64_t word) {
    for (uint64_t p = lo & ~UINT64_C(7); p + 8 <= hi; p += 8)
        if (*(volatile uint64_t *)(uintptr_t)p == word) /* NOLINT */
            return true;
    return false;
}

static unsigned nfound[3];
static void look_for_marks(void *arg) {
    (void)arg;
    if (!stop_find_stacks())
        return;
    for (uint64_t i = 1; i <= 8; i++)
        for (uint32_t k = 0; k < stop_nthreads(); k++) {
            struct stop_thread t = stop_thread(k);
            if (t.tid != (uint32_t)tids[i - 1] || t.state != STOP_STOPPED)
                continue;
            nfound[0] += holds(t.stack_lo, t.stack_hi, MARK * i);
            nfound[1] += holds(t.regs_lo, t.regs_hi, (MARK + 1) * i);
            nfound[2] += holds(t.regs_lo, t.regs_hi, (MARK + 2) * i);
        }
}

static void registers_and_stacks_are_where_it_says(void **state) {
    (void)state;
    memset(nfound, 0, sizeof nfound);
    start(hold_registers, 8);
    usleep(20000); /* until all are in their loops; if not, the next stop finds them there */
    for (int i = 0; i < 100 && nfound[1] < 8; i++) {
        memset(nfound, 0, sizeof nfound);
        assert_int_equal(stop_all(look_for_marks, NULL).error, STOP_OK);
    }
    for (unsigned i = 0; i < 8; i++) {
        struct stop_thread t = record_of(tids[i]);
        assert_true(t.stack_lo <= t.sp && t.sp < t.stack_hi &&
                    t.stack_hi - t.stack_lo <= 2 * STACK);
        assert_true(t.tp > t.sp && t.tp < t.stack_hi);
    }
    assert_int_equal(nfound[0], 8);
    assert_int_equal(nfound[1], 8);
    assert_int_equal(nfound[2], 8);
    join(8);
}

static void *with_signal_stack(void *arg) {
    uintptr_t i = (uintptr_t)arg;
    stack_t s = {.ss_size = 65536, .ss_sp = malloc(65536)};
    assert_int_equal(sigaltstack(&s, NULL), 0);
    tids[i] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end))
        usleep(100);
    s.ss_flags = SS_DISABLE;
    sigaltstack(&s, NULL);
    free(s.ss_sp);
    return NULL;
}

static void the_handler_takes_the_alternate_stack(void **state) {
    (void)state;
    start(with_signal_stack, 4);
    assert_int_equal(stop_all(nothing, NULL).nmissing, 0);
    for (unsigned i = 0; i < 4; i++) {
        struct stop_thread t = record_of(tids[i]);
        assert_int_equal(t.state, STOP_STOPPED);
        assert_true(t.regs_hi < t.sp - STACK || t.regs_lo > t.sp + STACK);
    }
    join(4);
}

/* ---- who can't be stopped ----------------------------------------------------------------- */

static void *block_signals(void *arg) {
    uintptr_t i = (uintptr_t)arg;
    uint64_t all = ~UINT64_C(0), old;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8); /* past libc */
    tids[i] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end))
        usleep(1000);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
    usleep(1000); /* what has been waiting comes now, and finds that it is over */
    return NULL;
}

static void who_does_not_answer_is_missing_by_name(void **state) {
    (void)state;
    start(block_signals, 2);
    for (int i = 0; i < 2; i++) {
        struct stop_result r = stop_all(nothing, NULL);
        assert_int_equal(r.error, STOP_OK);
        assert_int_equal(r.nmissing, 2);
        assert_true(r.stopping_ns >= STOP_TIMEOUT_NS);
        assert_int_equal(record_of(tids[0]).state, STOP_MISSING);
        assert_int_equal(record_of(tids[1]).state, STOP_MISSING);
    }
    join(2);
    assert_int_equal(stop_all(nothing, NULL).nmissing, 0);
}

/* The signal that a missing thread takes when the stop is long over interrupts no call of it. */
static int to_read[2];
static atomic_int ready_fds;
static void *block_signals_until_ppoll(void *arg) {
    uint64_t all = ~UINT64_C(0), old;
    sigset_t none;
    struct pollfd fd = {.fd = to_read[0], .events = POLLIN};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8); /* past libc */
    tids[(uintptr_t)arg] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end))
        usleep(1000);
    sigemptyset(&none);
    atomic_store(&ready_fds, ppoll(&fd, 1, NULL, &none));
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
    return NULL;
}

static void who_was_missing_goes_on_with_his_call(void **state) {
    (void)state;
    assert_int_equal(pipe(to_read), 0);
    start(block_signals_until_ppoll, 1);
    assert_int_equal(stop_all(nothing, NULL).nmissing, 1);
    assert_true(thread_has_signal(tids[0], 33));
    atomic_store(&end, true);
    while (thread_has_signal(tids[0], 33))
        usleep(1000);
    assert_int_equal(write(to_read[1], "", 1), 1);
    join(1);
    assert_int_equal(atomic_load(&ready_fds), 1);
    assert_int_equal(stop_all(nothing, NULL).nmissing, 0);
    close(to_read[0]);
    close(to_read[1]);
}

/* ---- who is not waited for ---------------------------------------------------------------- */

static int until_told[2]; /* a pipe */

/* child waits until it is told, and ends. */
static int child(void) {
    char c;
    close(until_told[1]);
    (void)!read(until_told[0], &c, 1);
    syscall(SYS_exit_group, 0);
    return 0;
}

static void *wait_for_child(void *arg) {
    tids[(uintptr_t)arg] = gettid();
    sem_post(&ready);
    if (syscall(SYS_clone, CLONE_VFORK, 0, 0, 0, 0) == 0)
        child();
    while (waitpid(-1, NULL, __WALL) < 0 && errno == EINTR) {
    }
    return NULL;
}

static struct stop_late *new_late(void) {
    struct stop_late *l =
        mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(l, MAP_FAILED);
    return l;
}

static void count_run(void *arg) {
    *(unsigned *)arg += 1;
}

/* A thread that can't answer is not waited for, and tells where it was as soon as it can. */
static void who_waits_in_the_kernel_tells_later_where_it_was(void **state) {
    struct stop_late *late = new_late();
    unsigned ran = 0;
    (void)state;
    start(count_up, 2);
    struct action before = libc_action();
    join(2);
    assert_int_equal(pipe(until_told), 0);
    start(wait_for_child, 1);
    while (thread_state(tids[0]) != 'D')
        usleep(1000);
    for (int i = 0; i < 2; i++) { /* one that has not come yet is no trouble for the next stop */
        struct stop_result r = stop_soon(count_run, &ran, late, false);
        assert_int_equal(r.error, STOP_OK);
        assert_in_range(r.nlate, 1, 1 + SANITIZED); /* who has a thread of its own */
        assert_int_equal(r.nmissing, 0);
        assert_int_equal(record_of(tids[0]).state, STOP_LATE);
    }
    assert_int_equal(ran, 2);
    close(until_told[1]);
    for (int i = 0; i < 6000 && record_of(tids[0]).state == STOP_LATE; i++)
        usleep(10000);
    struct stop_thread t = record_of(tids[0]);
    assert_int_equal(t.state, STOP_STOPPED);
    assert_true(t.sp < t.tp && t.tp - t.sp < STACK);
    assert_int_equal(((const ucontext_t *)t.regs_lo)->uc_mcontext.gregs[REG_RSP], t.sp);
    join(1);
    assert_true(stop_late_end());
    struct action after = libc_action();
    assert_memory_equal(&before, &after, sizeof before);
    close(until_told[0]);
    munmap(late, sizeof *late);
}

static atomic_bool may_let_in, has_let_in;
static void *block_signals_for_a_while(void *arg) {
    uint64_t all = ~UINT64_C(0), old;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8); /* past libc */
    tids[(uintptr_t)arg] = gettid();
    sem_post(&ready);
    while (!atomic_load(&may_let_in))
        usleep(1000);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
    atomic_store(&has_let_in, true);
    while (!atomic_load(&end))
        usleep(1000);
    return NULL;
}

/* While a thread blocks the signal nothing is done, and it is missing only in the end. */
static void who_blocks_the_signal_is_tried_again(void **state) {
    struct stop_late *late = new_late();
    unsigned ran = 0;
    (void)state;
    atomic_store(&may_let_in, false);
    atomic_store(&has_let_in, false);
    start(block_signals_for_a_while, 1);
    assert_int_equal(stop_soon(count_run, &ran, late, false).error, STOP_BLOCKED);
    assert_int_equal(ran, 0);
    assert_false(stop_await_blocked());
    assert_int_equal(stop_soon(count_run, &ran, late, true).nmissing, 1);
    assert_int_equal(ran, 1);
    assert_int_equal(stop_soon(count_run, &ran, late, false).error, STOP_BLOCKED);
    atomic_store(&may_let_in, true);
    while (!atomic_load(&has_let_in))
        usleep(1000);
    assert_true(stop_await_blocked());
    struct stop_result r = stop_soon(count_run, &ran, late, true);
    assert_int_equal(r.nmissing, 0);
    assert_int_equal(ran, 2);
    join(1);
    assert_true(stop_late_end());
    munmap(late, sizeof *late);
}

static struct fork_copy copy;
static int copy_error;

static int start_copy(int (*run)(void *arg, int fd), void *arg, int keep) {
    return fork_copy_start(&copy, &(struct fork_copy_job){.run = run, .arg = arg, .keep = keep});
}

/* trace_until_told has a thread stand still in the kernel when it is about to end, until the pipe
 * ends, as on a processor that others have.  False: it may not. */
static int at_end[2], may_trace[2];

static bool trace_until_told(pid_t tid) {
    char c;
    int status;
    if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)PTRACE_O_TRACEEXIT) != 0)
        return false;
    (void)!write(may_trace[1], "y", 1);
    waitpid(tid, &status, __WALL); /* it is about to end */
    (void)!write(may_trace[1], "e", 1);
    (void)!read(at_end[0], &c, 1);
    return true; /* what is traced goes on when its tracer ends */
}

static void *end_when_told(void *arg) {
    tids[(uintptr_t)arg] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end))
        usleep(1000);
    return NULL;
}

static int await_late(void *arg, int fd) {
    (void)arg;
    stop_await_late();
    enum stop_state state = record_of(tids[0]).state;
    return fork_copy_write(fd, &state, sizeof state) ? 0 : 1;
}

static void copy_that_waits(void *arg) {
    copy_error = start_copy(await_late, arg, -1);
}

/* Such a one never comes: it is not missing, and is not waited for as long as one may. */
static void who_ends_instead_of_telling_has_ended(void **state) {
    struct stop_late *late = new_late();
    enum stop_state found;
    int status;
    char c = 'n';
    (void)state;
    assert_int_equal(pipe(at_end), 0);
    assert_int_equal(pipe(may_trace), 0);
    start(end_when_told, 1);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    pid_t tracer = fork();
    if (tracer == 0) {
        close(at_end[1]);
        _exit(trace_until_told(tids[0]) ? 0 : 1);
    }
    close(may_trace[1]);
    bool can_trace = read(may_trace[0], &c, 1) == 1;
    atomic_store(&end, true);
    if (can_trace) {
        assert_int_equal(read(may_trace[0], &c, 1), 1);
        struct stop_result r = stop_soon(copy_that_waits, NULL, late, true);
        close(at_end[1]);
        assert_int_equal(r.error, STOP_OK);
        assert_int_equal(record_of(tids[0]).state, STOP_LATE);
        assert_int_equal(fork_copy_read(&copy, &found, sizeof found, 60000), sizeof found);
        assert_int_equal(found, STOP_ENDED);
        fork_copy_finish(&copy, false, &status);
        assert_true(stop_late_end());
    }
    assert_int_equal(waitpid(tracer, &status, 0), tracer);
    join(1);
    close(at_end[0]);
    close(may_trace[0]);
    munmap(late, sizeof *late);
    if (!can_trace)
        skip();
}

/* libc's own way of blocking all signals, and waiting for all: nobody is missing, and nobody is
 * handed a signal that he can't explain. */
static _Atomic int strange;
static void *wait_for_signals(void *arg) {
    uintptr_t i = (uintptr_t)arg;
    sigset_t all;
    int sig;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    tids[i] = gettid();
    sem_post(&ready);
    while (sigwait(&all, &sig) == 0 && sig != SIGUSR2)
        atomic_store(&strange, sig);
    return NULL;
}

static void who_waits_for_all_signals_sees_none(void **state) {
    (void)state;
    start(wait_for_signals, 4);
    for (int i = 0; i < 20; i++) {
        struct stop_result r = stop_all(nothing, NULL);
        assert_int_equal(r.nmissing, 0);
        assert_int_equal(record_of(tids[3]).state, STOP_STOPPED);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_kill(threads[i], SIGUSR2);
    join(4);
    assert_int_equal(atomic_load(&strange), 0);
}

static void *just_end(void *arg) {
    return arg;
}

/* Threads are born and die all the time. */
static void *make_threads(void *arg) {
    tids[(uintptr_t)arg] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end)) {
        pthread_t t;
        if (pthread_create(&t, NULL, just_end, NULL) == 0)
            pthread_join(t, NULL);
    }
    return NULL;
}

/* One that is born has the signal blocked until its maker goes on, and waits for that: where
 * processors are wanting it may well be missing. */
static void threads_may_be_born_and_die_meanwhile(void **state) {
    unsigned whole = 0;
    (void)state;
    start(make_threads, 4);
    for (int i = 0; i < 30; i++) {
        struct stop_result r = stop_all(nothing, NULL);
        assert_int_equal(r.error, STOP_OK);
        assert_true(r.npasses >= 2); /* the last one finds nobody new */
        assert_true(r.nstopped + r.nmissing >= 4);
        whole += r.nmissing == 0;
    }
    assert_true(whole > 0);
    join(4);
}

/* Its first thread is a zombie until the last one has ended: it does not cost the time-out. */
static void *stop_without_first(void *arg) {
    while (thread_state(getpid()) != 'Z')
        usleep(1000);
    struct stop_result r = stop_all(nothing, NULL);
    (void)arg;
    _exit(r.error == STOP_OK && r.nmissing == 0 && r.nended == 1 ? 0 : 1);
}

static void a_first_thread_that_has_ended_is_not_waited_for(void **state) {
    int status;
    (void)state;
    if (SANITIZED)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        pthread_create(&t, NULL, stop_without_first, NULL);
        syscall(SYS_exit, 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A child may come out of the middle of a stop, and has its own. */
static void *fork_again_and_again(void *arg) {
    uintptr_t i = (uintptr_t)arg;
    tids[i] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end)) {
        int status = 0;
        pid_t pid = fork();
        if (pid == 0) {
            struct stop_result r = stop_all(nothing, NULL);
            _exit(r.error == STOP_OK && r.nmissing == 0 && r.nstopped == 0 ? 0 : 1);
        }
        while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
            continue;
        if (status != 0)
            atomic_store(&strange, 1);
    }
    return NULL;
}

static void forks_meanwhile_make_whole_children(void **state) {
    (void)state;
    if (SANITIZED)
        skip(); /* they lock what is theirs only in their own fork */
    start(fork_again_and_again, 3);
    for (int i = 0; i < 50; i++) {
        struct stop_result r = stop_all(nothing, NULL);
        assert_int_equal(r.error, STOP_OK);
        assert_int_equal(r.nmissing, 0);
    }
    join(3);
    assert_int_equal(atomic_load(&strange), 0);
}

/* setuid is carried out in every thread by the same signal. */
static void *change_user(void *arg) {
    tids[(uintptr_t)arg] = gettid();
    sem_post(&ready);
    while (!atomic_load(&end))
        if (seteuid(geteuid()) != 0)
            atomic_store(&strange, 1);
    return NULL;
}

static void setuid_meanwhile_is_done(void **state) {
    (void)state;
    start(change_user, 3);
    for (int i = 0; i < 50; i++)
        assert_int_equal(stop_all(nothing, NULL).nmissing, 0);
    join(3);
    assert_int_equal(atomic_load(&strange), 0);
}

/* ---- copies ------------------------------------------------------------------------------- */

static volatile uint64_t shared_word;

struct told {
    uint64_t word;
    uint64_t tids_found;
    long nfds;
    char oom[8];
};

/* In the copy: threads are gone, what they had is there. */
static int tell(void *arg, int fd) {
    struct told t = {.word = *(volatile uint64_t *)arg};
    stop_find_stacks();
    for (uint32_t i = 0; i < stop_nthreads(); i++)
        t.tids_found += stop_thread(i).stack_hi != 0;
    for (int i = 0; i < 1024; i++)
        t.nfds += syscall(SYS_fcntl, i, F_GETFD, 0) >= 0;
    int oom = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_RDONLY, 0);
    syscall(SYS_read, oom, t.oom, sizeof t.oom - 1);
    shared_word = 1; /* its own copy */
    return fork_copy_write(fd, &t, sizeof t) ? 7 : 8;
}

static void make_copy(void *arg) {
    copy_error = start_copy(tell, arg, -1);
}

static _Atomic int nsigchld;
static void on_child(int sig) {
    (void)sig;
    atomic_fetch_add(&nsigchld, 1);
}

static void a_copy_shows_the_process_as_it_stood(void **state) {
    struct told t;
    int status;
    (void)state;
    signal(SIGCHLD, on_child);
    start(count_up, THREADS);
    shared_word = 42;
    struct stop_result r = stop_all(make_copy, (void *)&shared_word);
    shared_word = 43;
    assert_int_equal(r.nstopped, THREADS + (r.nstopped > THREADS));
    assert_int_equal(copy_error, 0);
    assert_int_equal(fork_copy_read(&copy, &t, sizeof t, 30000), sizeof t);
    assert_int_equal(fork_copy_read(&copy, &t, sizeof t, 30000), 0);
    assert_int_equal(waitpid(-1, &status, WNOHANG), -1); /* the program has no child */
    assert_int_equal(errno, ECHILD);
    assert_int_equal(fork_copy_finish(&copy, false, &status), FORK_COPY_DONE);
    assert_int_equal(status, 7);
    assert_int_equal(t.word, 42);
    assert_int_equal(t.tids_found, r.nstopped);
    assert_int_equal(t.nfds, 1);
    assert_string_equal(t.oom, "1000\n");
    assert_int_equal(shared_word, 43);
    assert_int_equal(atomic_load(&nsigchld), 0);
    join(THREADS);
}

static int sleep_long(void *arg, int fd) {
    (void)arg;
    fork_copy_write(fd, "alive", 5);
    for (;;)
        syscall(SYS_pause);
    return 0;
}

/* nshared counts the stopped threads whose stack pointer's page belongs to a copy as well: bit 56
 * of an entry of pagemap says "mapped once". */
static unsigned nshared(void) {
    unsigned n = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    for (uint32_t i = 0; i < stop_nthreads(); i++) {
        uint64_t entry = 0;
        pread(fd, &entry, sizeof entry, (off_t)(stop_thread(i).sp / 4096 * sizeof entry));
        n += (entry >> 56 & 1) == 0;
    }
    close(fd);
    return n;
}

static int last_on(void *arg, int fd) {
    (void)arg;
    return poll(&(struct pollfd){.fd = fd}, 0, -1);
}

static struct {
    _Atomic uint32_t next;
    unsigned before, after;
} unshared;

static void copy_and_unshare(void *arg) {
    copy_error = start_copy(last_on, arg, -1);
    unshared.before = nshared();
    unshare_pages(&unshared.next);
    unshared.after = nshared();
}

static bool can_populate(void) {
    static char page[4096] __attribute__((aligned(4096)));
    return madvise(page, sizeof page, 23 /* MADV_POPULATE_WRITE */) == 0;
}

static void what_threads_write_first_they_need_not_copy(void **state) {
    (void)state;
    if (SANITIZED || !can_populate())
        skip();
    start(count_up, THREADS);
    struct stop_result r = stop_all(copy_and_unshare, NULL);
    join(THREADS);
    assert_int_equal(r.error, STOP_OK);
    assert_int_equal(copy_error, 0);
    int status;
    assert_int_equal(fork_copy_finish(&copy, true, &status), FORK_COPY_KILLED);
    assert_int_equal(unshared.before, THREADS);
    assert_int_equal(unshared.after, 0);
}

/* As a program may that shares the descriptor table. */
static void a_copys_descriptor_that_is_anothers_by_now_is_left_alone(void **state) {
    (void)state;
    int status, other[2];
    char byte = 'x';
    assert_int_equal(start_copy(last_on, NULL, -1), 0);
    assert_int_equal(pipe(other), 0);
    int fd = copy.fd;
    assert_int_equal(write(other[1], &byte, 1), 1);
    assert_int_equal(dup2(other[0], fd), fd);
    assert_int_equal(fork_copy_read(&copy, &byte, 1, 0), -EBADF);
    fork_copy_finish(&copy, true, &status);
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
    close(other[0]);
    close(other[1]);
}

static void a_copy_can_be_given_up(void **state) {
    int status;
    char text[8];
    (void)state;
    assert_int_equal(start_copy(sleep_long, NULL, -1), 0);
    assert_int_equal(fork_copy_read(&copy, text, sizeof text, 30000), 5);
    assert_int_equal(fork_copy_read(&copy, text, sizeof text, 10), -ETIMEDOUT);
    assert_int_equal(fork_copy_finish(&copy, true, &status), FORK_COPY_KILLED);
    assert_int_equal(status, SIGKILL);
}

static void *make_and_end(void *arg) {
    char text[8];
    *(int *)arg = start_copy(sleep_long, NULL, -1);
    fork_copy_read(&copy, text, sizeof text, 30000);
    return NULL;
}

static void a_copy_ends_with_its_thread(void **state) {
    pthread_t t;
    int error = -1, status;
    char c;
    (void)state;
    pthread_create(&t, NULL, make_and_end, &error);
    pthread_join(t, NULL);
    assert_int_equal(error, 0);
    assert_int_equal(fork_copy_read(&copy, &c, 1, 30000), 0);
    assert_int_equal(fork_copy_finish(&copy, false, &status), FORK_COPY_KILLED);
}

/* One more descriptor: what is larger goes into a file in memory. */
static int write_there(void *arg, int fd) {
    (void)fd;
    return fork_copy_write(*(int *)arg, "seen", 4) ? 0 : 1;
}

static void a_copy_keeps_what_it_is_to_keep(void **state) {
    char text[8] = "";
    int status, fd = memfd_create("copy", MFD_CLOEXEC);
    (void)state;
    if (fd < 0)
        skip(); /* a filter refuses it */
    assert_int_equal(start_copy(write_there, &fd, fd), 0);
    assert_int_equal(fork_copy_finish(&copy, false, &status), FORK_COPY_DONE);
    assert_int_equal(status, 0);
    assert_int_equal(pread(fd, text, sizeof text, 0), 4);
    assert_string_equal(text, "seen");
    close(fd);
}

/* In a child, as the limit stays: nobody but root is free of it. */
static void a_refused_copy_says_why(void **state) {
    int status;
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit one = {1, 1};
        if (setrlimit(RLIMIT_NPROC, &one) != 0 ||
            (getuid() == 0 && syscall(SYS_setresuid, 65531, 65531, 65531) != 0))
            _exit(77);
        int error = start_copy(sleep_long, NULL, -1);
        _exit(error == -EAGAIN && copy.pid == 0 && copy.fd == -1 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifty_threads_stand_still_and_go_on),
        cmocka_unit_test(a_process_of_one_thread_has_nobody_to_stop),
        cmocka_unit_test(registers_and_stacks_are_where_it_says),
        cmocka_unit_test(the_handler_takes_the_alternate_stack),
        cmocka_unit_test(who_does_not_answer_is_missing_by_name),
        cmocka_unit_test(who_was_missing_goes_on_with_his_call),
        cmocka_unit_test(who_waits_in_the_kernel_tells_later_where_it_was),
        cmocka_unit_test(who_blocks_the_signal_is_tried_again),
        cmocka_unit_test(who_ends_instead_of_telling_has_ended),
        cmocka_unit_test(who_waits_for_all_signals_sees_none),
        cmocka_unit_test(threads_may_be_born_and_die_meanwhile),
        cmocka_unit_test(a_first_thread_that_has_ended_is_not_waited_for),
        cmocka_unit_test(forks_meanwhile_make_whole_children),
        cmocka_unit_test(setuid_meanwhile_is_done),
        cmocka_unit_test(a_copy_shows_the_process_as_it_stood),
        cmocka_unit_test(what_threads_write_first_they_need_not_copy),
        cmocka_unit_test(a_copys_descriptor_that_is_anothers_by_now_is_left_alone),
        cmocka_unit_test(a_copy_can_be_given_up),
        cmocka_unit_test(a_copy_ends_with_its_thread),
        cmocka_unit_test(a_copy_keeps_what_it_is_to_keep),
        cmocka_unit_test(a_refused_copy_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
