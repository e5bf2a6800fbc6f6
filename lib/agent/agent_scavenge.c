/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Giving memory back when it is ordered.
 *
 * What no thread owns is had for the asking.  A thread's own, freed slots in spans that it
 * allocates from, freed large objects, stacks, it gives back itself when it next looks for a span.
 * A thread that sleeps does not, however much it keeps.  It can be done in its place:
 *
 *      lock the heap      as for a leak check: nobody who is stopped then holds a lock of ours
 *      stop the threads
 *      unlock             we are going to need the locks, and nobody else who is stopped can take
 *                         them; a thread that did not stop may, which is what they are for
 *      those outside      of the library (leak/outside.h): mcache_release, as if they had
 *                         ended.  Their stores are seen by us, and ours by them: they said
 *                         that they have stopped, and wait until we say go
 *      let them go
 *      give back          the pages of all that, while they run
 *
 * Those who are within the library are left alone: they are awake, and will come by.
 */
#include "agent/agent_scavenge.h"

#include "heap/mheap.h"
#include "leak/outside.h"
#include "prof/locks.h"

struct job {
    struct outside outside;
    struct scavenged result;
};

static struct mcache *mcache_of(uint32_t tid) {
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        struct mcache *c = mcaches.all[i];
        if (c != NULL && c->attached && atomic_load_explicit(&c->tid, memory_order_relaxed) == tid)
            return c;
    }
    return NULL;
}

static void while_stopped(void *arg) {
    struct job *j = arg;
    uint32_t n = stop_nthreads();
    locks_release_all();
    if (!stop_find_stacks()) {
        j->result.left = n;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct stop_thread t = stop_thread(i);
        struct mcache *c = t.state == STOP_ENDED ? NULL : mcache_of(t.tid);
        if (c == NULL)
            continue;
        bool outside = outside_is(&j->outside, &t);
        j->result.emptied += outside;
        j->result.left += !outside;
        if (outside)
            mcache_release(c);
    }
}

/* empty_caches stops the threads, and empties the caches of those that are outside. */
static struct scavenged empty_caches(void) {
    struct job j = {.result = {0}};
    outside_init(&j.outside);
    stop_look();
    locks_take_all();
    struct stop_result r = stop_all(while_stopped, &j);
    if (r.error != STOP_OK)
        locks_release_all();
    j.result.stop_error = (int)r.error;
    return j.result;
}

struct scavenged agent_scavenge(bool threads) {
    struct scavenged ret = {0};
    if (threads && mheap_is_ready(&mheap_))
        ret = empty_caches();
    mheap_reclaim(&mheap_);
    ret.bytes = mheap_scavenge(&mheap_);
    return ret;
}
