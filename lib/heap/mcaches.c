/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whose the mcaches are: threads that attach and end, idle ones, and those of threads that a fork
 * has lost.  Go: what runtime/proc.go does with Ps.
 */
#include "heap/mcache.h"

#include <pthread.h>

#include "heap/mheap.h"
#include "heap/msize.h"
#include "heap/mtiny.h"
#include "sys/rawcall.h"

gm_tls bool mcache_ending;
struct mcaches mcaches = {.lock = MUTEX_INIT(LOCK_RANK_IDLE)};
static pthread_key_t exit_key;
static bool have_exit_key;

static struct mcache *new_mcache(void) {
    uint32_t id = atomic_load_explicit(&mcaches.n, memory_order_relaxed);
    if (!mem_table_reach(&mcaches.table, (id + 1) * sizeof *mcaches.all))
        return NULL;
    size_t hints = NUM_SPAN_CLASSES * SMALL_HINTS * sizeof(struct hint) /* at most */
                   + (LARGE_KEEP_PAGES + 1) * LARGE_KEEP_HINTS * sizeof(struct hint);
    struct mcache *c = mem_alloc_sparse(align_up(sizeof *c + hints, 4096), MEM_MCACHE);
    if (c == NULL)
        return NULL;
    mcache_place_hints(c);
    c->owner.id = id;
    mcaches.all[id] = c;
    atomic_store_explicit(&mcaches.n, id + 1, memory_order_release);
    return c;
}

/* Has every span with marks wait for its owner, as who waited for whom is unknown.  Other threads
 * may be at it too; the lock keeps the headers as they are. */
static void note_all_marks(uint32_t nspans) {
    mutex_lock(&mheap_.lock);
    for (uint32_t i = 0; i < nspans; i++) {
        struct mspan *s = mheap_.allspans[i];
        if (atomic_load_explicit(&s->state, memory_order_relaxed) == GOMALLOC_SPAN_IN_USE &&
            s->elem_size != 0 && mspan_has_marks(s))
            mspan_note_pending(s);
    }
    mutex_unlock(&mheap_.lock);
}

/* Spans of threads that were lost in a fork have no list that can be trusted: walk them all.
 * mcaches.lock is held. */
static void rebuild_orphans(void) {
    uint32_t n = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        struct mspan *s = mheap_.allspans[i];
        /* Before the owner: of his spans others take away only large ones. */
        bool large = __atomic_load_n(&s->elem_size, __ATOMIC_ACQUIRE) == 0;
        const struct span_owner *o = mspan_owner(s);
        if (o == NULL || o->id >= mcaches.n || !mcaches.all[o->id]->orphan)
            continue;
        if (large) {
            large_rescue(s, o);
            continue;
        }
        s->place = GOMALLOC_PLACE_NONE;
        s->next = s->prev = NULL;
        mspan_finish_sweep(s);
        mcentral_uncache_span(&mheap_.central[s->spc.v], s);
    }
    note_all_marks(n);
    for (uint32_t i = 0; i < mcaches.n; i++)
        if (mcaches.all[i]->orphan) {
            mcaches.all[i]->orphan = false;
            mcache_release(mcaches.all[i]);
        }
    mcaches.have_orphans = false;
}

static struct mcache *take_idle(void) {
    if (mcaches.have_orphans)
        rebuild_orphans();
    struct mcache *c = mcaches.idle;
    if (c != NULL) {
        mcaches.idle = c->next_idle;
        atomic_fetch_sub_explicit(&mcaches.nidle, 1, memory_order_relaxed);
    }
    return c != NULL ? c : new_mcache();
}

static void on_thread_exit(void *unused) {
    (void)unused;
    mcache_ending = true;
    mcache_detach();
}

/* The first caller makes the heap.  mcaches.lock is held. */
static bool init_once(void) {
    if (mheap_is_ready(&mheap_))
        return true;
    if (mcaches.all == NULL &&
        !mem_table_init(&mcaches.table, MAX_MCACHES * sizeof *mcaches.all, MEM_MCACHE))
        return false;
    mcaches.all = (struct mcache **)mcaches.table.base;
    if (!mheap_init(&mheap_))
        return false;
    have_exit_key = pthread_key_create(&exit_key, on_thread_exit) == 0;
    return true;
}

struct mcache *mcache_attach(void) {
    mutex_lock(&mcaches.lock);
    struct mcache *c = init_once() ? take_idle() : NULL;
    if (c != NULL)
        c->attached = true;
    mutex_unlock(&mcaches.lock);
    if (c == NULL)
        return NULL;
    atomic_store_explicit(&c->tid, (uint32_t)sys_call3(SYS_gettid, 0, 0, 0), memory_order_relaxed);
    c->flush_gen = heap_sweepgen();
    /* The thread before may have ended, or jumped, out of the recorder.  A thread that is ending
     * gets no stacks if the unwinder would keep what it allots to the thread. */
    bool none =
        mcache_ending && !atomic_load_explicit(&mcaches.record_ending, memory_order_relaxed);
    atomic_store_explicit(&c->in_recorder, none, memory_order_relaxed);
    c->ignoring = 0;
    /* Atomic: the recorder writes the same when the rate changes. */
    __atomic_store_n(&c->next_sample, NEXT_SAMPLE_UNKNOWN, __ATOMIC_RELAXED);
    mcache_self = c;
    if (have_exit_key && !mcache_ending) /* may allocate: this thread has its mcache by now */
        pthread_setspecific(exit_key, c);
    return c;
}

void mcache_detach(void) {
    struct mcache *c = mcache_self;
    if (c == &mcache0)
        return;
    mcache_self = &mcache0;
    mcache_release(c);
    atomic_store_explicit(&c->tid, 0, memory_order_relaxed);
    mutex_lock(&mcaches.lock);
    c->attached = false;
    c->next_idle = mcaches.idle;
    mcaches.idle = c;
    atomic_fetch_add_explicit(&mcaches.nidle, 1, memory_order_relaxed);
    mutex_unlock(&mcaches.lock);
}

/* What is freed of an ended thread's objects should serve the living before the heap grows: looks
 * at a few of the idle mcaches, others at each call.  Returns whether there was something. */
bool mcaches_drain_some(void) {
    bool any = false;
    if (atomic_load_explicit(&mcaches.nidle, memory_order_relaxed) == 0 ||
        !mutex_try_lock(&mcaches.lock))
        return false;
    for (unsigned k = 0; k < 8; k++) {
        struct mcache *c = mcaches.all[mcaches.next_drained++ % mcaches.n];
        if (c->attached || c->orphan ||
            atomic_load_explicit(&c->owner.pending, memory_order_relaxed) == NULL)
            continue;
        mcache_drain_pending(c);
        any = true;
    }
    mutex_unlock(&mcaches.lock);
    return any;
}

size_t mcaches_reclaim_idle(void) {
    mutex_lock(&mcaches.lock);
    if (mcaches.have_orphans)
        rebuild_orphans();
    size_t n = 0;
    for (struct mcache *c = mcaches.idle; c != NULL; c = c->next_idle) {
        if (atomic_load_explicit(&c->owner.pending, memory_order_relaxed) == NULL)
            continue;
        mcache_release(c);
        n++;
    }
    mutex_unlock(&mcaches.lock);
    return n;
}

/* Lost threads may have stopped amid the lists of spans that wait (mspan.c): begin anew. */
static void forget_pending(void) {
    mspan_forget_pending();
    for (uint32_t i = 0; i < mcaches.n; i++)
        atomic_store_explicit(&mcaches.all[i]->owner.pending, NULL, memory_order_relaxed);
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        atomic_store_explicit(&mheap_.central[spc].owner.pending, NULL, memory_order_relaxed);
}

void mcaches_after_fork(void) {
    mcaches.idle = NULL;
    uint32_t nidle = 0;
    for (uint32_t i = 0; i < mcaches.n; i++) {
        struct mcache *c = mcaches.all[i];
        if (c == mcache_self)
            continue;
        c->orphan = c->attached;
        mcaches.have_orphans |= c->attached;
        mcaches.nlost += c->attached;
        if (c->attached)
            mcache_forget_lists(c);
        c->attached = false;
        atomic_store_explicit(&c->tid, 0, memory_order_relaxed);
        c->next_idle = mcaches.idle;
        mcaches.idle = c;
        nidle++;
    }
    atomic_store_explicit(&mcaches.nidle, nidle, memory_order_relaxed);
    if (mcaches.have_orphans)
        forget_pending();
    if (mcache_self != &mcache0)
        atomic_store_explicit(&mcache_self->tid, (uint32_t)sys_call3(SYS_gettid, 0, 0, 0),
                              memory_order_relaxed);
}
