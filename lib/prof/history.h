/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The history: what each site held, and had allocated, at moments of the past, so that growth is
 * seen without taking snapshots.
 *
 * A moment is a tick.  The library's own thread makes one every `interval`, by walking the heap's
 * bitmaps as an image's writer does (history_turn.c); malloc and free know nothing of it.  A tick
 * is made only if something was allocated since the last one, so an idle process does nothing; and
 * the table is there only once the first tick is due, so a short one has none.
 *
 * The table is bounded both ways, to less than 1 MiB, of which a tick touches 12 KiB.
 *
 *   Ticks.  When all HISTORY_TICKS are in use, one is dropped: never the first nor the last, but of
 *   the others that one which leaves the smallest gap in proportion to its age.  So the gaps grow
 *   with the age, about 20 % of it: with interval=60s, of the last ten minutes each is there, of an
 *   hour ago about every tenth, and after a year the whole is still told by 64.
 *
 *   Sites.  HISTORY_SITES are followed: while there is room, all, and then those that hold most or
 *   have grown most.  Row 0 is all the rest, so that the rows of a tick add up to what was live.  A
 *   site that takes another's place begins with that tick, and what is known of the other is added
 *   to the rest.  What sites that are not followed hold is summed up for HISTORY_WINDOW of them at
 * a time, the next ones at each tick: so each comes to be looked at, in bounded memory.
 *
 * Figures are weighted at the recorder's rate.  Those of different rates cannot be compared: with
 * another rate, the history begins anew.  So it does in the child of a fork, whose heap goes its
 * own way from there.
 */
#ifndef GM_PROF_HISTORY_H
#define GM_PROF_HISTORY_H

#include <assert.h>

#include "sys/compiler.h"

#define HISTORY_SITES       512
#define HISTORY_TICKS       64
#define HISTORY_WINDOW      4096
#define HISTORY_HASH        2048                  /* a power of two, four times HISTORY_SITES */
#define HISTORY_INTERVAL_NS UINT64_C(60000000000) /* the default of interval= */

/* What a site, or all of them, held at a tick. */
struct history_point {
    double live_bytes;   /* estimates, as all figures of sites */
    double live_objects; /* the same */
    double alloc_bytes;  /* since the start */
};

struct history_tick {
    uint64_t when_ns; /* CLOCK_MONOTONIC, which no one sets back */
    double rss_bytes; /* resident; 0 = not known */
    struct history_point all;
    uint32_t number; /* from 1; grows */
};

struct history_site {
    uint32_t site;  /* row 0: 0 */
    uint32_t first; /* number of the first tick at which it has a point */
};

/* Begins with history_clear.  Written by the library's thread, the part above the line under the
 * lock of history_turn.c. */
struct history {
    uint32_t nticks;                          /* in use */
    uint32_t nrows;                           /* in use, row 0 included */
    uint32_t number;                          /* of the last tick, dropped ones included */
    uint64_t rate;                            /* bytes: of all its figures */
    struct history_tick ticks[HISTORY_TICKS]; /* from the oldest to the newest */
    struct history_site sites[1 + HISTORY_SITES];
    struct history_point points[HISTORY_TICKS][1 + HISTORY_SITES];
    /* ---- the tick that is being made */
    struct history_point sums[1 + HISTORY_SITES];
    uint16_t rows[HISTORY_HASH]; /* open addressing by site; 0 = empty */
    uint32_t window;             /* first site of candidates */
    uint32_t nsites;             /* sites that there are */
    struct history_point candidates[HISTORY_WINDOW];
    uint32_t last;                        /* site that was added to last */
    struct history_point *last_sum;       /* its row's; NULL = none yet */
    struct history_point *last_candidate; /* NULL: it is followed, or not in the window */
};

static_assert(sizeof(struct history) <= (size_t)1 << 20, "bounded memory");

/* history_clear forgets all ticks and sites; the figures to come are of that rate. */
void history_clear(struct history *h, uint64_t rate);

/* history_begin begins to sum a tick up, of sites 1 to nsites. */
void history_begin(struct history *h, uint32_t nsites);

/* history_add_live adds what lives of a site, history_add_alloc what it has allocated. */
void history_add_live(struct history *h, uint32_t site, double bytes, double objects);
void history_add_alloc(struct history *h, uint32_t site, double bytes);

/* history_commit makes the tick of what was added.  Its number grows, its time does not fall. */
void history_commit(struct history *h, uint64_t when_ns, double rss_bytes);

/* history_has tells whether a row has a point at the ith tick. */
bool history_has(const struct history *h, uint32_t row, uint32_t i);

/* history_consistent recounts everything; for tests. */
bool history_consistent(const struct history *h);

/* ---- the process's own: history_turn.c ---------------------------------------------------- */

/* history_configure sets the time between two ticks, 0 = no history; called once, before there is a
 * thread that takes turns. */
void history_configure(uint64_t interval_ns);

/* history_turn does what is due, at most some milliseconds of it; called by the library's own
 * thread whenever it is awake, with CLOCK_MONOTONIC.  rss returns the resident bytes, 0 = not
 * known. Returns the time until it wants its next turn; UINT64_MAX: it does not want to be woken.
 */
uint64_t history_turn(uint64_t now_ns, uint64_t (*rss)(void));

/* history_lock returns the table and keeps it from changing until history_unlock; NULL: it has not
 * begun, and is not locked. */
const struct history *history_lock(void);
void history_unlock(void);

/* history_fork_child begins anew; see prof_fork_child. */
void history_fork_child(void);

/* Counted since the start, for the image. */
struct history_counts {
    uint64_t ticks;
    uint64_t turns;     /* turns that worked on them */
    uint64_t worked_ns; /* processor time that these took */
};
struct history_counts history_counts(void);

#endif
