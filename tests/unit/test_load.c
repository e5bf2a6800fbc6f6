/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap recounted under load.
 *
 * Threads do everything that the heap knows: objects of all sizes, tiny ones, aligned ones, cleared
 * ones and stacks; frees of their own and of others' objects; resizes; records; bursts; they give
 * back what they cache, end, and are replaced.  After a random number of operations of all together
 * they stop, each between two operations and nowhere else: marks wait on lists, hints and page
 * caches are full, blocks are half filled, large spans are kept.  Then the whole heap is recounted
 * (mheap_consistent), and what the bitmaps say lives is compared with the objects that the threads
 * hold, one by one; and now and then the process forks there, and the child, which has lost all
 * threads but no object, must be able to give everything back.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "heap/mslots.h"
#include "heap/mstack.h"
#include "heap/mtiny.h"
#include "random.h"
#include "rounds.h"
#include "sanitized.h"
#include "sys/persistent.h"

enum { ROUNDS = SANITIZED ? 500 : 2500, NTHREADS = 6, NOWN = 150, NSHARED = 800, PATIENCE_S = 600 };
enum { FORK_EVERY = 250, MATCH_EVERY = 8, MAX_STEPS = 2000 };

/* cmocka's assertions jump, which only the first thread may. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    __atomic_store_n(&c->next_sample, INT64_MAX, __ATOMIC_RELAXED); /* no recorder here */
    return c;
}

/* ---- what the threads hold ---------------------------------------------------------------- */

/* An object in one word, so that it can change hands by an exchange: its address; its size if it is
 * tiny (others have theirs in their first bytes); a bit for a stack.  0: none. */
typedef uint64_t held;
#define ADDRESS(h)    ((unsigned char *)((h)&0xffffffffffff))
#define TINY_BYTES(h) ((size_t)((h) >> 48 & 0xff))
#define IS_STACK      (UINT64_C(1) << 63)

static held own[NTHREADS][NOWN];
static _Atomic held shared[NSHARED];

static size_t size_of(held h) {
    size_t size = TINY_BYTES(h);
    if (size == 0)
        memcpy(&size, ADDRESS(h), sizeof size);
    return size;
}

/* An object is full of a byte that follows from its address and size; a stack has it at its ends,
 * so that not all of it is touched. */
static unsigned char fill_of(held h, size_t size) {
    return (unsigned char)(((uintptr_t)ADDRESS(h) >> 3) * 31 + size * 7 + 1);
}

static void fill(held h, size_t size) {
    size_t from = TINY_BYTES(h) != 0 ? 0 : sizeof size;
    if (from != 0)
        memcpy(ADDRESS(h), &size, sizeof size);
    size_t n = size - from > 512 && (h & IS_STACK) != 0 ? 512 : size - from;
    memset(ADDRESS(h) + from, fill_of(h, size), n);
    if (size > from)
        ADDRESS(h)[size - 1] = fill_of(h, size);
}

static void check_fill(held h) {
    size_t size = size_of(h);
    for (size_t i = TINY_BYTES(h) != 0 ? 0 : sizeof size; i < size; i += i < 64 ? 1 : 509)
        if ((h & IS_STACK) == 0 || i < 512)
            CHECK(ADDRESS(h)[i] == fill_of(h, size));
    CHECK(size <= sizeof size || ADDRESS(h)[size - 1] == fill_of(h, size));
}

/* ---- operations --------------------------------------------------------------------------- */

static size_t some_size(struct random *r) {
    unsigned kind = random_below(r, 256);
    size_t size = kind < 3     ? random_below(r, 400000)
                  : kind < 24  ? random_below(r, 20000)
                  : kind < 60  ? random_below(r, 2000)
                  : kind < 100 ? 48
                               : random_below(r, 200);
    return size + sizeof(size_t);
}

static void record(struct random *r, void *p, size_t size) {
    struct mspan *s = mheap_span_of((uintptr_t)p);
    if (random_below(r, 16) == 0)
        mslots_record(s, mspan_object_index(s, (uintptr_t)p), 1 + random_below(r, 100),
                      mspan_elem_bytes(s) - size);
}

static held make_stack(struct random *r) {
    size_t size = (size_t)2048 << random_below(r, 6);
    void *p = stack_alloc(self(), size, random_below(r, 4) == 0);
    CHECK(p != NULL);
    held h = (uintptr_t)p | IS_STACK;
    fill(h, size);
    return h;
}

static held make(struct random *r) {
    unsigned kind = random_below(r, 32);
    size_t size = kind < 6 ? 1 + random_below(r, 7) : some_size(r);
    void *p;
    if (kind == 31)
        return make_stack(r);
    if (kind < 8)
        p = heap_alloc(self(), size, false);
    else if (kind == 8)
        p = heap_alloc_aligned(self(), size, (size_t)16 << random_below(r, 11));
    else if (kind == 9)
        p = heap_alloc_zeroed(self(), size, false);
    else
        p = heap_alloc(self(), size, kind == 10);
    CHECK(p != NULL);
    held h = (uintptr_t)p | (uint64_t)(kind < 6 ? size : 0) << 48;
    if (kind == 9)
        for (size_t i = 0; i < size; i += i < 64 ? 1 : 127)
            CHECK(ADDRESS(h)[i] == 0);
    fill(h, size);
    if (TINY_BYTES(h) == 0)
        record(r, p, size);
    return h;
}

/* Half of what is recorded is left to the slow path. */
static bool free_inline(void *p) {
    struct mspan *s = mheap_span_guess((uintptr_t)p);
    return heap_free_fast(p) || (((uintptr_t)p & 32) != 0 && heap_free_recorded(p, s, mcache_self));
}

static void destroy(held h) {
    check_fill(h);
    if ((h & IS_STACK) != 0)
        CHECK(stack_free(self(), (uintptr_t)ADDRESS(h)) == STACK_FREE_OK);
    else if (!free_inline(ADDRESS(h)))
        CHECK(heap_free_slow((uintptr_t)ADDRESS(h)) == FREE_OK);
}

/* As realloc does. */
static held resize(struct random *r, held h) {
    size_t slot, size = some_size(r);
    if (h == 0 || (h & IS_STACK) != 0 || TINY_BYTES(h) != 0)
        return h;
    check_fill(h);
    struct mspan *s = heap_find(ADDRESS(h), &slot);
    CHECK(s != NULL);
    if (heap_realloc_in_place(s, size)) {
        CHECK(heap_usable(ADDRESS(h)) >= size);
        fill(h, size);
        return h;
    }
    held to = make(r);
    destroy(h);
    return to;
}

/* Many objects of one size, freed in one order or the other: spans come and go. */
static void burst(struct random *r) {
    held h[300];
    unsigned n = 1 + random_below(r, 300);
    size_t size = sizeof(size_t) + random_below(r, random_below(r, 4) == 0 ? 3000 : 100);
    for (unsigned i = 0; i < n; i++) {
        h[i] = (uintptr_t)heap_alloc(self(), size, false);
        fill(h[i], size);
    }
    bool backwards = random_below(r, 2) == 0;
    for (unsigned i = 0; i < n; i++)
        destroy(h[backwards ? n - 1 - i : i]);
}

static void give_back(struct random *r) {
    switch (random_below(r, 4)) {
    case 0:
        mcache_release(self());
        break;
    case 1:
        mheap_reclaim(&mheap_);
        break;
    case 2:
        mheap_scavenge(&mheap_);
        break;
    default:
        mcache_flush(self());
        break;
    }
}

static void step(struct random *r, held *mine) {
    held *at = &mine[random_below(r, NOWN)];
    unsigned kind = random_below(r, 1000);
    if (kind < 2) {
        give_back(r);
    } else if (kind < 10) {
        burst(r);
    } else if (kind < 60) {
        *at = resize(r, *at);
    } else if (kind < 400) {
        *at = atomic_exchange(&shared[random_below(r, NSHARED)], *at);
    } else {
        held old = *at;
        *at = random_below(r, 2) == 0 ? make(r) : 0;
        if (old != 0)
            destroy(old);
    }
}

/* ---- stopping ----------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned nrunning; /* threads that are neither stopped nor at their end */
    unsigned round;
    enum { GONE, RUNS, ENDS } life[NTHREADS + 1]; /* ENDS: has left, or is about to: to be joined */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static _Atomic bool stop;      /* all are to stop */
static _Atomic bool finish;    /* and then to end */
static _Atomic int until_stop; /* operations until then */
static struct random seeds;    /* for the first thread's decisions */

static void rest(void) {
    pthread_mutex_lock(&gate.lock);
    unsigned round = gate.round;
    gate.nrunning--;
    pthread_cond_broadcast(&gate.changed);
    while (gate.round == round)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void leave(unsigned number) {
    atomic_store(&stop, true); /* the others may be few, or none but the library's thread */
    pthread_mutex_lock(&gate.lock);
    gate.nrunning--;
    gate.life[number] = ENDS;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

struct worker {
    unsigned number;
    uint64_t seed;
    pthread_t thread;
};

static void *work(void *arg) {
    struct worker *w = arg;
    struct random r = {.state = w->seed};
    unsigned steps = random_below(&r, 6000);
    while (steps-- > 0 && !atomic_load(&finish)) {
        step(&r, own[w->number]);
        if (atomic_fetch_sub_explicit(&until_stop, 1, memory_order_relaxed) <= 0)
            atomic_store(&stop, true);
        if (atomic_load(&stop))
            rest();
    }
    leave(w->number);
    return NULL;
}

/* The library's own thread. */
static void *keep_house(void *arg) {
    struct worker *w = arg;
    for (uint64_t now = 1; !atomic_load(&finish); now += UINT64_C(300000000)) {
        mheap_background(&mheap_, now);
        usleep(100);
        if (atomic_load(&stop))
            rest();
    }
    leave(w->number);
    return NULL;
}

static struct worker workers[NTHREADS + 1];

static void start(unsigned i) {
    workers[i].number = i;
    workers[i].seed = random_next(&seeds);
    int error;
    unsigned tries = 0;
    do /* a machine that is busy may be short of threads for a while */
        error = pthread_create(&workers[i].thread, NULL, i == NTHREADS ? keep_house : work,
                               &workers[i]);
    while (error == EAGAIN && ++tries < 1000 && usleep(10000) == 0);
    CHECK(error == 0);
}

/* Waits until nobody runs.  Threads that have ended have left their mcaches, too. */
static void wait_for_rest(void) {
    pthread_mutex_lock(&gate.lock);
    while (gate.nrunning > 0)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    for (unsigned i = 0; i <= NTHREADS; i++)
        if (gate.life[i] == ENDS) {
            pthread_join(workers[i].thread, NULL);
            gate.life[i] = GONE;
        }
}

/* Two always run; others stay away for a while, and what they left is adopted later. */
static bool is_due(unsigned i) {
    return i == 0 || i == NTHREADS || random_below(&seeds, 4) == 0;
}

static void go_on(void) {
    pthread_mutex_lock(&gate.lock);
    atomic_store(&stop, false);
    atomic_store(&until_stop, (int)random_below(&seeds, 1 + random_below(&seeds, MAX_STEPS)));
    gate.round++;
    for (unsigned i = 0; i <= NTHREADS; i++) {
        bool begins = gate.life[i] == GONE && is_due(i);
        gate.life[i] = begins ? RUNS : gate.life[i];
        gate.nrunning += gate.life[i] == RUNS;
        if (begins)
            start(i);
    }
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

/* ---- at a stop ---------------------------------------------------------------------------- */

static void recount(void) {
    const char *why = NULL;
    if (mheap_consistent(&mheap_, &why))
        return;
    fprintf(stderr, "pid %d, round %u: %s\n", (int)getpid(), gate.round, why);
    abort();
}

/* At how many stops there was something of the kind: a heap at rest has none of it. */
static struct {
    unsigned marks; /* spans that wait with marks */
    unsigned hints;
    unsigned pages; /* in page caches */
    unsigned large; /* spans kept */
    unsigned tiny;  /* blocks half filled */
    unsigned idle;  /* mcaches without a thread, with spans of their own */
} seen;

static bool any_hint(const struct mcache *c) {
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        if (c->alloc[spc].sp != c->alloc[spc].bottom)
            return true;
    return false;
}

static bool owns_spans(const struct mcache *c) {
    for (uint32_t i = 0; i < mheap_.nallspans; i++)
        if (mspan_owner(mheap_.allspans[i]) == &c->owner)
            return true;
    return false;
}

static void see(void) {
    bool marks = false, hints = false, pages = false, large = false, tiny = false, idle = false;
    for (size_t spc = 0; spc < NUM_SPAN_CLASSES; spc++)
        marks |= mheap_.central[spc].owner.pending != NULL;
    for (uint32_t i = 0; i < mcaches.n; i++) {
        const struct mcache *c = mcaches.all[i];
        marks |= c->owner.pending != NULL;
        hints |= any_hint(c);
        pages |= !page_cache_empty(&c->pcache);
        for (size_t n = 0; n <= LARGE_KEEP_PAGES; n++)
            large |= c->large_alloc[n].sp != c->large_alloc[n].bottom;
        tiny |= c->tiny != 0;
        idle |= !c->attached && owns_spans(c);
    }
    seen.marks += marks;
    seen.hints += hints;
    seen.pages += pages;
    seen.large += large;
    seen.tiny += tiny;
    seen.idle += idle;
}

static void the_heap_was_under_load(unsigned rounds) {
    print_message("%u stops: %u with marks, %u with hints, %u with cached pages, %u with large "
                  "spans, %u with tiny blocks, %u with idle mcaches\n",
                  rounds, seen.marks, seen.hints, seen.pages, seen.large, seen.tiny, seen.idle);
    assert_true(seen.marks > rounds / 2 && seen.hints > rounds / 2 && seen.pages > rounds / 2);
    assert_true(seen.large > rounds / 4 && seen.tiny > rounds / 4 && seen.idle > rounds / 20);
}

/* What lives, by the bitmaps. */
struct census {
    size_t nobjects; /* not in tiny blocks */
    size_t ntiny;    /* objects in them */
    size_t nstacks;
};

static void count_slot(const struct mspan *s, size_t slot, struct census *n) {
    uintptr_t p = s->base + slot * s->elem_size;
    bool block = s->elem_size == TINY_SIZE && tiny_span(s) && tiny_filling(s, p);
    size_t ntiny = 0;
    for (size_t i = 0; s->elem_size == TINY_SIZE && i < TINY_SIZE; i++)
        ntiny += tiny_usable((void *)(p + i)) != 0;
    n->ntiny += ntiny;
    n->nobjects += !block && ntiny == 0;
}

static struct census count_live(void) {
    struct census n = {0};
    for (uint32_t i = 0; i < mheap_.nallspans; i++) {
        const struct mspan *s = mheap_.allspans[i];
        uint8_t state = atomic_load(&s->state);
        for (size_t slot = 0; state != GOMALLOC_SPAN_DEAD && slot < s->nelems; slot++) {
            if ((mspan_live_word(s, slot / 64) >> slot % 64 & 1) == 0)
                continue;
            if (state == GOMALLOC_SPAN_MANUAL)
                n.nstacks++;
            else
                count_slot(s, slot, &n);
        }
    }
    return n;
}

static void count_held(held h, struct census *n) {
    size_t slot;
    if (h == 0)
        return;
    check_fill(h);
    if ((h & IS_STACK) != 0) {
        CHECK(stack_size((uintptr_t)ADDRESS(h)) >= size_of(h));
        n->nstacks++;
    } else if (TINY_BYTES(h) != 0) {
        CHECK(tiny_usable(ADDRESS(h)) >= TINY_BYTES(h));
        n->ntiny++;
    } else {
        CHECK(heap_find(ADDRESS(h), &slot) != NULL);
        n->nobjects++;
    }
}

/* Each object that is held lives, and nothing else does.  (That no two are one is seen by what they
 * are full of.) */
static void match(void) {
    struct census want = {0};
    for (unsigned i = 0; i < NTHREADS; i++)
        for (unsigned k = 0; k < NOWN; k++)
            count_held(own[i][k], &want);
    for (unsigned i = 0; i < NSHARED; i++)
        count_held(atomic_load(&shared[i]), &want);
    struct census live = count_live();
    CHECK(live.nobjects == want.nobjects);
    CHECK(live.ntiny == want.ntiny);
    CHECK(live.nstacks == want.nstacks);
}

static void destroy_all(void) {
    for (unsigned i = 0; i < NTHREADS; i++)
        for (unsigned k = 0; k < NOWN; k++)
            if (own[i][k] != 0) {
                destroy(own[i][k]);
                own[i][k] = 0;
            }
    for (unsigned i = 0; i < NSHARED; i++) {
        held h = atomic_exchange(&shared[i], 0);
        if (h != 0)
            destroy(h);
    }
}

/* Nothing is left of a heap in which nothing lives. */
static void nothing_is_left(void) {
    destroy_all();
    match();
    mcache_release(self());
    mheap_reclaim(&mheap_);
    stack_reclaim();
    recount();
    match();
    CHECK(mheap_.pages_in_use == 0);
}

static void child(void) {
    alarm(PATIENCE_S);
    recount();
    match();
    struct random r = {.state = random_next(&seeds)};
    for (unsigned i = 0; i < 3000; i++)
        step(&r, own[random_below(&r, NTHREADS)]);
    recount();
    match();
    mheap_background(&mheap_, UINT64_C(1) << 62);
    recount();
    nothing_is_left();
    _exit(0);
}

/* lib/api/fork.c's handlers, as far as they are the heap's. */
static void fork_here(void) {
    mheap_lock_all(&mheap_);
    mutex_lock(&persistent_lock);
    pid_t pid = fork();
    if (pid == 0) {
        mutex_reset(&persistent_lock);
        mheap_reset_all(&mheap_);
        mutex_forget_held();
        mcaches_after_fork();
        child();
    }
    mutex_unlock(&persistent_lock);
    mheap_unlock_all(&mheap_);
    int status;
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- the test ----------------------------------------------------------------------------- */

static void the_heap_is_consistent_whenever_its_threads_stop(void **state) {
    (void)state;
    unsigned rounds = ROUNDS * test_rounds();
    seeds.state = test_seed() + 1;
    self();
    for (unsigned i = 0; i < rounds; i++) {
        go_on();
        wait_for_rest();
        recount();
        see();
        if (i % MATCH_EVERY == 0)
            match();
        if (!SANITIZED && i % FORK_EVERY == 0)
            fork_here();
    }
    atomic_store(&finish, true);
    go_on();
    wait_for_rest();
    nothing_is_left();
    the_heap_was_under_load(rounds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heap_is_consistent_whenever_its_threads_stop),
    };
    malloc_tiny = true;
    return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
