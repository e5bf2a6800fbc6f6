/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fork with what lib/api/fork.c does for the heap around it, without the recorder and libc.
 */
#ifndef GM_TESTS_FORK_HEAP_H
#define GM_TESTS_FORK_HEAP_H

#include <unistd.h>

#include "heap/mheap.h"
#include "sys/lock.h"
#include "sys/persistent.h"

static inline pid_t fork_heap(void) {
    mheap_lock_all(&mheap_);
    mutex_lock(&persistent_lock);
    pid_t pid = fork();
    if (pid == 0) {
        mutex_reset(&persistent_lock);
        mheap_reset_all(&mheap_);
        mutex_forget_held();
        mcaches_after_fork();
    } else {
        mutex_unlock(&persistent_lock);
        mheap_unlock_all(&mheap_);
    }
    return pid;
}

#endif
