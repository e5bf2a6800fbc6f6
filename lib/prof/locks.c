/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All locks at once.
 */
#include "prof/locks.h"

#include "heap/mheap.h"
#include "prof/prof.h"
#include "sys/persistent.h"

void locks_take_all(void) {
    mheap_lock_all(&mheap_);
    prof_fork_prepare();
    mutex_lock(&persistent_lock);
}

void locks_release_all(void) {
    mutex_unlock(&persistent_lock);
    prof_fork_parent();
    mheap_unlock_all(&mheap_);
}

void locks_reset_all(void) {
    mutex_reset(&persistent_lock);
    prof_fork_child();
    mheap_reset_all(&mheap_);
}

bool locks_any_mine(void) {
    return mheap_holds_lock(&mheap_) || prof_holds_lock() || mutex_is_mine(&persistent_lock);
}
