/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The agent's thread.
 *
 * It takes all signals blocked from its first instruction on, so that the program's handlers never
 * run here; it calls nothing that allocates, locks or speaks, with one exception: a rate that needs
 * the unwinder loads it.
 *
 * Its descriptors are in a table of its own (close_range with CLOSE_RANGE_UNSHARE, which in one
 * step leaves the program's table and closes the copies): a program that closes all descriptors,
 * counts them, or forks never meets them.  Where the kernel does not know that or a filter forbids
 * it, the program's table is shared.  Then the socket stands at a high number, and before each use
 * a descriptor is asked whether it is still what it was; if the program has taken it away, it is
 * not touched again, and the socket is made anew.
 *
 * When it starts: with the program, as a rule.  A program that may not have a second thread just
 * then (agent_imports.c), and one that has no socket, gets it when it has worked for a moment and
 * allocates; a forked child when it has lived for a moment and allocates.
 */
#include "agent/agent.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include "agent/agent_client.h"
#include "agent/agent_imports.h"
#include "image/agent_stats.h"
#include "agent/fatal.h"
#include "image/image_private.h"
#include "agent/trigger.h"
#include "heap/mheap.h"
#include "prof/history.h"
#include "prof/prof.h"
#include "prof/watch.h"
#include "sys/slice.h"
#include "sys/throw.h"
#include "unwind/info_pages.h"

#define FORK_DELAY_NS UINT64_C(10000000)    /* of life: most children exec sooner */
#define WORK_DELAY_NS UINT64_C(2000000)     /* of processor time: a launcher has done its work */
#define MIN_SLEEP_NS  UINT64_C(10000000)    /* between two turns of background work */
#define IDLE_SLEEP_NS UINT64_C(10000000000) /* at most, in a process that does not allocate */
#define IDLE_TURNS    8                     /* turns without work until it is called idle */
#define MEANWHILE_NS  UINT64_C(100000000)   /* until it is looked whether a client has left */
#define REBIND_NS     UINT64_C(1000000000)  /* between two attempts to get the socket back */
#define MAX_REBINDS   32

/* dlopen runs on it (see set_rate); what is not touched costs nothing. */
#define STACK_SIZE     ((size_t)256 << 10)
#define MAX_STACK_SIZE ((size_t)16 << 20)

static struct {
    struct agent_options options;
    _Atomic bool poke_due; /* the thread is to be started when poke_clock shows poke_ns */
    clockid_t poke_clock;
    uint64_t poke_ns;
    bool private_table; /* descriptors are the thread's own */
    struct agent_socket socket;
    struct agent_clients clients;
    unsigned nrebinds;  /* attempts to get a socket */
    uint64_t rebind_ns; /* CLOCK_MONOTONIC: not before */

    /* Background work; CLOCK_MONOTONIC. */
    uint64_t work_ns;   /* when it is due */
    uint64_t last_work; /* heap activity at the last turn */
    unsigned idle_turns;
} agent = {.socket.fd = -1};

/* ---- background work ---------------------------------------------------------------------- */

/* heap_activity returns a number that changes whenever the heap gives background work to do. */
static uint64_t heap_activity(void) {
    return atomic_load_explicit(&mheap_.nspan_alloc, memory_order_relaxed) +
           atomic_load_explicit(&mheap_.nspan_free, memory_order_relaxed);
}

/* resident is 0 where reading it would take a number of the program's descriptor table. */
static uint64_t resident(void) {
    return agent.private_table ? image_resident() : 0;
}

static void work(uint64_t now_ns) {
    if (now_ns < agent.work_ns)
        return;
    agent_count(AGENT_WAKEUPS);
    uint64_t sleep_ns = mheap_background(&mheap_, now_ns);
    prof_background();
    uint64_t activity = heap_activity();
    agent.idle_turns = activity == agent.last_work ? agent.idle_turns + 1 : 0;
    agent.last_work = activity;
    if (sleep_ns < MIN_SLEEP_NS)
        sleep_ns = MIN_SLEEP_NS;
    if (sleep_ns >= UINT64_C(1000000000) && agent.idle_turns > IDLE_TURNS)
        sleep_ns = IDLE_SLEEP_NS;
    uint64_t history_ns = history_turn(now_ns, resident);
    if (history_ns < sleep_ns)
        sleep_ns = history_ns > MIN_SLEEP_NS ? history_ns : MIN_SLEEP_NS;
    agent.work_ns = now_ns + sleep_ns;
}

/* ---- descriptors -------------------------------------------------------------------------- */

/* leave_table leaves the program's descriptor table.  The new one keeps nothing of it: a pipe held
 * open here would never end for its reader.  0, 1 and 2 are occupied, lest a message for people
 * ends in a socket. */
static bool leave_table(void) {
    if (sys_call3(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) != 0)
        return false;
    report_own_table = true;
    for (int i = 0; i < 3; i++)
        sys_call3(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK, 0);
    return true;
}

/* keep_socket sees to it that there is a socket, as far as possible. */
static void keep_socket(uint64_t now_ns) {
    struct agent_socket *s = &agent.socket;
    if (s->fd >= 0 && !agent.private_table && !agent_socket_is_ours(s)) {
        agent_count(AGENT_SOCKET_LOST);
        s->fd = -1;
    }
    if (!agent.options.on || s->fd >= 0 || now_ns < agent.rebind_ns ||
        agent.nrebinds == MAX_REBINDS)
        return;
    agent.nrebinds++;
    agent.rebind_ns = now_ns + REBIND_NS;
    agent_socket_open(s, !agent.private_table);
}

/* ---- the thread --------------------------------------------------------------------------- */

static int poll_timeout(uint64_t now_ns, uint64_t next_ns) {
    if (next_ns <= now_ns)
        return 0;
    uint64_t ms = (next_ns - now_ns + 999999) / 1000000;
    return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

/* serve waits until somebody asks, or `other` (-1: none) can be read, until next_ns at the latest,
 * and answers.  True: a request was served. */
static bool serve(uint64_t now_ns, uint64_t next_ns, int other) {
    struct pollfd fds[AGENT_NCLIENTS + 2];
    unsigned n = agent_clients_poll(&agent.clients, &agent.socket, fds, now_ns, &next_ns);
    fds[n] = (struct pollfd){.fd = other, .events = POLLIN};
    long r = sys_call3(SYS_poll, (long)fds, n + 1, poll_timeout(now_ns, next_ns));
    if (r < 0)
        n = 0; /* EINTR: a signal to all threads of libc's own (setuid) */
    return agent_clients_serve(&agent.clients, &agent.socket, fds, n);
}

void agent_meanwhile(int fd) {
    uint64_t now_ns = raw_clock_ns(CLOCK_MONOTONIC);
    work(now_ns);
    serve(now_ns, now_ns + MEANWHILE_NS, fd);
}

static void turn(void) {
    uint64_t now_ns = raw_clock_ns(CLOCK_MONOTONIC);
    keep_socket(now_ns);
    work(now_ns);
    uint64_t watch_ns = watch_turn(now_ns);
    uint64_t next_ns = watch_ns < agent.work_ns ? watch_ns : agent.work_ns;
    uint64_t info_ns = agent.private_table ? info_pages_turn(now_ns) : UINT64_MAX;
    next_ns = info_ns < next_ns ? info_ns : next_ns;
    uint64_t trigger_ns = trigger_turn(now_ns, agent.private_table);
    next_ns = trigger_ns < next_ns ? trigger_ns : next_ns;
    if (serve(now_ns, next_ns, -1)) {
        agent.idle_turns = 0; /* a new rate is to reach all threads soon */
        agent.work_ns = 0;
    }
}

/* libc's count of threads: when it falls to 0 because the last one has ended, libc ends the
 * process, as by exit(0).  It must not count ours, or a program whose first thread has gone by
 * pthread_exit would never end.  (The count is libc's own, but libthread_db, hence every debugger,
 * relies on its name.) */
static unsigned *libc_nthreads;

/* find_nthreads looks it up; called while the program has one thread, which must be what it says.
 */
static bool find_nthreads(void) {
    libc_nthreads = dlsym(RTLD_DEFAULT, "__nptl_nthreads");
    return libc_nthreads != NULL && __atomic_load_n(libc_nthreads, __ATOMIC_RELAXED) >= 1;
}

bool agent_is_second_thread(void) {
    return atomic_load_explicit(&agent_thread_runs, memory_order_relaxed) != 0 &&
           __atomic_load_n(libc_nthreads, __ATOMIC_RELAXED) == 1;
}

static void *agent_main(void *arg) {
    (void)arg;
    sys_call6(SYS_prctl, PR_SET_NAME, (long)"gomalloc", 0, 0, 0, 0);
    slice_shorten();
    agent.private_table = leave_table();
    if (agent.private_table) {
        watch_start();
        agent_clients_own_table(&agent.clients);
    } else {
        agent_count(AGENT_SHARED_TABLE);
    }
    for (;;)
        turn();
    return NULL;
}

/* create_thread creates it with a stack of at least the given size: more if the program's
 * thread-local variables, which lie on it, need more. */
static bool create_thread(pthread_attr_t *attr) {
    pthread_t thread;
    for (size_t size = STACK_SIZE; size <= MAX_STACK_SIZE; size *= 4) {
        if (pthread_attr_setstacksize(attr, size) != 0)
            continue;
        int error = pthread_create(&thread, attr, agent_main, NULL);
        if (error != EINVAL)
            return error == 0;
    }
    return false;
}

static void start(void) {
    if (libc_nthreads == NULL && !find_nthreads()) {
        agent_count(AGENT_THREAD_FAILED);
        return;
    }
    sigset_t all, old;
    pthread_attr_t attr;
    sigfillset(&all);
    if (pthread_attr_init(&attr) != 0)
        return;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    agent_clients_init(&agent.clients, agent.options.control);
    /* libc leaves out the signals that it sends itself, for setuid and cancellation. */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool ok = create_thread(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (ok) /* here, not in the thread: this one is alive and counted, so it can't be the last */
        __atomic_fetch_sub(libc_nthreads, 1, __ATOMIC_RELAXED);
    atomic_store_explicit(&agent_thread_runs, ok, memory_order_relaxed);
    if (!ok)
        agent_count(AGENT_THREAD_FAILED);
}

/* start_later leaves it to agent_poke. */
static void start_later(clockid_t clock, uint64_t delay_ns) {
    agent.poke_clock = clock;
    agent.poke_ns = raw_clock_ns(clock) + delay_ns;
    atomic_store_explicit(&agent.poke_due, true, memory_order_relaxed);
}

void agent_init(const struct agent_options *o) {
    agent.options = *o;
    image_note_start();
    agent_socket_remember_dir();
    if (!o->on || agent_program_needs_one_thread())
        start_later(CLOCK_PROCESS_CPUTIME_ID, WORK_DELAY_NS);
    else
        start();
}

void agent_fork_child(void) {
    image_note_fork();
    trigger_fork_child();
    fatal_fork_child();
    if (atomic_exchange_explicit(&agent_thread_runs, 0, memory_order_relaxed) == 0 &&
        !atomic_load_explicit(&agent.poke_due, memory_order_relaxed))
        return;
    if (!agent.private_table)
        agent_clients_forget(&agent.clients);
    else
        agent.socket.fd = -1;
    agent_socket_forget(&agent.socket);
    agent.nrebinds = 0;
    agent.rebind_ns = 0;
    agent.work_ns = 0;
    start_later(CLOCK_MONOTONIC, FORK_DELAY_NS);
}

void agent_poke(void) {
    if (gm_likely(!atomic_load_explicit(&agent.poke_due, memory_order_relaxed)))
        return;
    if (raw_clock_ns(agent.poke_clock) < agent.poke_ns)
        return;
    if (!atomic_exchange_explicit(&agent.poke_due, false, memory_order_relaxed))
        return;
    int saved = errno;
    start();
    errno = saved;
}

void agent_exit(void) {
    agent_socket_unlink(&agent.socket);
}
