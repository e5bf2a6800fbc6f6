/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A thread that waits in a call does not notice that it is stopped, again and again: no call fails
 * with EINTR, none is lost, and a signal of the program's interrupts it as ever.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "leak/stop.h"
#include "sanitized.h"
#include "thread_state.h"

enum { LONG_S = 100000, STOPS = 100 };

static int a_pipe[2], an_epoll, a_semaphore, a_queue;
static sem_t a_sem;

/* ---- calls that nothing ends but a signal --------------------------------------------------- */

static struct timespec in_long(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    t.tv_sec += LONG_S;
    return t;
}

static int wait_pause(void) {
    return pause();
}

static int wait_sigsuspend(void) {
    sigset_t none;
    sigemptyset(&none);
    return sigsuspend(&none);
}

static int wait_poll(void) {
    struct pollfd p = {.fd = a_pipe[0], .events = POLLIN};
    return poll(&p, 1, -1);
}

static int wait_ppoll(void) {
    struct pollfd p = {.fd = a_pipe[0], .events = POLLIN};
    return ppoll(&p, 1, NULL, NULL);
}

static int wait_ppoll_long(void) {
    struct pollfd p = {.fd = a_pipe[0], .events = POLLIN};
    const struct timespec t = {.tv_sec = LONG_S};
    return ppoll(&p, 1, &t, NULL);
}

static int wait_select(void) {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(a_pipe[0], &set);
    return select(a_pipe[0] + 1, &set, NULL, NULL, NULL);
}

static int wait_select_long(void) {
    fd_set set;
    struct timeval t = {.tv_sec = LONG_S};
    FD_ZERO(&set);
    FD_SET(a_pipe[0], &set);
    return select(a_pipe[0] + 1, &set, NULL, NULL, &t);
}

static int wait_pselect(void) {
    fd_set set;
    sigset_t none;
    struct timespec t = {.tv_sec = LONG_S};
    sigemptyset(&none);
    FD_ZERO(&set);
    FD_SET(a_pipe[0], &set);
    return pselect(a_pipe[0] + 1, &set, NULL, NULL, &t, &none);
}

static int wait_epoll(void) {
    struct epoll_event e;
    return epoll_wait(an_epoll, &e, 1, -1);
}

static int wait_epoll_masked(void) {
    struct epoll_event e;
    sigset_t none;
    sigemptyset(&none);
    return epoll_pwait(an_epoll, &e, 1, -1, &none);
}

static int wait_until(void) {
    const struct timespec t = in_long(CLOCK_MONOTONIC);
    errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    return -1;
}

/* As sleep does: what is left is written over what was asked for. */
static int wait_nanosleep(void) {
    struct timespec t = {.tv_sec = LONG_S};
    return nanosleep(&t, &t);
}

static int wait_semop(void) {
    struct sembuf down = {.sem_op = -1};
    return semop(a_semaphore, &down, 1);
}

static int wait_msgrcv(void) {
    struct {
        long type;
        char text[8];
    } m;
    return (int)msgrcv(a_queue, &m, sizeof m.text, 0, 0);
}

static int wait_sigwaitinfo(void) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR2);
    return sigwaitinfo(&one, NULL);
}

static int wait_sem_timed(void) {
    struct timespec t = in_long(CLOCK_REALTIME);
    return sem_timedwait(&a_sem, &t);
}

/* The kernel restarts these by itself. */
static int wait_read(void) {
    char c;
    return (int)read(a_pipe[0], &c, 1);
}

static int wait_sem(void) {
    return sem_wait(&a_sem);
}

static struct caller {
    const char *name;
    int (*wait)(void);
    bool goes_on; /* after a handler of the program's too */
    pthread_t thread;
    pid_t tid;
    _Atomic unsigned nreturns;
    _Atomic int error; /* of the last one */
} callers[] = {
    {.name = "pause", .wait = wait_pause},
    {.name = "sigsuspend", .wait = wait_sigsuspend},
    {.name = "poll", .wait = wait_poll},
    {.name = "ppoll", .wait = wait_ppoll},
    {.name = "ppoll with a time-out", .wait = wait_ppoll_long},
    {.name = "select", .wait = wait_select},
    {.name = "select with a time-out", .wait = wait_select_long},
    {.name = "pselect", .wait = wait_pselect},
    {.name = "epoll_wait", .wait = wait_epoll},
    {.name = "epoll_pwait", .wait = wait_epoll_masked},
    {.name = "clock_nanosleep", .wait = wait_until},
    {.name = "nanosleep", .wait = wait_nanosleep},
    {.name = "semop", .wait = wait_semop},
    {.name = "msgrcv", .wait = wait_msgrcv},
    {.name = "sigwaitinfo", .wait = wait_sigwaitinfo},
    {.name = "sem_timedwait", .wait = wait_sem_timed},
    {.name = "read", .wait = wait_read, .goes_on = true},
    {.name = "sem_wait", .wait = wait_sem, .goes_on = true},
};
enum { CALLERS = sizeof callers / sizeof *callers };

/* ---- the threads ---------------------------------------------------------------------------- */

static _Atomic bool end;

static void *call_again_and_again(void *arg) {
    struct caller *c = arg;
    c->tid = gettid();
    while (!atomic_load(&end)) {
        errno = 0;
        int r = c->wait();
        atomic_store(&c->error, r < 0 ? errno : 0);
        atomic_fetch_add(&c->nreturns, 1);
    }
    return NULL;
}

static void on_signal(int sig) {
    (void)sig;
}

/* is_waiting tells whether the thread sleeps in the kernel. */
static bool is_waiting(const struct caller *c) {
    return c->tid != 0 && thread_state(c->tid) == 'S';
}

static void await(const struct caller *c) {
    while (!is_waiting(c))
        usleep(100);
}

static void await_all(void) {
    for (unsigned i = 0; i < CALLERS; i++)
        await(&callers[i]);
}

static void set_up_calls(void) {
    struct sigaction action = {.sa_handler = on_signal};
    struct epoll_event e = {.events = EPOLLIN};
    sigaction(SIGUSR1, &action, NULL);
    assert_int_equal(pipe(a_pipe), 0);
    an_epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(epoll_ctl(an_epoll, EPOLL_CTL_ADD, a_pipe[0], &e), 0);
    a_semaphore = semget(IPC_PRIVATE, 1, 0600);
    a_queue = msgget(IPC_PRIVATE, 0600);
    assert_true(a_semaphore >= 0 && a_queue >= 0);
    sem_init(&a_sem, 0, 0);
}

static void remove_calls(void) {
    semctl(a_semaphore, 0, IPC_RMID);
    msgctl(a_queue, IPC_RMID, NULL);
}

static void nothing(void *arg) {
    (void)arg;
}

/* ---- tests ---------------------------------------------------------------------------------- */

/* All are interrupted by a signal of the program's: who did not go on would not notice it. */
static void interrupt_all(void) {
    for (unsigned i = 0; i < CALLERS; i++) {
        struct caller *c = &callers[i];
        unsigned before = atomic_load(&c->nreturns);
        if (c->goes_on)
            continue;
        pthread_kill(c->thread, SIGUSR1);
        while (atomic_load(&c->nreturns) == before)
            usleep(100);
        if (atomic_load(&c->error) != EINTR)
            fail_msg("%s: %s", c->name, strerror(atomic_load(&c->error)));
    }
}

static void end_all(void) {
    atomic_store(&end, true);
    assert_int_equal(write(a_pipe[1], "12345678901234567890", 20), 20);
    for (unsigned i = 0; i < CALLERS; i++)
        sem_post(&a_sem);
    /* Again and again: one may have looked before, and wait only now. */
    for (unsigned i = 0; i < CALLERS; i++) {
        do
            pthread_kill(callers[i].thread, SIGUSR1);
        while (pthread_tryjoin_np(callers[i].thread, NULL) == EBUSY && usleep(1000) == 0);
    }
}

static void nobody_notices(void **state) {
    (void)state;
    if (SANITIZED)
        skip(); /* their wrappers make some of these calls in ways of their own */
    set_up_calls();
    for (unsigned i = 0; i < CALLERS; i++)
        assert_int_equal(
            pthread_create(&callers[i].thread, NULL, call_again_and_again, &callers[i]), 0);
    for (int round = 0; round < 2; round++) {
        unsigned before[CALLERS];
        await_all();
        for (unsigned i = 0; i < CALLERS; i++)
            before[i] = atomic_load(&callers[i].nreturns);
        for (int i = 0; i < STOPS; i++) {
            await_all(); /* where code is not as a rule, only of a call that is seen is it known */
            stop_look();
            struct stop_result r = stop_all(nothing, NULL);
            assert_int_equal(r.error, STOP_OK);
            assert_int_equal(r.nstopped, CALLERS);
        }
        await_all();
        for (unsigned i = 0; i < CALLERS; i++)
            if (atomic_load(&callers[i].nreturns) != before[i])
                fail_msg("%s has returned: %s", callers[i].name,
                         strerror(atomic_load(&callers[i].error)));
        interrupt_all();
    }
    end_all();
    remove_calls();
}

static _Atomic bool may_wait;

static void *poll_and_spin(void *arg) {
    struct caller *c = arg;
    c->tid = gettid();
    for (int i = 0; i < 2; i++) {
        char byte;
        struct pollfd p = {.fd = a_pipe[0], .events = POLLIN};
        while (!atomic_load(&may_wait))
            ;
        int r = poll(&p, 1, -1);
        atomic_store(&c->error, r < 0 ? errno : 0);
        atomic_store(&may_wait, false);
        atomic_fetch_add(&c->nreturns, 1);
        (void)!read(a_pipe[0], &byte, 1);
    }
    return NULL;
}

/* begin_to_wait has a thread wait for the pipe, and end_waiting comes after the last byte. */
static void begin_to_wait(struct caller *c, void *(*run)(void *)) {
    assert_int_equal(pipe(a_pipe), 0);
    atomic_store(&may_wait, true);
    assert_int_equal(pthread_create(&c->thread, NULL, run, c), 0);
    await(c);
}

static void end_waiting(struct caller *c) {
    pthread_join(c->thread, NULL);
    close(a_pipe[0]);
    close(a_pipe[1]);
}

/* A thread that was not seen to wait this time, but has been before: the same call is known. */
static void what_was_seen_once_is_known(void **state) {
    struct caller c = {.name = "poll"};
    (void)state;
    if (SANITIZED)
        skip();
    begin_to_wait(&c, poll_and_spin);
    stop_look();
    assert_int_equal(write(a_pipe[1], "1", 1), 1);
    while (atomic_load(&c.nreturns) == 0)
        usleep(100);
    stop_look(); /* it spins */
    atomic_store(&may_wait, true);
    await(&c);
    assert_int_equal(stop_all(nothing, NULL).nstopped, 1);
    assert_int_equal(write(a_pipe[1], "2", 1), 1);
    end_waiting(&c);
    assert_int_equal(atomic_load(&c.error), 0);
}

/* A call that has begun since it was looked, in code that nobody has waited in before. */
static void what_was_never_seen_is_known_by_its_code(void **state) {
    struct caller c = {.name = "poll"};
    (void)state;
    if (SANITIZED)
        skip();
    begin_to_wait(&c, poll_and_spin);
    for (unsigned i = 0; i < 2; i++) {
        await(&c);
        assert_int_equal(stop_all(nothing, NULL).nstopped, 1);
        assert_int_equal(write(a_pipe[1], "1", 1), 1);
        while (atomic_load(&c.nreturns) == i)
            usleep(100);
        assert_int_equal(atomic_load(&c.error), 0);
        atomic_store(&may_wait, true);
    }
    end_waiting(&c);
}

/* ppoll in code that loads two registers by the same byte: 8 into r8 right before the call, and the
 * number before that.  All of it is on one page: what is on the page before is not looked at. */
static int poll_by_other_code(void) {
    struct pollfd p = {.fd = a_pipe[0], .events = POLLIN};
    long r;
    __asm__ volatile(".p2align 6\n\tmovq %1, %%rdi\n\tmovl $1, %%esi\n\txorl %%edx, %%edx\n\t"
                     "xorl %%r10d, %%r10d\n\tmovl $271, %%eax\n\tmovl $8, %%r8d\n\tsyscall"
                     : "=&a"(r)
                     : "r"(&p)
                     : "rdi", "rsi", "rdx", "r8", "r10", "rcx", "r11", "cc", "memory");
    return (int)r;
}

static void *poll_once(void *arg) {
    struct caller *c = arg;
    c->tid = gettid();
    atomic_store(&c->error, poll_by_other_code() < 0 ? EINTR : 0);
    return NULL;
}

static void a_number_for_another_register_is_none_of_a_call(void **state) {
    struct caller c = {.name = "ppoll"};
    (void)state;
    begin_to_wait(&c, poll_once);
    assert_int_equal(stop_all(nothing, NULL).nmissing, 0);
    assert_int_equal(write(a_pipe[1], "1", 1), 1);
    end_waiting(&c);
    assert_int_equal(atomic_load(&c.error), 0);
}

/* A sleep takes as long as it is to take, however often it is interrupted. */
static void *sleep_half_a_second(void *arg) {
    struct timespec t = {.tv_nsec = 500000000}, begin, now;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    *(int *)arg = nanosleep(&t, &t);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = (int64_t)(now.tv_sec - begin.tv_sec) * 1000000000 + now.tv_nsec - begin.tv_nsec;
    return (void *)(uintptr_t)(ns >= 500000000);
}

static void a_sleep_is_not_shortened(void **state) {
    pthread_t t;
    int result = -1;
    void *long_enough = NULL;
    (void)state;
    if (SANITIZED)
        skip();
    pthread_create(&t, NULL, sleep_half_a_second, &result);
    usleep(20000);
    for (int i = 0; i < 20; i++) {
        stop_look();
        assert_int_equal(stop_all(nothing, NULL).error, STOP_OK);
        usleep(1000);
    }
    pthread_join(t, &long_enough);
    assert_int_equal(result, 0);
    assert_non_null(long_enough);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_never_seen_is_known_by_its_code),
        cmocka_unit_test(a_number_for_another_register_is_none_of_a_call),
        cmocka_unit_test(nobody_notices),
        cmocka_unit_test(what_was_seen_once_is_known),
        cmocka_unit_test(a_sleep_is_not_shortened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
