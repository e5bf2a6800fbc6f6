/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The history's ticks: when one is due, and the walk over the heap that makes it.
 *
 * The walk takes no lock and stops nobody.  It goes over the spans that have slot tables; of each,
 * a word of the bitmap at a time is read, with what is recorded of its slots, and counted only if
 * the span's generation says that all of it was of one life of the span.  So a figure may be some
 * milliseconds older than another, as in an image of running threads, and nothing is counted that
 * never was.
 *
 * It is done in pieces of a few milliseconds, so that somebody who asks the same thread for an
 * image need not wait, however large the heap is: 10^7 recorded objects take 25 to 50 of them.  The
 * table changes only at the end, at once, under a lock that is taken there and by who writes an
 * image.
 *
 * A tick costs what the walk costs, about 10 ms for 10^6 recorded objects.  At the default interval
 * of a minute that is one part in six thousand, and 64 ticks are an hour before any is dropped;
 * programs that end sooner are told of by the image at their end.
 */
#include <stdatomic.h>
#include <time.h>

#include "heap/mheap.h"
#include "heap/mslots.h"
#include "prof/history.h"
#include "prof/prof.h"
#include "prof/sampling.h"
#include "prof/thread.h"
#include "sys/lock.h"
#include "sys/mem.h"

#define BUDGET_NS   UINT64_C(4000000) /* of a turn */
#define CLOCK_EVERY 4096              /* slots, or sites, between two looks at the clock */
#define SPAN_COST   16                /* a span without sites costs as much as so many slots */

static struct {
    struct mutex lock; /* LOCK_RANK_PROF: the table as others see it */
    uint64_t interval_ns;
    _Atomic(struct history *) table; /* NULL: not begun */

    /* The rest is the thread's that takes turns. */
    uint64_t due_ns;   /* CLOCK_MONOTONIC; 0 = not known yet */
    uint64_t activity; /* when the last tick was begun */
    bool walking;
    uint32_t span; /* of the heap's, to look at next */
    uint32_t site; /* whose allocations to look at next; spans come first */
    uint64_t size; /* for which, and for which time, the weight is known */
    uint16_t epoch;
    double weight;
    _Atomic uint64_t ticks;
    _Atomic uint64_t turns;
    _Atomic uint64_t worked_ns;
} history = {.lock = MUTEX_INIT(LOCK_RANK_PROF)};

static uint64_t clock_ns(clockid_t clock) {
    struct timespec t = {0, 0};
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void history_configure(uint64_t interval_ns) {
    history.interval_ns = interval_ns;
}

/* activity_now returns a number that changes when something is recorded, or spans come and go. */
static uint64_t activity_now(void) {
    uint64_t sum = atomic_load_explicit(&mheap_.nspan_alloc, memory_order_relaxed) +
                   atomic_load_explicit(&mheap_.nspan_free, memory_order_relaxed);
    uint32_t n = atomic_load_explicit(&mcaches.n, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++) {
        struct mcache *c = __atomic_load_n(&mcaches.all[i], __ATOMIC_ACQUIRE);
        const struct prof_thread *t = c != NULL ? prof_thread_peek(c) : NULL;
        if (t != NULL)
            sum +=
                atomic_load_explicit(&t->counters[THREAD_COUNTER_CAPTURES], memory_order_relaxed) +
                atomic_load_explicit(&t->counters[THREAD_COUNTER_NO_STACK], memory_order_relaxed);
    }
    return sum;
}

/* ---- the walk ----------------------------------------------------------------------------- */

/* What is recorded of the slots of one word of a bitmap. */
struct word_slots {
    unsigned n;
    uint32_t site[64];
    uint16_t epoch[64]; /* when it was recorded */
    size_t size[64];    /* bytes asked for */
};

static void read_word(const struct mspan *copy, size_t word, struct word_slots *ret) {
    uint64_t live = mspan_live_word(copy, word);
    size_t elem = mspan_elem_bytes(copy);
    ret->n = 0;
    for (; live != 0; live &= live - 1) {
        size_t i = word * 64 + (unsigned)__builtin_ctzll(live);
        uint32_t site = i < copy->nelems ? prof_tag_site(mslots_tag(copy, i)) : 0;
        if (site == 0)
            continue;
        size_t slack = mslots_slack(copy, i);
        ret->site[ret->n] = site;
        ret->epoch[ret->n] = mslots_epoch(copy, i);
        ret->size[ret->n++] = slack <= elem ? elem - slack : elem;
    }
}

static void count_word(struct history *h, const struct word_slots *w) {
    uint32_t nsites = prof_nsites();
    for (unsigned i = 0; i < w->n; i++) {
        if (gm_unlikely(w->size[i] != history.size || w->epoch[i] != history.epoch)) {
            history.size = w->size[i];
            history.epoch = w->epoch[i];
            history.weight = sampling_weight(w->size[i], prof_rate_at(w->epoch[i]));
        }
        if (gm_likely(w->site[i] != 0 && w->site[i] <= nsites))
            history_add_live(h, w->site[i], (double)w->size[i] * history.weight, history.weight);
    }
}

/* count_span returns how much work it was, in slots. */
static unsigned count_span(struct history *h, const struct mspan *s) {
    struct mspan copy;
    struct word_slots word;
    if (s == NULL || atomic_load_explicit(&s->sites, memory_order_relaxed) == NULL ||
        !mheap_read_span(s, &copy) ||
        atomic_load_explicit(&copy.sites, memory_order_relaxed) == NULL)
        return SPAN_COST;
    uint32_t gen = atomic_load_explicit(&copy.gen, memory_order_relaxed);
    for (size_t i = 0; i < copy.nwords; i++) {
        read_word(&copy, i, &word);
        /* What was read before must not be read after: the fence keeps it here. */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&s->gen, memory_order_acquire) != gen)
            break;
        count_word(h, &word);
    }
    return copy.nelems + SPAN_COST;
}

/* walk goes on for about BUDGET_NS; returns whether it is at the end. */
static bool walk(struct history *h, uint64_t begun_ns) {
    unsigned work = 0;
    uint32_t nspans = atomic_load_explicit(&mheap_.nallspans, memory_order_acquire);
    for (; history.span < nspans; history.span++) {
        if (work >= CLOCK_EVERY) {
            work = 0;
            if (clock_ns(CLOCK_MONOTONIC) - begun_ns >= BUDGET_NS)
                return false;
        }
        work += count_span(h, mheap_.allspans[history.span]);
    }
    for (; history.site <= h->nsites; history.site++) {
        struct prof_site_figures f;
        if (work++ >= CLOCK_EVERY) {
            work = 0;
            if (clock_ns(CLOCK_MONOTONIC) - begun_ns >= BUDGET_NS)
                return false;
        }
        prof_site(history.site, &f);
        history_add_alloc(h, history.site, f.alloc_bytes);
    }
    return true;
}

/* ---- turns -------------------------------------------------------------------------------- */

static struct history *make_table(void) {
    struct history *h = mem_alloc(align_up(sizeof(struct history), PHYS_PAGE_SIZE), MEM_RECORDER);
    if (h != NULL)
        atomic_store_explicit(&history.table, h, memory_order_release);
    return h;
}

/* begin begins a walk; false: there is nothing to tell. */
static bool begin(uint64_t activity) {
    uint64_t rate = prof_rate();
    if (rate == 0)
        return false;
    struct history *h = atomic_load_explicit(&history.table, memory_order_relaxed);
    if (h == NULL && (h = make_table()) == NULL)
        return false;
    if (h->rate != rate) {
        mutex_lock(&history.lock);
        history_clear(h, rate);
        mutex_unlock(&history.lock);
    }
    history_begin(h, prof_nsites());
    history.activity = activity;
    history.size = 0;
    history.epoch = MEPOCH_UNKNOWN;
    history.weight = sampling_weight(0, rate);
    history.span = 0;
    history.site = 1;
    return true;
}

static void end(struct history *h, uint64_t now_ns, uint64_t rss_bytes) {
    /* A rate that has changed meanwhile has made the sums worthless. */
    if (h->rate == prof_rate()) {
        mutex_lock(&history.lock);
        history_commit(h, now_ns, (double)rss_bytes);
        mutex_unlock(&history.lock);
        atomic_fetch_add_explicit(&history.ticks, 1, memory_order_relaxed);
    }
    history.due_ns += history.interval_ns;
    if (history.due_ns <= now_ns)
        history.due_ns = now_ns + history.interval_ns;
}

/* is_due tells whether to work; if not, *ret_sleep_ns is the time until then. */
static bool is_due(uint64_t now_ns, uint64_t *ret_sleep_ns) {
    if (history.due_ns == 0)
        history.due_ns = now_ns + history.interval_ns;
    uint64_t activity = activity_now();
    bool active = activity != history.activity;
    *ret_sleep_ns = UINT64_MAX;
    if (now_ns < history.due_ns) {
        if (active)
            *ret_sleep_ns = history.due_ns - now_ns;
        return false;
    }
    if (active && begin(activity))
        return true;
    history.due_ns = now_ns + history.interval_ns;
    return false;
}

uint64_t history_turn(uint64_t now_ns, uint64_t (*rss)(void)) {
    uint64_t sleep_ns;
    if (history.interval_ns == 0)
        return UINT64_MAX;
    if (!history.walking) {
        history.walking = is_due(now_ns, &sleep_ns);
        if (!history.walking)
            return sleep_ns;
    }
    struct history *h = atomic_load_explicit(&history.table, memory_order_relaxed);
    uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    history.walking = !walk(h, clock_ns(CLOCK_MONOTONIC));
    if (!history.walking)
        end(h, now_ns, rss());
    uint64_t worked_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
    atomic_fetch_add_explicit(&history.turns, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&history.worked_ns, worked_ns, memory_order_relaxed);
    return history.walking ? 0 : history.due_ns - now_ns;
}

/* ---- who else looks at it ----------------------------------------------------------------- */

const struct history *history_lock(void) {
    const struct history *h = atomic_load_explicit(&history.table, memory_order_acquire);
    if (h != NULL)
        mutex_lock(&history.lock);
    return h;
}

void history_unlock(void) {
    mutex_unlock(&history.lock);
}

void history_fork_child(void) {
    mutex_reset(&history.lock);
    /* The thread that may have been in the midst of it is no more. */
    history.walking = false;
    history.due_ns = 0;
    struct history *h = atomic_load_explicit(&history.table, memory_order_relaxed);
    if (h != NULL)
        history_clear(h, 0);
}

struct history_counts history_counts(void) {
    return (struct history_counts){
        .ticks = atomic_load_explicit(&history.ticks, memory_order_relaxed),
        .turns = atomic_load_explicit(&history.turns, memory_order_relaxed),
        .worked_ns = atomic_load_explicit(&history.worked_ns, memory_order_relaxed),
    };
}
