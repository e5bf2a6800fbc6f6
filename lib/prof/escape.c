/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Judged objects.
 */
#include "prof/escape.h"

#include <time.h>

#include "prof/prof.h"
#include "sys/rawcall.h"

/* escape_sites.thin of a site: what must be zero in seven random bits, and SEEN. */
#define SEEN 0x80u

struct escape escape = {.lock = MUTEX_INIT(LOCK_RANK_ESCAPE)};

static gm_tls uint32_t thread_number; /* 0: none yet */

void escape_init(enum escape_mode mode) {
    const uint32_t max = 8192 + ESCAPE_SITES_MAX / 8; /* records_bound(), at most */
    if (mode == ESCAPE_OFF ||
        !escape_pool_init(&escape.pool, mode == ESCAPE_ALL ? ESCAPE_RECORDS_MAX : max) ||
        !escape_sites_init(&escape.sites, &escape.lock))
        return;
    atomic_store_explicit(&escape.mode, mode, memory_order_release);
}

/* A signal handler may do the same within it. */
uint32_t escape_thread(void) {
    if (gm_likely(thread_number != 0))
        return thread_number;
    if (atomic_load_explicit(&escape.threads, memory_order_relaxed) >= UINT32_MAX / 2)
        return 0;
    uint32_t n = atomic_fetch_add_explicit(&escape.threads, 1, memory_order_relaxed) + 1, none = 0;
    __atomic_compare_exchange_n(&thread_number, &none, n, false, __ATOMIC_RELAXED,
                                __ATOMIC_RELAXED);
    return thread_number;
}

static bool is_all(void) {
    return atomic_load_explicit(&escape.mode, memory_order_relaxed) == ESCAPE_ALL;
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Records that may be made: 48 bytes each, beside what a stack costs anyway. */
static uint32_t records_bound(void) {
    return is_all() ? ESCAPE_RECORDS_MAX : 8192 + least(prof_nsites(), ESCAPE_SITES_MAX) / 8;
}

/* Sites that may have distributions: 376 bytes each. */
static uint32_t many_bound(void) {
    return is_all() ? ESCAPE_SITES_MAX : 2048 + prof_nsites() / 16;
}

static uint8_t mask_of(uint32_t seen) {
    unsigned log = seen < 64 ? 0 : 26 - (unsigned)__builtin_clz(seen);
    if (log >= 4) /* one in 16 from 512 on, one in 64 from 8192 on */
        log = seen < 8192 ? 4 : 6;
    return (uint8_t)(SEEN | ((1u << log) - 1));
}

/* note_seen makes the draw at the site finer. */
static void note_seen(struct escape_site *s, uint32_t site) {
    uint32_t seen = atomic_load_explicit(&s->seen, memory_order_relaxed) + 1;
    if (seen > UINT16_MAX)
        return;
    atomic_store_explicit(&s->seen, seen, memory_order_relaxed);
    /* Every thread reads the line of this one, which has 64 sites, at each allocation: it is not
     * written to no purpose. */
    uint8_t mask = mask_of(seen);
    if (mask != __atomic_load_n(&escape.sites.thin[site], __ATOMIC_RELAXED))
        __atomic_store_n(&escape.sites.thin[site], mask, __ATOMIC_RELAXED);
}

/* has_room tells whether one more of the site's may live: 16 and half of what has been freed, and
 * less than that the fewer records there are left. */
static bool has_room(const struct escape_site *s) {
    uint32_t used = escape_pool_used(&escape.pool), bound = records_bound();
    unsigned scarce = used < bound / 2 ? 0 : used < bound / 4 * 3 ? 2 : 4;
    uint32_t ended = atomic_load_explicit(&s->ended, memory_order_relaxed);
    uint32_t live = atomic_load_explicit(&s->judged, memory_order_relaxed) - ended;
    return live < (16u >> scarce) + (ended >> (1 + scarce)) && ended < UINT32_MAX / 2;
}

/* The clock without a system call, where there is one. */
static uint64_t now_ns(void) {
    struct timespec ts = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* What the thread has worked.  A forked child begins anew. */
static uint64_t worked_ns(void) {
    struct timespec ts = {0, 0};
    sys_call3(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (long)&ts, 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* reckon gives the thread leave for the time that it has worked since. */
static gm_noinline void reckon(struct escape_self *e) {
    const int32_t first = 1024, most = 256;
    const uint64_t each_ns = 1000000 / 5;
    uint64_t now = worked_ns(), n = (now - e->leave_ns) / each_ns;
    if (e->leave_ns == 0)
        e->leave = first;
    else if (n < (uint64_t)(most - e->leave))
        e->leave += (int32_t)n;
    else
        e->leave = most;
    e->leave_ns = e->leave_ns == 0 || e->leave == most ? now : e->leave_ns + n * each_ns;
}

/* has_leave tells whether the thread may judge one more now, at a site that is new or not.  The
 * clock is looked at once in so many refusals. */
static bool has_leave(struct escape_self *e, bool new) {
    const uint32_t often = 128;
    int32_t least = new ? 0 : ESCAPE_RESERVE;
    if (e->leave <= least && e->nrefused++ % often == 0)
        reckon(e);
    if (e->leave <= least)
        return false;
    e->leave--;
    return true;
}

bool escape_examine(struct escape_self *e, uint32_t site, bool thin) {
    if (site >= atomic_load_explicit(&escape.sites.reach, memory_order_acquire) &&
        !escape_sites_open(&escape.sites, site)) {
        atomic_fetch_add_explicit(&escape.nfull, 1, memory_order_relaxed);
        return false;
    }
    if (is_all())
        return true;
    uint8_t *mask = &escape.sites.thin[site];
    if (thin && site > ESCAPE_EARLY && __atomic_load_n(mask, __ATOMIC_RELAXED) == 0) {
        __atomic_store_n(mask, SEEN, __ATOMIC_RELAXED);
        return false;
    }
    struct escape_site *s = escape_site_at(&escape.sites, site);
    if (thin)
        note_seen(s, site);
    bool new = atomic_load_explicit(&s->seen, memory_order_relaxed) <= ESCAPE_NEW;
    if (has_room(s) && (!thin || has_leave(e, new)))
        return true;
    atomic_fetch_add_explicit(&escape.nbound, 1, memory_order_relaxed);
    return false;
}

bool escape_use_credit(struct escape_self *e, uint32_t site, uint64_t narmed) {
    if (e->credit == 0)
        e->credit = ESCAPE_CREDIT;
    if (--e->credit == 0)
        e->narmed = narmed;
    return escape_examine(e, site, false);
}

/* note_name enters the thread's name into the directory: at its first object, its second, fourth,
 * ... 1024th and then each 1024th, as threads are named at any time. */
static void note_name(struct escape_self *e, uint32_t thread) {
    if (e->nbegun++ < e->next_note)
        return;
    const uint32_t seldom = 1024;
    e->next_note = e->next_note < seldom / 2 ? 2 * e->next_note + 1 : seldom;
    e->nbegun = 0;
    mutex_lock(&escape.lock);
    handover_note_thread(&escape.handovers, thread);
    mutex_unlock(&escape.lock);
}

uint32_t escape_begin(struct escape_self *e, uint32_t site, const struct escape_birth *b,
                      uint64_t now_bytes) {
    uint32_t thread = escape_thread();
    if (e->rng == 0)
        e->rng = thread * UINT64_C(0x9e3779b97f4a7c15);
    uint32_t i = thread != 0
                     ? escape_pool_take(&escape.pool, &e->records, records_bound(), &escape.lock)
                     : 0;
    if (i == 0) {
        atomic_fetch_add_explicit(&escape.nfull, 1, memory_order_relaxed);
        return 0;
    }
    note_name(e, thread);
    struct escape_record *r = escape_record_at(i);
    /* Atomic: another thread may be looking whether this is the free batch that it was. */
    __atomic_store_n(&r->when, b->at.when, __ATOMIC_RELAXED);
    r->birth_ns = now_ns();
    r->birth_bytes = now_bytes;
    r->site = site;
    atomic_store_explicit(&r->present, site, memory_order_relaxed);
    r->thread = thread;
    r->ticket = b->ticket;
    r->look = b->look;
    r->depth = (uint16_t)(b->at.depth < UINT16_MAX ? b->at.depth : UINT16_MAX);
    r->growths = 0;
    r->watched = (uint8_t)b->watched;
    return i;
}

void escape_begun(uint32_t record) {
    struct escape_site *s = escape_site_at(&escape.sites, escape_record_at(record)->site);
    atomic_fetch_add_explicit(&s->judged, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&escape.njudged, 1, memory_order_relaxed);
}

void escape_cancel(struct escape_self *e, uint32_t record) {
    escape_pool_give(&escape.pool, e != NULL ? &e->records : NULL, record);
}

void escape_lose(struct escape_self *e, uint32_t record) {
    struct escape_site *s = escape_site_at(&escape.sites, escape_record_at(record)->site);
    atomic_fetch_sub_explicit(&s->judged, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&escape.nlost, 1, memory_order_relaxed);
    escape_cancel(e, record);
}

void escape_end(struct escape_self *e, uint32_t record, struct escape_end *end,
                uint64_t now_bytes) {
    const struct escape_record *r = escape_record_at(record);
    uint64_t ns = now_ns();
    end->life_ns = ns > r->birth_ns ? ns - r->birth_ns : 0;
    end->life_bytes = now_bytes > r->birth_bytes ? now_bytes - r->birth_bytes : 0;
    end->growths = r->growths;
    uint32_t bound = many_bound();
    mutex_lock(&escape.lock);
    if (escape_site_end(&escape.sites, r->site, end, bound) && end->verdict == ESCAPE_OTHER_THREAD)
        handover_add(&escape.handovers, r->site, r->thread, escape_thread());
    mutex_unlock(&escape.lock);
    escape_pool_give(&escape.pool, e != NULL ? &e->records : NULL, record);
}

void escape_end_inside(uint32_t record) {
    escape_site_stopped(&escape.sites, escape_record_at(record)->site);
    escape_pool_give(&escape.pool, NULL, record);
}

/* The counts of objects are the parent's to begin with; so are the objects. */
void escape_fork_child(void) {
    mutex_reset(&escape.lock);
}
