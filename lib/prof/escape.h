/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Judged objects: what the recorder follows from their allocation to their free, to tell whether
 * they escaped the call that made them.
 *
 * A judged object has a record (escape_pool.h), whose number stands in its slot's tag in place of
 * the site, with the bit that makes free ask first (MSLOTS_ASK).  At its free the verdict is found
 * (verdict.h) and counted by site (escape_site.h), and by threads (handover.h) if it was freed by
 * another than allocated it.  realloc hands a record on: the chain is one object, of the site where
 * it began.
 *
 * Who is judged.  A verdict costs two looks at the clock and a walk of the stack at free, so in
 * exact mode not every object is: of a site the first 64 are looked at, then one in 2, 4, 8 at
 * random, one in 16 when 512 have been, and one in 64 when 8192 have been, which is after 130,000
 * objects; and of these none is taken while 16 of the site, and half of those that have been freed,
 * live.  Whether an object is taken is decided at its allocation, by a random number and by the
 * fate of others: never by its own.  So of each moment's
 * objects those judged are a fair draw.  What is not fair is time: the first objects of a site
 * weigh up to 64 times as much as later ones, which matters less and less as these become many; and
 * while long-lived ones take all the room nothing new is seen.  That room grows with what has been
 * freed, so a site whose objects come and go is not shut out.  What was passed over is counted.  In
 * programs with more than ESCAPE_EARLY sites later sites are judged from their second object on:
 * most have no more than one, and cost a byte.
 *
 * And there is a bound on time: a thread begins with leave for 1024 objects, and gets 5 more in
 * each millisecond that it works, 256 at most.  An object costs two to five microseconds, with what
 * the look at its free does to the next capture, so that is 1 to 2 %.  The last ESCAPE_RESERVE of
 * its leave a thread keeps for the first ESCAPE_NEW objects of a site: else nothing would be known
 * of what a program does after it has been busy.
 *
 * When a watch has been set up, for whichever thread, each thread looks at its next ESCAPE_CREDIT
 * objects: a watch is mostly spent within microseconds, and one in 16 would come too late for it.
 *
 * With a rate above 1 all sampled objects are looked at; with escape=all every recorded one is
 * judged.
 *
 * Time in bytes: what the process has allocated.  Each thread counts what it asks for at its
 * samples, and adds it to the process's clock when it is 64 KiB or more.  So a lifetime is exact in
 * a program of one thread, and otherwise wrong by what the other threads have not yet added: less
 * than 64 KiB and the distance between two samples each.  Requests that were passed between the
 * rate's last change and the next sample of the thread are not counted.
 */
#ifndef GM_PROF_ESCAPE_H
#define GM_PROF_ESCAPE_H

#include "heap/mslots.h"
#include "prof/escape_pool.h"
#include "prof/escape_site.h"
#include "prof/handover.h"
#include "unwind/moment.h"
#include "prof/watch_table.h"

enum escape_mode { ESCAPE_OFF, ESCAPE_ON, ESCAPE_ALL };

/* A thread's.  All zero to begin with. */
struct escape_self {
    struct escape_cache records;
    uint64_t rng;
    uint64_t bytes;     /* allocated and not yet added to the process's clock */
    int64_t armed;      /* mcache.next_sample as it was set last */
    uint32_t credit;    /* objects to be looked at, whatever the draw */
    int32_t leave;      /* objects that it may have judged in the time that has passed */
    uint32_t nrefused;  /* for want of that */
    uint64_t leave_ns;  /* CLOCK_THREAD_CPUTIME_ID when that was reckoned, 0: never */
    uint64_t narmed;    /* watches set up when the last credit was used up */
    uint32_t nbegun;    /* objects judged, since the thread's name was noted last */
    uint32_t next_note; /* after so many it is noted again */
};

/* What every recorded allocation looks at stands first, and not beside what others write at their
 * judged objects. */
struct escape {
    _Atomic uint32_t mode; /* enum escape_mode */
    struct escape_sites sites;
    struct mutex lock __attribute__((aligned(128))); /* LOCK_RANK_ESCAPE */
    struct escape_pool pool;
    struct handover_table handovers;
    _Atomic uint64_t bytes;   /* the process's clock */
    _Atomic uint32_t threads; /* numbers given to threads */
    _Atomic uint64_t njudged;
    _Atomic uint64_t nbound; /* objects passed over: too many live of the site, or no leave */
    _Atomic uint64_t nfull;  /* no record to be had */
    _Atomic uint64_t nlost;  /* judged ones that could not be followed: no memory */
};
extern struct escape escape;

#define ESCAPE_EARLY   8192u /* sites */
#define ESCAPE_CREDIT  32u   /* objects; times WATCH_RATE a second at most */
#define ESCAPE_RESERVE 128   /* objects */
#define ESCAPE_NEW     8u    /* objects of a site */

/* What is noted of the stack at an allocation, by verdict.h. */
struct escape_birth {
    struct replay_moment at;
    uint32_t look;    /* of f0's return slot: a hash, 0 = unknown */
    uint32_t ticket;  /* watch.h */
    uint32_t watched; /* of which frame's return slot */
};
#define ESCAPE_WATCHED_MAX 255u

/* escape_init makes ready for a mode; before that nothing is judged. */
void escape_init(enum escape_mode mode);

/* escape_thread returns the calling thread's number, from 1, which no other thread of this process
 * or of its forked children's other threads has or will have; 0: they have run out. */
uint32_t escape_thread(void);

/* escape_examine and escape_use_credit are the rest of escape_looks. */
bool escape_examine(struct escape_self *e, uint32_t site, bool thin);
bool escape_use_credit(struct escape_self *e, uint32_t site, uint64_t narmed);

/* escape_looks decides whether the thread's next object at the site is to be judged. */
gm_inline bool escape_looks(struct escape_self *e, uint32_t site, uint64_t rate) {
    uint32_t mode = atomic_load_explicit(&escape.mode, memory_order_acquire);
    if (mode != ESCAPE_ON)
        return mode == ESCAPE_ALL && escape_examine(e, site, false);
    if (rate > 1 ||
        gm_unlikely(site >= atomic_load_explicit(&escape.sites.reach, memory_order_acquire)))
        return escape_examine(e, site, rate <= 1);
    uint64_t narmed =
        atomic_load_explicit(&watch_counters[WATCH_COUNT_ARMED], memory_order_relaxed);
    if (gm_unlikely(narmed != e->narmed))
        return escape_use_credit(e, site, narmed);
    uint8_t thin = __atomic_load_n(&escape.sites.thin[site], __ATOMIC_RELAXED);
    e->rng = e->rng * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (e->rng >> 57 & thin) == 0 && escape_examine(e, site, true);
}

/* escape_allocated counts bytes asked for. */
gm_inline void escape_allocated(struct escape_self *e, uint64_t bytes) {
    const uint64_t much = 64 << 10;
    e->bytes += bytes;
    if (gm_unlikely(e->bytes >= much)) {
        atomic_fetch_add_explicit(&escape.bytes, e->bytes, memory_order_relaxed);
        e->bytes = 0;
    }
}

/* In what follows: the calling thread's recorder must be guarded against itself (in_recorder);
 * `now_bytes` is the process's clock with what this thread has not added. */

/* escape_begin returns the record of an object of the site that is to be judged, 0: none to be had.
 */
uint32_t escape_begin(struct escape_self *e, uint32_t site, const struct escape_birth *b,
                      uint64_t now_bytes);

/* escape_begun: the record's number is stored.  escape_cancel: it could not be.  e may be NULL from
 * here on. */
void escape_begun(uint32_t record);
void escape_cancel(struct escape_self *e, uint32_t record);

/* escape_lose: a judged object is not followed any further, and was none. */
void escape_lose(struct escape_self *e, uint32_t record);

/* escape_end counts the object's end and gives its record back.  end: verdict, frames, proved and
 * size are set. */
void escape_end(struct escape_self *e, uint32_t record, struct escape_end *end, uint64_t now_bytes);

/* escape_end_inside does so within the recorder: the verdict is ESCAPE_STOPPED. */
void escape_end_inside(uint32_t record);

gm_inline struct escape_record *escape_record_at(uint32_t record) {
    return escape_pool_at(&escape.pool, record);
}

/* escape_present returns the site of a tag of a judged object. */
gm_inline uint32_t escape_present(uint32_t tag) {
    uint32_t i = tag & ~MSLOTS_ASK;
    return i < ESCAPE_RECORDS_MAX && i < __atomic_load_n(&escape.pool.made, __ATOMIC_ACQUIRE)
               ? atomic_load_explicit(&escape_record_at(i)->present, memory_order_relaxed)
               : 0;
}

void escape_fork_child(void);

#endif
