/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Watches, as the threads of the program use them.
 *
 * Whose a watch is: numbers of threads are given again, and a thread that has ended leaves its
 * memory to the next one, with the same stack at the same address.  But a new thread's thread-local
 * variables are new.  So a thread that first asks for a watch gives itself a number in one of them
 * (its "life"), and that is in the watch.  A child of vfork shares even those, but has another
 * number in the kernel, and the watch does not see it: so the kernel is asked, where there is a
 * watch.
 */
#include "prof/watch.h"

#include "prof/prof.h"
#include "prof/watch_event.h"
#include "prof/watch_table.h"
#include "sys/rawcall.h"

/* A ticket: generation, hits at the note, number of the watch.  No generation is 0. */
#define INDEX_BITS 4
#define HITS_BITS  2

static_assert(WATCHES <= 1 << INDEX_BITS, "a ticket names the watch");
static_assert(WATCH_HITS <= 1 << HITS_BITS, "and how often it had been hit");

_Atomic(struct watch_table *) watch_table;
_Atomic uint64_t watch_counters[WATCH_NCOUNTERS];

static gm_tls uint32_t watch_life; /* 0: none yet */
static _Atomic uint32_t nlives;

static struct watch_table *open_table(void) {
    struct watch_table *t = atomic_load_explicit(&watch_table, memory_order_acquire);
    if (t == NULL || atomic_load_explicit(&t->open, memory_order_acquire) == 0)
        return NULL;
    return t;
}

static uint32_t own_tid(void) {
    return (uint32_t)sys_call3(SYS_gettid, 0, 0, 0);
}

/* read_ring returns how often the watch has been hit, and in *ret_gen its generation; false: it is
 * not armed, or not this thread's, or its slot is another (slot 0: any). */
static bool read_ring(struct watch *w, uint64_t slot, uint32_t *ret_gen, uint32_t *ret_hits) {
    atomic_fetch_add_explicit(&w->readers, 1, memory_order_seq_cst);
    *ret_gen = atomic_load_explicit(&w->gen, memory_order_seq_cst);
    bool ours = *ret_gen != 0 &&
                atomic_load_explicit(&w->life, memory_order_relaxed) == watch_life &&
                (slot == 0 || atomic_load_explicit(&w->slot, memory_order_relaxed) == slot) &&
                atomic_load_explicit(&w->tid, memory_order_relaxed) == own_tid();
    if (ours)
        *ret_hits = atomic_load_explicit(&w->spent, memory_order_seq_cst) != 0
                        ? WATCH_HITS
                        : watch_event_hits(w->ring);
    atomic_fetch_sub_explicit(&w->readers, 1, memory_order_release);
    return ours;
}

static void note_use(const struct watch_table *t, struct watch *w, _Atomic uint32_t *n) {
    atomic_store_explicit(&w->used_tick, atomic_load_explicit(&t->tick, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* is_asked tells whether a request for this thread's slot waits already. */
static bool is_asked(const struct watch_table *t, uint64_t slot) {
    for (unsigned i = 0; i < WATCH_REQUESTS; i++) {
        const struct watch_request *q = &t->requests[i];
        if (atomic_load_explicit(&q->slot, memory_order_relaxed) == slot &&
            atomic_load_explicit(&q->state, memory_order_relaxed) != WATCH_FREE &&
            atomic_load_explicit(&q->life, memory_order_relaxed) == watch_life)
            return true;
    }
    return false;
}

static uint64_t thread_pointer(void) {
    uint64_t tp;
    __asm__("movq %%fs:0, %0" : "=r"(tp));
    return tp;
}

/* begin_life gives this thread its number; false: they have run out. */
static bool begin_life(void) {
    if (gm_unlikely(watch_life == 0) &&
        atomic_load_explicit(&nlives, memory_order_relaxed) < UINT32_MAX / 2)
        watch_life = atomic_fetch_add_explicit(&nlives, 1, memory_order_relaxed) + 1;
    return watch_life != 0;
}

/* claim makes a request the caller's to write: a free one, else one that waits, by turns.  What was
 * asked for last is most likely to be of use when it is there.  NULL: others are writing. */
static struct watch_request *claim(struct watch_table *t) {
    uint32_t first = atomic_fetch_add_explicit(&t->next_request, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < 2 * WATCH_REQUESTS; i++) {
        struct watch_request *q = &t->requests[(first + i) % WATCH_REQUESTS];
        uint32_t state = i < WATCH_REQUESTS ? WATCH_FREE : WATCH_READY;
        if (atomic_compare_exchange_strong_explicit(&q->state, &state, WATCH_TAKEN,
                                                    memory_order_acquire, memory_order_relaxed))
            return q;
    }
    return NULL;
}

static gm_cold void request(struct watch_table *t, uint64_t slot) {
    if (!begin_life() || is_asked(t, slot))
        return;
    struct watch_request *q = claim(t);
    if (q == NULL)
        return;
    atomic_store_explicit(&q->slot, slot, memory_order_relaxed);
    atomic_store_explicit(&q->life, watch_life, memory_order_relaxed);
    atomic_store_explicit(&q->tid, own_tid(), memory_order_relaxed);
    atomic_store_explicit(&q->tp, thread_pointer(), memory_order_relaxed);
    atomic_store_explicit(&q->state, WATCH_READY, memory_order_release);
}

uint32_t watch_note(uint64_t slot) {
    struct watch_table *t = open_table();
    if (t == NULL || slot == 0 || (slot & 7) != 0)
        return 0;
    for (uint32_t i = 0; i < WATCHES && watch_life != 0; i++) {
        struct watch *w = &t->watches[i];
        uint32_t gen, hits;
        if (atomic_load_explicit(&w->slot, memory_order_relaxed) != slot ||
            atomic_load_explicit(&w->life, memory_order_relaxed) != watch_life ||
            !read_ring(w, slot, &gen, &hits) || hits >= WATCH_HITS)
            continue;
        note_use(t, w, &w->nnoted);
        return (gen << HITS_BITS | hits) << INDEX_BITS | i;
    }
    request(t, slot);
    return 0;
}

/* A watch that is spent by now was not when it was noted: its count is another one, and it does not
 * pass for silent. */
enum watch_answer watch_ask(uint32_t ticket) {
    struct watch_table *t = open_table();
    if (ticket == 0 || t == NULL)
        return WATCH_NONE;
    struct watch *w = &t->watches[ticket & ((1u << INDEX_BITS) - 1)];
    uint32_t gen, hits;
    if (!read_ring(w, 0, &gen, &hits) || gen != ticket >> (INDEX_BITS + HITS_BITS)) {
        watch_count(WATCH_COUNT_LOST);
        return WATCH_NONE;
    }
    note_use(t, w, &w->nasked);
    bool silent = hits == (ticket >> INDEX_BITS & ((1u << HITS_BITS) - 1));
    watch_count(silent ? WATCH_COUNT_SILENT : WATCH_COUNT_FIRED);
    return silent ? WATCH_SILENT : WATCH_FIRED;
}

bool watch_counter(unsigned i, struct prof_counter *ret) {
    static const struct prof_counter names[WATCH_NCOUNTERS] = {
#define WATCH_COUNTER_NAME(id, name, unit) {"recorder.watch." name, unit, 0},
        WATCH_COUNTERS(WATCH_COUNTER_NAME)
#undef WATCH_COUNTER_NAME
    };
    if (i >= WATCH_NCOUNTERS)
        return false;
    *ret = names[i];
    ret->value = atomic_load_explicit(&watch_counters[i], memory_order_relaxed);
    return true;
}
