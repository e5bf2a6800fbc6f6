/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Watches, as the library's own thread sets them up and takes them away.
 *
 * The bound on what they cost is kept by counting: writes seen and watches made in the last second,
 * and the writes that the watches there are may yet see, are never more than WATCH_RATE together
 * when a watch is made.  So they are not in any second, whatever the program does.
 *
 * A watch that is silent stays.  Only if another is asked for, and there is no room in the process,
 * the thread or the bound, the one that was not used for longest goes: soon if it has never been of
 * use, late if objects are out whose end it may yet prove.
 *
 * At the start it looks for requests after 20 ms, then after twice as long each time, up to a
 * second: else nothing would be proved of a program that is over by then.  Later it looks whenever
 * the thread is awake.
 */
#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "prof/watch_event.h"
#include "prof/watch_table.h"
#include "sys/maps.h"
#include "sys/mem.h"
#include "sys/rawcall.h"

#define SECOND_NS    UINT64_C(1000000000)
#define TURN_NS      (SECOND_NS / 50) /* between two turns while watches are asked for */
#define TABLE_BYTES  4096
#define MAX_GEN      ((UINT32_C(1) << 26) - 1) /* a ticket has room for that */
#define NSTACKS      16
#define LOOK_UP_REST 50

/* A thread's own stack, as far as it has been looked up. */
struct own_stack {
    uint32_t life; /* 0: none */
    uint64_t lo;
    uint64_t hi;
};

/* Of the library's own thread.  A forked child's knows of nothing here but the generation. */
static struct {
    struct watch_table *table;   /* that the rest is about */
    uint64_t begun_ns;           /* CLOCK_MONOTONIC: of the first turn, 0: none yet */
    uint64_t busy_until;         /* CLOCK_MONOTONIC: watches have been asked for lately */
    uint64_t events[WATCH_RATE]; /* when the last hits and new watches were; a ring */
    uint32_t nevents;            /* ever */
    struct own_stack stacks[NSTACKS];
    uint32_t next_stack;
    uint32_t next_watch;
    uint64_t look_up_ns; /* CLOCK_MONOTONIC: not before */
    struct maps_reader maps;
} turn;

static uint32_t last_gen; /* kept in a forked child */

/* ---- the bound ---------------------------------------------------------------------------- */

static void note_event(uint64_t now_ns) {
    turn.events[turn.nevents++ % WATCH_RATE] = now_ns;
}

static uint32_t events_in_last_second(uint64_t now_ns) {
    uint32_t n = turn.nevents < WATCH_RATE ? turn.nevents : WATCH_RATE, recent = 0;
    for (uint32_t i = 0; i < n; i++)
        recent += now_ns - turn.events[i] <= SECOND_NS;
    return recent;
}

/* count_hits counts what a watch has seen since the last time. */
static void count_hits(struct watch *w, uint64_t now_ns) {
    for (uint32_t hits = watch_event_hits(w->ring); w->seen < hits; w->seen++) {
        watch_count(WATCH_COUNT_HITS);
        note_event(now_ns);
    }
}

/* may_see returns how many hits may yet come. */
static uint32_t may_see(const struct watch *w) {
    return w->ring != NULL && w->seen < WATCH_HITS ? WATCH_HITS - w->seen : 0;
}

static bool bound_allows(const struct watch_table *t, uint64_t now_ns) {
    uint32_t n = events_in_last_second(now_ns) + 1 + WATCH_HITS;
    for (uint32_t i = 0; i < WATCHES; i++)
        n += may_see(&t->watches[i]);
    return n <= WATCH_RATE;
}

/* ---- taking away -------------------------------------------------------------------------- */

static bool is_read(const struct watch *w) {
    return atomic_load_explicit(&w->readers, memory_order_seq_cst) != 0;
}

/* unmap makes a watch that tells its readers not to look there free, if none does. */
static void unmap(struct watch *w, uint64_t now_ns) {
    if (is_read(w))
        return;
    count_hits(w, now_ns);
    watch_event_close(w->ring);
    w->ring = NULL;
}

static void close_watch(struct watch *w, uint64_t now_ns) {
    atomic_store_explicit(&w->gen, 0, memory_order_seq_cst);
    unmap(w, now_ns);
}

static bool is_gone(const struct watch *w) {
    long pid = sys_call3(SYS_getpid, 0, 0, 0);
    return sys_call3(SYS_tgkill, pid, atomic_load_explicit(&w->tid, memory_order_relaxed), 0) != 0;
}

static void close_ended(struct watch_table *t, uint64_t now_ns) {
    for (uint32_t i = 0; i < WATCHES; i++) {
        struct watch *w = &t->watches[i];
        if (w->ring == NULL)
            continue;
        count_hits(w, now_ns);
        if (w->seen >= WATCH_HITS) {
            atomic_store_explicit(&w->spent, 1, memory_order_seq_cst);
            unmap(w, now_ns);
        } else if (atomic_load_explicit(&w->gen, memory_order_relaxed) == 0 || is_gone(w)) {
            close_watch(w, now_ns);
        }
    }
}

/* What a watch is kept for, at least: that has never been of use; that has; that objects wait for.
 */
#define KEEP_UNUSED_NS (SECOND_NS / 10)
#define KEEP_NS        SECOND_NS
#define KEEP_NOTED_NS  (10 * SECOND_NS)

static bool may_go(const struct watch *w, uint64_t now_ns) {
    uint32_t noted = atomic_load_explicit(&w->nnoted, memory_order_relaxed);
    bool out = noted != atomic_load_explicit(&w->nasked, memory_order_relaxed);
    return now_ns - w->armed_ns >= (out ? KEEP_NOTED_NS : noted != 0 ? KEEP_NS : KEEP_UNUSED_NS);
}

/* make_way takes the watch away that was not used for longest, of one thread or (life 0) of all.
 * False: none may go. */
static bool make_way(struct watch_table *t, uint32_t life, uint64_t now_ns) {
    struct watch *victim = NULL;
    uint32_t tick = atomic_load_explicit(&t->tick, memory_order_relaxed), most = 0;
    for (uint32_t i = 0; i < WATCHES; i++) {
        struct watch *w = &t->watches[i];
        if (w->ring == NULL || !may_go(w, now_ns) ||
            (life != 0 && atomic_load_explicit(&w->life, memory_order_relaxed) != life))
            continue;
        uint32_t unused = tick - atomic_load_explicit(&w->used_tick, memory_order_relaxed) + 1;
        if (unused > most) {
            most = unused;
            victim = w;
        }
    }
    if (victim == NULL)
        return false;
    close_watch(victim, now_ns);
    return victim->ring == NULL;
}

/* ---- setting up --------------------------------------------------------------------------- */

/* look_up_stack finds the part of the thread's own stack that the slot is on.  libc puts a thread's
 * variables, to which its thread pointer leads, on top of its stack; the first thread's stack has a
 * name.  (After a fork by another thread the first one has neither, and is not watched.) */
static bool look_up_stack(const struct watch_request *q, struct own_stack *ret) {
    struct maps_line l;
    uint64_t slot = q->slot, tp = q->tp;
    if (!maps_find(&turn.maps, slot, &l))
        return false;
    *ret = (struct own_stack){q->life, l.start, l.end};
    if (q->tid == (uint32_t)sys_call3(SYS_getpid, 0, 0, 0))
        return maps_path_is(&l, "[stack]");
    ret->hi = tp;
    return slot < tp && tp < l.end;
}

static bool is_on_known_stack(const struct watch_request *q) {
    for (uint32_t i = 0; i < NSTACKS; i++)
        if (turn.stacks[i].life == q->life &&
            q->slot - turn.stacks[i].lo < turn.stacks[i].hi - turn.stacks[i].lo)
            return true;
    return false;
}

static uint64_t clock_ns(void) {
    struct timespec t = {0, 0};
    sys_call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* is_on_own_stack looks it up if need be, and then not again for fifty times as long as it took:
 * programs have up to 65530 mappings. */
static bool is_on_own_stack(const struct watch_request *q, uint64_t now_ns) {
    struct own_stack s;
    if (is_on_known_stack(q))
        return true;
    uint64_t start_ns = clock_ns();
    bool own = look_up_stack(q, &s);
    turn.look_up_ns = now_ns + LOOK_UP_REST * (clock_ns() - start_ns);
    if (own)
        turn.stacks[turn.next_stack++ % NSTACKS] = s;
    return own;
}

/* take_free returns a free watch, by turns, so that spent ones tell of it for long; NULL: none. */
static struct watch *take_free(struct watch_table *t) {
    for (uint32_t i = 0; i < WATCHES; i++) {
        struct watch *w = &t->watches[turn.next_watch++ % WATCHES];
        if (w->ring != NULL)
            continue;
        atomic_store_explicit(&w->gen, 0, memory_order_seq_cst);
        if (!is_read(w))
            return w;
    }
    return NULL;
}

static uint32_t count_watches(const struct watch_table *t, uint32_t life) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < WATCHES; i++)
        n += t->watches[i].ring != NULL &&
             atomic_load_explicit(&t->watches[i].life, memory_order_relaxed) == life;
    return n;
}

/* find_room returns a free watch if the thread and the process may have one more, taking one away
 * if need be and possible. */
static struct watch *find_room(struct watch_table *t, uint32_t life, uint64_t now_ns) {
    if (count_watches(t, life) >= WATCHES_A_THREAD && !make_way(t, life, now_ns))
        return NULL;
    if (!bound_allows(t, now_ns) && !(make_way(t, 0, now_ns) && bound_allows(t, now_ns)))
        return NULL;
    struct watch *w = take_free(t);
    return w != NULL || !make_way(t, 0, now_ns) ? w : take_free(t);
}

static void publish(struct watch *w, const struct watch_request *q, uint32_t tick,
                    uint64_t now_ns) {
    atomic_store_explicit(&w->slot, q->slot, memory_order_relaxed);
    atomic_store_explicit(&w->life, q->life, memory_order_relaxed);
    atomic_store_explicit(&w->tid, q->tid, memory_order_relaxed);
    atomic_store_explicit(&w->used_tick, tick, memory_order_relaxed);
    atomic_store_explicit(&w->nnoted, 0, memory_order_relaxed);
    atomic_store_explicit(&w->nasked, 0, memory_order_relaxed);
    atomic_store_explicit(&w->spent, 0, memory_order_relaxed);
    w->seen = 0;
    w->armed_ns = now_ns;
    atomic_store_explicit(&w->gen, ++last_gen, memory_order_seq_cst);
}

static void give_up(struct watch_table *t) {
    watch_count(WATCH_COUNT_REFUSED);
    atomic_store_explicit(&t->open, 0, memory_order_release);
}

/* arm looks after one request; returns whether there is a watch now. */
static bool arm(struct watch_table *t, const struct watch_request *q, uint64_t now_ns) {
    if (last_gen == MAX_GEN || !watch_event_tested()) {
        give_up(t);
        return false;
    }
    if (!is_on_own_stack(q, now_ns)) {
        watch_count(WATCH_COUNT_FOREIGN);
        return false;
    }
    struct watch *w = find_room(t, q->life, now_ns);
    if (w == NULL) {
        watch_count(WATCH_COUNT_CROWDED);
        return false;
    }
    note_event(now_ns);
    int error = watch_event_arm(q->tid, q->slot, WATCH_HITS, &w->ring);
    if (error != 0) {
        w->ring = NULL;
        watch_count(WATCH_COUNT_FAILED);
        if (error == -EPERM || error == -EACCES)
            give_up(t);
        return false;
    }
    watch_count(WATCH_COUNT_ARMED);
    publish(w, q, atomic_load_explicit(&t->tick, memory_order_relaxed), now_ns);
    return true;
}

/* serve looks after all requests; returns whether one was met. */
static bool serve(struct watch_table *t, uint64_t now_ns) {
    bool met = false;
    for (uint32_t i = 0; i < WATCH_REQUESTS; i++) {
        struct watch_request *q = &t->requests[i];
        uint32_t ready = WATCH_READY;
        if (!atomic_compare_exchange_strong_explicit(&q->state, &ready, WATCH_TAKEN,
                                                     memory_order_acquire, memory_order_relaxed))
            continue;
        uint32_t state = WATCH_FREE;
        if (now_ns < turn.look_up_ns && !is_on_known_stack(q))
            state = WATCH_READY; /* at a later turn */
        else if (atomic_load_explicit(&t->open, memory_order_relaxed) != 0)
            met |= arm(t, q, now_ns);
        atomic_store_explicit(&q->state, state, memory_order_release);
    }
    return met;
}

/* ---- the thread --------------------------------------------------------------------------- */

void watch_start(void) {
    struct watch_table *t = atomic_load_explicit(&watch_table, memory_order_relaxed);
    if (t == NULL) {
        t = mem_alloc(TABLE_BYTES, MEM_RECORDER);
        if (t == NULL || sys_call3(SYS_madvise, (long)t, TABLE_BYTES, MADV_WIPEONFORK) != 0) {
            watch_count(WATCH_COUNT_REFUSED);
            return;
        }
        atomic_store_explicit(&watch_table, t, memory_order_release);
    }
    for (uint32_t i = 0; i < NSTACKS; i++)
        turn.stacks[i].life = 0;
    turn.nevents = 0;
    turn.begun_ns = 0;
    turn.busy_until = 0;
    turn.look_up_ns = 0;
    turn.table = t;
    watch_event_start();
    atomic_store_explicit(&t->open, 1, memory_order_release);
}

uint64_t watch_turn(uint64_t now_ns) {
    struct watch_table *t = turn.table;
    if (t == NULL)
        return UINT64_MAX;
    atomic_fetch_add_explicit(&t->tick, 1, memory_order_relaxed);
    close_ended(t, now_ns);
    if (serve(t, now_ns))
        turn.busy_until = now_ns + SECOND_NS;
    if (turn.begun_ns == 0)
        turn.begun_ns = now_ns;
    uint64_t past_ns = now_ns - turn.begun_ns;
    if (now_ns < turn.busy_until || past_ns < TURN_NS)
        return now_ns + TURN_NS;
    return past_ns < SECOND_NS ? now_ns + past_ns : UINT64_MAX;
}
