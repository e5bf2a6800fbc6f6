/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fork, as glibc promises it to a program that uses glibc's malloc.
 *
 * 1. The child finds every lock free and every structure whole: the forking thread takes all locks
 * of the allocator before, and the child makes them free.
 *
 * 2. No deadlock with libc.  In a program of several threads fork locks the list of streams after
 * the fork handlers; who holds that (fflush(NULL)) may wait for a stream whose holder (getline)
 * waits in malloc for us.  So we take the list first: it is recursive.  (glibc takes its own
 * malloc's locks after the list, in fork itself, where no handler can.)
 *
 * 3. In a program of one thread fork is async-signal-safe, and may be called in a handler that has
 * interrupted malloc, or fork.  Then this thread holds some of our locks already: it takes none
 * ("nested"), and the child holds the same, to go on where the handler returns.  libc must not
 * lock anything either; it does not where it knows of one thread only.  So fork is defined here: it
 * lets libc believe, for that time, that our own thread, which uses none of libc's locks, is not
 * there.  Whoever gets around this definition (forkpty) has all but that.
 */
#include "api/exec.h"
#include "api/fork.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "agent/agent.h"
#include "heap/mheap.h"
#include "prof/locks.h"

/* The locks that before_fork takes. */
#define FORK_RANKS                                                                                 \
    (1u << LOCK_RANK_IDLE | 1u << LOCK_RANK_MCENTRAL | 1u << LOCK_RANK_STACKPOOL |                 \
     1u << LOCK_RANK_STACKLARGE | 1u << LOCK_RANK_SCAVENGE | 1u << LOCK_RANK_MHEAP |               \
     1u << LOCK_RANK_SLOT | 1u << LOCK_RANK_STACK | 1u << LOCK_RANK_ESCAPE |                       \
     1u << LOCK_RANK_PERSISTENT)

/* libc's own; NULL: this libc has none. */
extern void _IO_list_lock(void) __attribute__((weak));
extern void _IO_list_unlock(void) __attribute__((weak));
static pid_t (*libc_fork)(void);
static volatile char *libc_single_threaded; /* 1: there is one thread, and nothing to lock */

static bool streams_locked; /* by before_fork.  Guarded by the heap's locks */

static bool streams_matter(void) {
    return _IO_list_lock != NULL && _IO_list_unlock != NULL &&
           (libc_single_threaded == NULL || !*libc_single_threaded);
}

/* In rank order: no thread is inside the allocator while the process is copied. */
static void before_fork(void) {
    if (locks_any_mine()) {
        mutex_fork_nest();
        return;
    }
    bool streams = streams_matter();
    if (streams)
        _IO_list_lock();
    locks_take_all();
    streams_locked = streams;
    mutex_fork_begin(FORK_RANKS);
}

static void after_fork_in_parent(void) {
    if (mutex_fork_is_nested()) {
        mutex_fork_unnest();
        return;
    }
    bool streams = streams_locked;
    mutex_fork_end();
    locks_release_all();
    if (streams)
        _IO_list_unlock();
}

/* libc has made the list of streams free. */
static void after_fork_in_child(void) {
    mutex_fork_end();
    locks_reset_all();
    mutex_forget_held();
    mcaches_after_fork();
    agent_fork_child();
}

/* The heap stays as it is: this thread is at work on it. */
static void after_nested_fork_in_child(void) {
    locks_reset_all();
    mutex_fork_unnest();
    agent_fork_child();
}

static void after_fork_in_any_child(void) {
    exec_fork_child();
    if (mutex_fork_is_nested())
        after_nested_fork_in_child();
    else
        after_fork_in_child();
}

/* In the parent a second thread remains, ours; what libc has to tell it, as by setuid, comes after
 * the fork. */
gm_export pid_t fork(void) {
    if (libc_fork == NULL) /* before the constructor: there is no thread of ours */
        return _Fork();
    if (libc_single_threaded == NULL || *libc_single_threaded || !agent_is_second_thread())
        return libc_fork();
    *libc_single_threaded = 1;
    pid_t pid = libc_fork();
    if (pid != 0)
        *libc_single_threaded = 0;
    return pid;
}

void fork_init(void) {
    union {
        void *symbol;
        pid_t (*fork)(void);
    } next = {dlsym(RTLD_NEXT, "fork")};
    libc_fork = next.fork;
    /* libc's own, not the copy that a program may have of it. */
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    if (libc != NULL) {
        libc_single_threaded = dlsym(libc, "__libc_single_threaded");
        dlclose(libc);
    }
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_any_child);
}
