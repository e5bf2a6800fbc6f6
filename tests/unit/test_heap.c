/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The heap as malloc uses it: slots, frees from any thread, large objects, giving back.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "random.h"
#include "sanitized.h"
#include "sys/persistent.h"

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static void *alloc(size_t size) {
    return heap_alloc(self(), size, false);
}

static enum free_result release(void *p) {
    struct mspan *s = mheap_span_guess((uintptr_t)p);
    return heap_free_fast(p) || heap_free_recorded(p, s, mcache_self)
               ? FREE_OK
               : heap_free_slow((uintptr_t)p);
}

static void assert_heap_consistent(void) {
    const char *why = NULL;
    if (!mheap_consistent(&mheap_, &why))
        fail_msg("%s", why);
}

/* From now on the kernel has none; returns the limit to go back to. */
static struct rlimit refuse_memory(void) {
    struct rlimit old;
    if (SANITIZED)
        skip();
    getrlimit(RLIMIT_AS, &old);
    setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = 1 << 20, .rlim_max = old.rlim_max});
    return old;
}

/* Live slots of all spans, by the bitmaps. */
static size_t live_objects(void) {
    size_t n = 0;
    for (uint32_t i = 0; i < mheap_.nallspans; i++) {
        struct mspan s;
        if (mheap_read_span(mheap_.allspans[i], &s))
            n += mspan_count_live(&s);
    }
    return n;
}

static void every_size_is_aligned_and_has_room(void **state) {
    (void)state;
    for (size_t size = 0; size <= 40000; size += size < 1100 ? 1 : 97) {
        char *p = alloc(size);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % (size > 8 ? 16 : 8), 0);
        assert_true(heap_usable(p) >= size && heap_usable(p) > 0);
        assert_true(heap_usable(p) <= size + size / 2 + 16 || size > MAX_SMALL_SIZE);
        memset(p, 0xa5, size);
        assert_int_equal(release(p), FREE_OK);
    }
    assert_heap_consistent();
}

static void memory_freed_last_is_used_first(void **state) {
    (void)state;
    void *p[10];
    for (size_t i = 0; i < 10; i++)
        p[i] = alloc(100);
    for (size_t i = 0; i < 10; i++)
        release(p[i]);
    for (size_t i = 10; i-- > 0;)
        assert_ptr_equal(alloc(100), p[i]);
    for (size_t i = 0; i < 10; i++)
        release(p[i]);
}

static void frees_that_are_none_are_refused(void **state) {
    (void)state;
    int local;
    char *p = alloc(48);
    assert_int_equal(heap_free_slow((uintptr_t)&local), FREE_INVALID);
    assert_int_equal(heap_free_slow((uintptr_t)(p + 1)), FREE_INVALID);
    assert_int_equal(heap_free_slow((uintptr_t)(p + 16)), FREE_INVALID);
    assert_int_equal(heap_free_slow(UINTPTR_MAX), FREE_INVALID);
    assert_int_equal(release(p), FREE_OK);
    assert_int_equal(release(p), FREE_DOUBLE);
    /* 170 slots of 48 bytes leave 32 bytes at the end, where slot 170 would begin */
    struct mspan *s = mheap_span_of((uintptr_t)p);
    assert_int_equal(heap_free_slow(s->base + 170 * 48), FREE_INVALID);
    char *large = alloc(100000);
    assert_int_equal(release(large + 8192), FREE_INVALID);
    assert_int_equal(release(large), FREE_OK);
    assert_int_equal(release(large), FREE_DOUBLE);
}

static void *free_it(void *p) {
    return (void *)(uintptr_t)release(p);
}

static void another_threads_free_is_seen_at_once_and_used_after_a_sweep(void **state) {
    (void)state;
    enum { N = 1000 };
    static char *p[N];
    for (size_t i = 0; i < N; i++)
        p[i] = alloc(64);
    struct mspan *s = mheap_span_of((uintptr_t)p[N / 2]);
    size_t slot = mspan_object_index(s, (uintptr_t)p[N / 2]);
    size_t live = mspan_count_live(s);
    pthread_t t;
    void *result;
    pthread_create(&t, NULL, free_it, p[N / 2]);
    pthread_join(t, &result);
    assert_int_equal((uintptr_t)result, FREE_OK);
    assert_int_equal(mspan_count_live(s), live - 1);
    assert_false(mspan_live_word(s, slot / 64) >> slot % 64 & 1);
    mspan_sweep(s, 2);
    assert_int_equal(release(p[N / 2]), FREE_DOUBLE);
    assert_true(mspan_free_bits(s)[slot / 64] >> slot % 64 & 1);
    assert_int_equal(mspan_count_live(s), live - 1);
    for (size_t i = 0; i < N; i++)
        if (i != N / 2)
            assert_int_equal(release(p[i]), FREE_OK);
}

static uintptr_t found;

static void note_found(uintptr_t p) {
    found = p;
}

static void a_free_by_two_threads_is_found_when_the_span_is_swept(void **state) {
    (void)state;
    heap_double_free_found = note_found;
    char *p = alloc(320);
    struct mspan *s = mheap_span_of((uintptr_t)p);
    pthread_t t;
    pthread_create(&t, NULL, free_it, p);
    pthread_join(t, NULL);
    assert_int_equal(release(p), FREE_OK); /* the owner does not look at marks */
    assert_int_equal(found, 0);
    mspan_sweep(s, 2);
    assert_int_equal(found, (uintptr_t)p);
    heap_double_free_found = NULL;
}

/* A thread that has marked the last object of a span may be late with the rest of its free: the
 * span has been freed meanwhile, and its header holds a large object now. */
static void a_late_note_to_a_large_span_does_not_hide_later_marks(void **state) {
    (void)state;
    char *p = alloc(2 << 20);
    struct mspan *s = mheap_span_of((uintptr_t)p);
    mspan_note_pending(s);
    assert_int_equal(s->pending, 0);
    assert_null(mheap_.owner.pending);
    assert_int_equal(release(p), FREE_OK);
}

/* The same if the large object's span has an owner who drains a list. */
static void a_late_note_to_a_threads_large_span_is_dropped(void **state) {
    (void)state;
    char *p = alloc(100000);
    struct mspan *s = mheap_span_of((uintptr_t)p);
    mspan_note_pending(s);
    assert_int_equal(s->pending, 1);
    mcache_flush(self());
    assert_int_equal(s->pending, 0);
    assert_int_equal(heap_usable(p), large_pages(100000) * GM_PAGE_SIZE);
    assert_int_equal(release(p), FREE_OK);
    assert_heap_consistent();
}

static void frees_are_fast_again_when_the_last_recorded_object_is_gone(void **state) {
    (void)state;
    char *a = alloc(448);
    char *b = alloc(448);
    char *c = alloc(448);
    struct mspan *s = mheap_span_of((uintptr_t)a);
    assert_ptr_equal(s, mheap_span_of((uintptr_t)c));
    mslots_record(s, mspan_object_index(s, (uintptr_t)a), 7, 0);
    mslots_record(s, mspan_object_index(s, (uintptr_t)b), 8, 0);
    assert_false(heap_free_fast(a));
    assert_int_equal(heap_free_slow((uintptr_t)a), FREE_OK);
    assert_false(heap_free_fast(b));
    assert_int_equal(heap_free_slow((uintptr_t)b), FREE_OK);
    assert_true(heap_free_fast(c));
    c = alloc(448);
    mslots_record(s, mspan_object_index(s, (uintptr_t)c), 9, 0);
    assert_false(heap_free_fast(c));
    assert_int_equal(mslots_tag(s, mspan_object_index(s, (uintptr_t)c)), 9);
    assert_int_equal(heap_free_slow((uintptr_t)c), FREE_OK);
}

static bool free_recorded(void *p) {
    return heap_free_recorded(p, mheap_span_guess((uintptr_t)p), mcache_self);
}

static void the_short_path_of_recorded_objects_does_as_the_long_one(void **state) {
    (void)state;
    char *a = alloc(448);
    char *b = alloc(448);
    struct mspan *s = mheap_span_of((uintptr_t)a);
    size_t i = mspan_object_index(s, (uintptr_t)a), k;
    assert_false(free_recorded(a)); /* nothing is recorded in the span */
    mslots_record(s, i, 7, 0);
    assert_false(free_recorded(a + 1));
    assert_true(free_recorded(b)); /* not recorded itself */
    assert_false(free_recorded(b));
    assert_int_equal(heap_free_slow((uintptr_t)b), FREE_DOUBLE);
    assert_false(free_recorded(a)); /* the last one: frees may be fast again */
    mcache_self->next_sample = -1;
    assert_true(free_recorded(a)); /* not where everything is recorded */
    assert_int_equal(mslots_tag(s, i), 0);
    assert_int_equal(s->owner & SPAN_RECORDED, SPAN_RECORDED);
    b = alloc(448);
    k = mspan_object_index(s, (uintptr_t)b);
    mslots_record(s, k, MSLOTS_ASK | 5, 0);
    assert_false(free_recorded(b));
    assert_true(mslots_replace(s, k, MSLOTS_ASK | 5, 5));
    mcache_self->next_sample = -1;
    assert_true(free_recorded(b));
    self()->next_sample = INT64_MAX;
    assert_heap_consistent();
}

static void the_short_path_to_a_size_says_what_the_long_one_says(void **state) {
    (void)state;
    char *a = alloc(448), *b = alloc(448), *large = alloc(100000);
    struct mspan *s = mheap_span_of((uintptr_t)a);
    assert_int_equal(heap_own_usable(self(), a), 448);
    mslots_record(s, mspan_object_index(s, (uintptr_t)b), 7, 0);
    assert_int_equal(heap_own_usable(self(), a), heap_usable(a));
    assert_int_equal(heap_own_usable(self(), b), 448);
    /* These it leaves to the long one. */
    assert_int_equal(heap_own_usable(self(), a + 16), 0);
    assert_int_equal(heap_own_usable(self(), NULL), 0);
    assert_int_equal(heap_own_usable(self(), &s), 0);
    assert_int_equal(heap_own_usable(&mcache0, a), 0);
    assert_int_equal(heap_own_usable(self(), large), 0);
    void *tiny = tiny_alloc(self(), 5);
    assert_int_equal(heap_own_usable(self(), tiny), 0);
    assert_int_equal(release(a), FREE_OK);
    assert_int_equal(heap_own_usable(self(), a), 0);
    assert_int_equal(release(b), FREE_OK);
    assert_int_equal(release(large), FREE_OK);
    assert_int_equal(release(tiny), FREE_OK);
}

static void *free_and_end(void *p) {
    self();
    if (!heap_free_fast(p) && heap_free_slow((uintptr_t)p) != FREE_OK)
        return p;
    mcache_detach();
    return NULL;
}

static void who_gets_the_slot_of_an_ignored_object_is_not_ignored(void **state) {
    (void)state;
    static const size_t sizes[] = {448, 100000, 3000000};
    for (unsigned k = 0; k < 6; k++) {
        void *p = alloc(sizes[k / 2]), *failed = NULL;
        struct mspan *s = mheap_span_of((uintptr_t)p);
        size_t slot = mspan_object_index(s, (uintptr_t)p);
        assert_true(mslots_ignore(s, slot));
        assert_true(mslots_is_ignored(s, slot));
        pthread_t thread;
        if (k % 2 == 0) {
            if (!heap_free_fast(p))
                assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
        } else {
            assert_int_equal(pthread_create(&thread, NULL, free_and_end, p), 0);
            pthread_join(thread, &failed);
            assert_null(failed);
        }
        assert_false(mslots_is_ignored(s, slot));
        assert_heap_consistent();
    }
}

struct free_elsewhere {
    void *p;
    enum free_result result;
};

static void *free_elsewhere(void *arg) {
    struct free_elsewhere *f = arg;
    f->result = heap_free_slow((uintptr_t)f->p);
    return NULL;
}

static enum free_result freed_by_another_thread(void *p) {
    struct free_elsewhere f = {.p = p};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, free_elsewhere, &f), 0);
    pthread_join(t, NULL);
    return f.result;
}

/* Small, large and another thread's: nothing is freed until the tag has been replaced, and of two
 * that replace it one succeeds. */
static void a_tag_that_asks_stays_until_it_is_replaced(void **state) {
    (void)state;
    static const size_t sizes[] = {448, 100000};
    for (size_t k = 0; k < 2; k++) {
        char *p = alloc(sizes[k]);
        struct mspan *s = mheap_span_of((uintptr_t)p);
        size_t i = mspan_object_index(s, (uintptr_t)p);
        mslots_record(s, i, MSLOTS_ASK | 5, 0);
        assert_int_equal(release(p), FREE_ASK);
        assert_int_equal(freed_by_another_thread(p), FREE_ASK);
        assert_ptr_equal(heap_find(p, &(size_t){0}), s);
        assert_int_equal(mslots_tag(s, i), MSLOTS_ASK | 5);
        assert_true(mslots_replace(s, i, MSLOTS_ASK | 5, 7));
        assert_false(mslots_replace(s, i, MSLOTS_ASK | 5, 7));
        assert_int_equal(release(p), FREE_OK);
        assert_int_equal(release(p), FREE_DOUBLE);
    }
    assert_heap_consistent();
}

/* ---- a model: what is in each object, beside it ------------------------------------------- */

struct object {
    unsigned char *p;
    size_t size;
    unsigned char fill;
};

static size_t some_size(struct random *r) {
    switch (random_below(r, 20)) {
    case 0:
        return random_below(r, 300000);
    case 1:
    case 2:
        return random_below(r, 5000);
    default:
        return random_below(r, 300);
    }
}

static void check(const struct object *o) {
    for (size_t i = 0; i < o->size; i += 31)
        assert_int_equal(o->p[i], o->fill);
}

static void step(struct random *r, struct object *o) {
    if (o->p == NULL) {
        o->size = some_size(r);
        o->fill = (unsigned char)random_below(r, 256);
        bool zero = random_below(r, 4) == 0;
        o->p = zero ? heap_alloc_zeroed(self(), o->size, false)
               : random_below(r, 8) == 0
                   ? heap_alloc_aligned(self(), o->size, (size_t)1 << random_below(r, 18))
                   : alloc(o->size);
        assert_non_null(o->p);
        for (size_t i = 0; zero && i < o->size; i++)
            assert_int_equal(o->p[i], 0);
        memset(o->p, o->fill, o->size);
        return;
    }
    check(o);
    size_t slot;
    struct mspan *s = heap_find(o->p, &slot);
    assert_non_null(s);
    size_t size = some_size(r);
    if (random_below(r, 4) == 0 && heap_realloc_in_place(s, size)) {
        if (size < o->size)
            o->size = size;
        check(o);
        o->size = size;
        memset(o->p, o->fill, size);
        return;
    }
    assert_int_equal(release(o->p), FREE_OK);
    o->p = NULL;
}

static void random_work_agrees_with_a_model(void **state) {
    (void)state;
    enum { N = 3000 };
    static struct object o[N];
    struct random r = {.state = 1};
    size_t before = live_objects();
    for (size_t i = 0; i < 200000; i++) {
        step(&r, &o[random_below(&r, N)]);
        if (i % 20000 == 0)
            assert_heap_consistent();
    }
    size_t live = 0;
    for (size_t i = 0; i < N; i++)
        live += o[i].p != NULL;
    assert_int_equal(live_objects(), before + live);
    for (size_t i = 0; i < N; i++)
        if (o[i].p != NULL)
            assert_int_equal(release(o[i].p), FREE_OK);
    assert_int_equal(live_objects(), before);
    assert_heap_consistent();
}

/* ---- threads ------------------------------------------------------------------------------ */

enum { NTHREADS = 4, NSHARED = 512 };
static _Atomic(struct object *) shared[NSHARED];

static void *exchange_objects(void *seed) {
    struct random r = {.state = (uintptr_t)seed};
    for (size_t i = 0; i < 60000; i++) {
        struct object *o = alloc(sizeof *o);
        o->size = 16 + random_below(&r, 200);
        o->fill = (unsigned char)i;
        o->p = alloc(o->size);
        memset(o->p, o->fill, o->size);
        o = atomic_exchange(&shared[random_below(&r, NSHARED)], o);
        if (o == NULL)
            continue;
        check(o);
        assert_int_equal(release(o->p), FREE_OK);
        assert_int_equal(release(o), FREE_OK);
    }
    return NULL;
}

static void threads_free_each_others_objects_and_nothing_is_lost(void **state) {
    (void)state;
    size_t before = live_objects();
    for (unsigned round = 0; round < 3; round++) {
        pthread_t t[NTHREADS];
        for (size_t i = 0; i < NTHREADS; i++)
            pthread_create(&t[i], NULL, exchange_objects, (void *)(round * 10 + i + 1));
        for (size_t i = 0; i < NTHREADS; i++)
            pthread_join(t[i], NULL);
    }
    for (size_t i = 0; i < NSHARED; i++) {
        struct object *o = atomic_exchange(&shared[i], NULL);
        if (o != NULL) {
            release(o->p);
            release(o);
        }
    }
    assert_int_equal(live_objects(), before);
    mheap_reclaim(&mheap_);
    mcache_flush(self());
    assert_heap_consistent();
}

static void *allocate_and_leave(void *ret) {
    for (size_t i = 0; i < 20000; i++)
        ((void **)ret)[i] = alloc(100);
    return NULL;
}

static void what_an_ended_thread_left_returns_to_the_heap_when_freed(void **state) {
    (void)state;
    static void *p[20000];
    mheap_reclaim(&mheap_);
    uint64_t before = mheap_.pages_in_use;
    pthread_t t;
    pthread_create(&t, NULL, allocate_and_leave, p);
    pthread_join(t, NULL);
    assert_true(mheap_.pages_in_use >= before + 20000 * 112 / GM_PAGE_SIZE);
    for (size_t i = 0; i < 20000; i++)
        assert_int_equal(release(p[i]), FREE_OK);
    mheap_reclaim(&mheap_);
    assert_true(mheap_.pages_in_use <= before + 2);
    assert_heap_consistent();
}

static void threads_that_come_and_go_share_few_mcaches(void **state) {
    (void)state;
    static void *p[20000];
    pthread_t t;
    pthread_create(&t, NULL, allocate_and_leave, p);
    pthread_join(t, NULL);
    uint32_t n = mcaches.n;
    for (unsigned i = 0; i < 200; i++) {
        for (size_t k = 0; k < 20000; k += 199)
            release(p[k]);
        pthread_create(&t, NULL, exchange_objects, (void *)7);
        pthread_join(t, NULL);
        for (size_t k = 0; k < 20000; k += 199)
            p[k] = alloc(100);
        if (i == 10)
            break;
    }
    assert_int_equal(mcaches.n, n);
    for (size_t k = 0; k < 20000; k++)
        release(p[k]);
    for (size_t i = 0; i < NSHARED; i++) {
        struct object *o = atomic_exchange(&shared[i], NULL);
        if (o != NULL) {
            release(o->p);
            release(o);
        }
    }
}

static pthread_barrier_t cached, done;

static void *cache_three_large(void *unused) {
    (void)unused;
    void *p[3];
    for (size_t i = 0; i < 3; i++)
        p[i] = alloc(100000);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(release(p[i]), FREE_OK);
    pthread_barrier_wait(&cached);
    pthread_barrier_wait(&done);
    return NULL;
}

static size_t kept_hints(const struct mcache *c, size_t npages) {
    return (size_t)(c->large_alloc[npages].sp - c->large_alloc[npages].bottom);
}

/* In a child of the process, whose thread was lost when it had freed the third and not kept it; and
 * another when it had set the bit of the first, and not yet cleared its mark. */
static bool a_torn_large_cache_is_mended(struct mcache *c) {
    const char *why;
    c->large_alloc[13].sp--;
    atomic_store(&mheap_span_of(c->large_alloc[13].bottom->p)->free_marks0, 1);
    struct stale_runs on_its_stack; /* it was in calloc */
    c->large.stale = &on_its_stack;
    mcaches_after_fork();
    mcaches_reclaim_idle();
    return kept_hints(c, 13) == 0 && c->large.stale == NULL && mheap_.bins.bin[13].n == 3 &&
           mheap_consistent(&mheap_, &why);
}

static void a_lost_threads_large_spans_are_used_once(void **state) {
    (void)state;
    pthread_t t;
    pthread_barrier_init(&cached, NULL, 2);
    pthread_barrier_init(&done, NULL, 2);
    pthread_create(&t, NULL, cache_three_large, NULL);
    pthread_barrier_wait(&cached);
    pid_t pid = fork();
    if (pid == 0)
        for (uint32_t i = 0; i < mcaches.n; i++)
            if (mcaches.all[i] != mcache_self && kept_hints(mcaches.all[i], 13) == 3)
                _exit(a_torn_large_cache_is_mended(mcaches.all[i]) ? 0 : 1);
    pthread_barrier_wait(&done);
    pthread_join(t, NULL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void *keep_a_large_object(void *ret_p) {
    *(void **)ret_p = alloc(100000);
    pthread_barrier_wait(&cached);
    pthread_barrier_wait(&done);
    release(*(void **)ret_p);
    return NULL;
}

static void *release_it(void *p) {
    return release(p) == FREE_OK ? p : NULL;
}

static void *mend(void *unused) {
    (void)unused;
    mcaches_reclaim_idle();
    return NULL;
}

/* In a child of the process: two threads get to the heap's lock with the lost thread's span, one
 * that frees its object, and one that looks for what the lost thread had freed. */
static bool one_of_them_has_it(void *p) {
    const char *why;
    const struct mspan *s = mheap_span_of((uintptr_t)p);
    pthread_t freer, mender;
    void *freed;
    mcaches_after_fork();
    uint32_t kept = mheap_.bins.bin[13].n;
    mutex_lock(&mheap_.lock);
    pthread_create(&freer, NULL, release_it, p);
    while (__atomic_load_n(&s->free_bits0, __ATOMIC_ACQUIRE) == 0)
        usleep(1000);
    pthread_create(&mender, NULL, mend, NULL);
    usleep(50000); /* a mender that comes too late errs no more */
    mutex_unlock(&mheap_.lock);
    pthread_join(freer, &freed);
    pthread_join(mender, NULL);
    return freed == p && mheap_.bins.bin[13].n == kept + 1 && mheap_consistent(&mheap_, &why);
}

static void a_lost_threads_large_object_is_freed_once(void **state) {
    (void)state;
    if (SANITIZED) /* threads in a forked child */
        skip();
    pthread_t t;
    void *p;
    pthread_barrier_init(&cached, NULL, 2);
    pthread_barrier_init(&done, NULL, 2);
    pthread_create(&t, NULL, keep_a_large_object, &p);
    pthread_barrier_wait(&cached);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(600); /* if a list has become a ring */
        _exit(one_of_them_has_it(p) ? 0 : 1);
    }
    pthread_barrier_wait(&done);
    pthread_join(t, NULL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* In a child of the process: a thread was lost when it had marked a slot of s and set the span's
 * flag, but not pushed it; or when it had taken the list with s on it. */
static bool a_mark_after_that_is_noted(struct mspan *s, bool taken) {
    const char *why;
    if (taken) {
        mspan_mark_free(s, 1);
        mspan_take_pending(mspan_owner(s));
    } else {
        atomic_fetch_or(mspan_free_marks(s), 2);
        atomic_exchange(&s->pending, mspan_waits);
    }
    mcaches_after_fork();
    mspan_mark_free(s, 2);
    mcaches_reclaim_idle();
    return mheap_consistent(&mheap_, &why) && mspan_take_pending(mspan_owner(s)) == s &&
           mspan_pop_pending(s) == NULL && mspan_sweep(s, mheap_.sweepgen) == 2;
}

static void *be_lost(void *unused) {
    (void)unused;
    release(alloc(100));
    pthread_barrier_wait(&cached);
    pthread_barrier_wait(&done);
    return NULL;
}

static void marks_are_noted_in_a_child_whatever_its_lost_threads_did(void **state) {
    (void)state;
    static void *p[200];
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++)
        p[i] = alloc(100);
    struct mspan *s = mheap_span_of((uintptr_t)p[100]);
    for (int taken = 0; taken < 2; taken++) {
        pthread_t t;
        pthread_barrier_init(&cached, NULL, 2);
        pthread_barrier_init(&done, NULL, 2);
        pthread_create(&t, NULL, be_lost, NULL);
        pthread_barrier_wait(&cached);
        pid_t pid = fork();
        if (pid == 0)
            _exit(a_mark_after_that_is_noted(s, taken) ? 0 : 1);
        pthread_barrier_wait(&done);
        pthread_join(t, NULL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
    for (size_t i = 0; i < sizeof p / sizeof p[0]; i++)
        release(p[i]);
}

/* The thread was lost between the two stores of a sweep. */
static void *be_lost_in_a_sweep(void *ret_span) {
    char *p = alloc(100);
    struct mspan *s = mheap_span_of((uintptr_t)p);
    *(struct mspan **)ret_span = s;
    pthread_barrier_wait(&cached);
    pthread_barrier_wait(&done);
    release(p);
    return NULL;
}

static bool a_torn_sweep_is_finished(struct mspan *s) {
    const char *why;
    size_t w = 0;
    while (mspan_free_bits(s)[w] == 0)
        w++;
    atomic_fetch_or(&mspan_free_marks(s)[w], mspan_free_bits(s)[w]);
    found = 0;
    heap_double_free_found = note_found;
    mcaches_after_fork();
    mcaches_reclaim_idle();
    return found == 0 && mheap_consistent(&mheap_, &why);
}

static void a_lost_threads_sweep_is_no_double_free(void **state) {
    (void)state;
    pthread_t t;
    struct mspan *s;
    pthread_barrier_init(&cached, NULL, 2);
    pthread_barrier_init(&done, NULL, 2);
    pthread_create(&t, NULL, be_lost_in_a_sweep, &s);
    pthread_barrier_wait(&cached);
    pid_t pid = fork();
    if (pid == 0)
        _exit(a_torn_sweep_is_finished(s) ? 0 : 1);
    pthread_barrier_wait(&done);
    pthread_join(t, NULL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void *free_twice_and_alloc(void *p) {
    assert_int_equal(release(p), FREE_OK);
    assert_int_equal(release(p), FREE_DOUBLE);
    return alloc(100000); /* the same: it is the thread's now, or in a bin */
}

static void a_large_object_freed_elsewhere_is_used_there(void **state) {
    (void)state;
    void *p = alloc(100000), *got;
    pthread_t t;
    pthread_create(&t, NULL, free_twice_and_alloc, p);
    pthread_join(t, &got);
    assert_ptr_equal(got, p);
    assert_int_equal(release(got), FREE_OK);
    assert_int_equal(release(got), FREE_DOUBLE);
    assert_heap_consistent();
}

/* More of one size than a thread keeps, and sizes that displace it. */
static void freed_large_spans_are_kept_and_used_again(void **state) {
    (void)state;
    enum { N = 40 };
    void *p[N];
    for (size_t round = 0; round < 200; round++) {
        size_t size = 32769 + round * 4999 % 1015807;
        for (size_t i = 0; i < N; i++)
            p[i] = alloc(size);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(release(p[i]), FREE_OK);
        uint64_t made = mheap_.nspan_alloc;
        for (size_t i = 0; i < N; i++)
            p[i] = alloc(size);
        assert_int_equal(mheap_.nspan_alloc, made);
        for (size_t i = 0; i < N; i++)
            assert_int_equal(release(p[i]), FREE_OK);
        assert_heap_consistent();
    }
}

static void unused_large_spans_are_given_back(void **state) {
    (void)state;
    void *p[20];
    for (size_t i = 0; i < 20; i++)
        p[i] = alloc(200000);
    for (size_t i = 0; i < 20; i++)
        release(p[i]);
    mcache_flush(mcache_self);
    mutex_lock(&mheap_.lock);
    large_bins_age(&mheap_);
    size_t kept = mheap_.bins.nspans;
    large_bins_age(&mheap_);
    size_t left = mheap_.bins.nspans;
    mutex_unlock(&mheap_.lock);
    assert_true(kept >= 20);
    assert_int_equal(left, 0);
    assert_heap_consistent();
}

static void memory_of_the_caches_serves_alignment_too(void **state) {
    (void)state;
    static void *p[100000];
    release(alloc(8 << 20)); /* free pages in a row, wherever the other tests have left some */
    struct rlimit old = refuse_memory();
    size_t n = 0;
    while ((p[n] = alloc(1 << 20)) != NULL)
        n++;
    assert_true(n >= 2);
    size_t i = 0; /* two that are neighbours, so that they are room for any alignment in it */
    while (i + 1 < n && (char *)p[i + 1] != (char *)p[i] + (1 << 20))
        i++;
    assert_true(i + 1 < n);
    release(p[i]);
    release(p[i + 1]);
    void *q = heap_alloc_aligned(self(), 1 << 20, 512 << 10);
    setrlimit(RLIMIT_AS, &old);
    assert_non_null(q);
    release(q);
    for (size_t k = 0; k < n; k++)
        if (k != i && k != i + 1)
            release(p[k]);
    assert_heap_consistent();
}

/* ---- large -------------------------------------------------------------------------------- */

static bool is_taken(uintptr_t p) {
    const struct mspan *s = mheap_span_of(p);
    return s != NULL && atomic_load(&s->state) == GOMALLOC_SPAN_IN_USE &&
           p - s->base < (uintptr_t)s->npages << GM_PAGE_SHIFT;
}

/* Makes objects until one has its next page taken; the last page of an arena may have nothing
 * behind it however many there are.  Returns that one. */
static char *alloc_before_a_taken_page(size_t size) {
    char *p[64] = {0};
    for (size_t i = 0; i < 64; i++) {
        p[i] = alloc(size);
        assert_non_null(p[i]);
        for (size_t k = 0; k <= i; k++)
            if (is_taken((uintptr_t)p[k] + size))
                return p[k];
    }
    fail_msg("of 64 objects none lies before another");
    return NULL;
}

static void large_objects_grow_and_shrink_where_they_are(void **state) {
    (void)state;
    mcache_flush(self());
    char *p = alloc_before_a_taken_page(1 << 20);
    size_t slot;
    struct mspan *s = heap_find(p, &slot);
    memset(p, 1, 1 << 20);
    assert_true(heap_realloc_in_place(s, 100 << 10));
    assert_int_equal(heap_usable(p), 104 << 10);
    assert_true(heap_realloc_in_place(s, 1 << 20));
    assert_int_equal(heap_usable(p), 1 << 20);
    assert_int_equal(p[50 << 10], 1);
    assert_false(heap_realloc_in_place(s, 2 << 20));
    assert_int_equal(release(p), FREE_OK);
    assert_heap_consistent();
}

static void a_large_object_moves_with_its_pages(void **state) {
    (void)state;
    enum { N = 3 << 20 };
    uint32_t *p = alloc(N);
    struct mspan *s = mheap_span_of((uintptr_t)p);
    for (uint32_t i = 0; i < N / 4; i++)
        p[i] = i;
    void *q = alloc(2 * N);
    memset(q, 7, 2 * N);
    if (!large_move(s, q)) /* the kernel can't */
        skip();
    for (uint32_t i = 0; i < N / 4; i++)
        assert_int_equal(((uint32_t *)q)[i], i);
    assert_null(heap_find(p, &(size_t){0}));
    assert_heap_consistent();
    char *again = heap_alloc_zeroed(self(), N, false);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(again[i], 0);
    assert_int_equal(release(again), FREE_OK);
    assert_int_equal(release(q), FREE_OK);
    assert_heap_consistent();
}

/* Its entries in the span map are few, and each of its pages is known as its own. */
static void a_huge_object_is_found_from_within(void **state) {
    (void)state;
    size_t size = (size_t)8 << 30;
    char *p = alloc(size);
    if (p == NULL)
        skip();
    struct mspan *s = mheap_span_of((uintptr_t)p);
    for (size_t at = 0; at < size; at += 7777777)
        assert_ptr_equal(mheap_span_covering((uintptr_t)p + at), s);
    assert_ptr_equal(mheap_span_covering((uintptr_t)p + size - 1), s);
    assert_ptr_not_equal(mheap_span_covering((uintptr_t)p + size), s);
    assert_int_equal(release(p + (1 << 30)), FREE_INVALID);
    assert_int_equal(release(p), FREE_OK);
    assert_null(heap_find(p, &(size_t){0}));
}

/* A reader without a lock knows by the generation alone that a span's table is another's now. */
static void a_slot_table_changes_hands_only_with_the_generation(void **state) {
    (void)state;
    char *p = alloc(100000), *q = alloc(200000);
    struct mspan *s = mheap_span_of((uintptr_t)p), *other = mheap_span_of((uintptr_t)q);
    assert_true(mslots_record(s, 0, 7, 0));
    const struct mslots_table *table = s->sites;
    uint32_t gen = s->gen;
    assert_int_equal(release(p), FREE_OK);
    assert_true(mslots_record(other, 0, 8, 0));
    assert_true(s->gen != gen || other->sites != table);
    assert_int_equal(mslots_tag(s, 0), 0);
    mcache_flush(self());
    mheap_reclaim(&mheap_);
    assert_null(s->sites);
    assert_int_equal(release(q), FREE_OK);
}

static void any_alignment_is_met(void **state) {
    (void)state;
    for (size_t align = 1; align <= (size_t)1 << 30; align <<= 1)
        for (size_t size = 1; size <= 100000; size *= 10) {
            void *p = heap_alloc_aligned(self(), size, align);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % align, 0);
            assert_true(heap_usable(p) >= size);
            assert_int_equal(release(p), FREE_OK);
        }
    assert_heap_consistent();
}

static void what_cannot_be_had_is_refused(void **state) {
    (void)state;
    assert_null(alloc(SIZE_MAX));
    assert_null(alloc((size_t)PTRDIFF_MAX + 1));
    assert_null(alloc((size_t)1 << 50));
    assert_null(heap_alloc_aligned(self(), SIZE_MAX - 4096, 4096));
    assert_null(heap_alloc_aligned(self(), 1, (size_t)1 << 62));
    assert_heap_consistent();
}

static void a_request_that_the_kernel_refuses_costs_nothing(void **state) {
    (void)state;
    struct rlimit old, limit;
    if (SANITIZED)
        skip();
    getrlimit(RLIMIT_DATA, &old);
    limit = (struct rlimit){.rlim_cur = (rlim_t)1 << 34, .rlim_max = old.rlim_max};
    uint32_t narenas = mheap_.narenas;
    uint64_t heap = mem_stats[MEM_HEAP].reserved + mem_stats[MEM_HEAP].prepared;
    uint64_t tables = mem_stats[MEM_ARENA].prepared;
    uint64_t nlarge = large_count();
    setrlimit(RLIMIT_DATA, &limit);
    assert_null(alloc((size_t)1 << 40));
    assert_null(heap_alloc_aligned(self(), (size_t)1 << 40, 1 << 20));
    setrlimit(RLIMIT_DATA, &old);
    assert_int_equal(mheap_.narenas, narenas);
    assert_int_equal(mem_stats[MEM_HEAP].reserved + mem_stats[MEM_HEAP].prepared, heap);
    assert_int_equal(mem_stats[MEM_ARENA].prepared, tables);
    assert_int_equal(large_count(), nlarge);
    assert_heap_consistent();
}

static void spans_are_given_back_without_memory_for_the_sets(void **state) {
    (void)state;
    static void *p[NUM_SIZE_CLASSES][2];
    size_t live = live_objects();
    for (unsigned k = 1; k < NUM_SIZE_CLASSES; k++)
        for (unsigned i = 0; i < 2; i++)
            p[k][i] = heap_alloc(self(), class_to_size[k], true);
    struct rlimit old = refuse_memory();
    while (persistent_alloc(64, 64, MEM_SPAN) != NULL)
        ;
    mcache_release(self());
    assert_int_equal(live_objects(), live + (NUM_SIZE_CLASSES - 1) * 2);
    assert_heap_consistent();
    for (unsigned k = 1; k < NUM_SIZE_CLASSES; k++) {
        assert_int_equal(release(p[k][0]), FREE_OK); /* marked: from one set to another */
        p[k][0] = heap_alloc(self(), class_to_size[k], true);
        mcache_release(self());
        assert_heap_consistent();
    }
    for (unsigned k = 1; k < NUM_SIZE_CLASSES; k++)
        for (unsigned i = 0; i < 2; i++)
            if (p[k][i] != NULL)
                assert_int_equal(release(p[k][i]), FREE_OK);
    mheap_reclaim(&mheap_);
    assert_heap_consistent();
    setrlimit(RLIMIT_AS, &old);
    assert_int_equal(live_objects(), live);
}

static void slots_that_an_ended_thread_left_are_used_before_memory_is_refused(void **state) {
    (void)state;
    enum { N = 20000 };
    static void *p[N], *pages[200000];
    pthread_t t;
    pthread_create(&t, NULL, allocate_and_leave, p);
    pthread_join(t, NULL);
    struct rlimit old = refuse_memory();
    size_t npages = 0;
    while ((pages[npages] = alloc(GM_PAGE_SIZE)) != NULL)
        npages++;
    while (alloc(100) != NULL)
        ;
    for (size_t i = 0; i < N; i += 100)
        assert_int_equal(release(p[i]), FREE_OK);
    for (size_t i = 0; i < N; i += 100)
        assert_non_null(p[i] = alloc(100));
    setrlimit(RLIMIT_AS, &old);
    for (size_t i = 0; i < N; i++)
        release(p[i]);
    while (npages > 0)
        release(pages[--npages]);
    assert_heap_consistent();
}

static void scavenged_memory_reads_as_zero_and_is_counted(void **state) {
    (void)state;
    mcache_flush(self());
    char *p = alloc(8 << 20);
    memset(p, 1, 8 << 20);
    release(p);
    uint64_t ready = mem_stats[MEM_HEAP].ready;
    assert_true(mheap_scavenge(&mheap_) >= (size_t)8 << 20);
    assert_true(mem_stats[MEM_HEAP].ready <= ready - ((uint64_t)8 << 20));
    char *q = heap_alloc_zeroed(self(), 8 << 20, false);
    for (size_t i = 0; i < (size_t)8 << 20; i += 511)
        assert_int_equal(q[i], 0);
    release(q);
    assert_heap_consistent();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_is_aligned_and_has_room),
        cmocka_unit_test(memory_freed_last_is_used_first),
        cmocka_unit_test(frees_that_are_none_are_refused),
        cmocka_unit_test(another_threads_free_is_seen_at_once_and_used_after_a_sweep),
        cmocka_unit_test(a_free_by_two_threads_is_found_when_the_span_is_swept),
        cmocka_unit_test(a_late_note_to_a_large_span_does_not_hide_later_marks),
        cmocka_unit_test(a_late_note_to_a_threads_large_span_is_dropped),
        cmocka_unit_test(frees_are_fast_again_when_the_last_recorded_object_is_gone),
        cmocka_unit_test(the_short_path_of_recorded_objects_does_as_the_long_one),
        cmocka_unit_test(the_short_path_to_a_size_says_what_the_long_one_says),
        cmocka_unit_test(who_gets_the_slot_of_an_ignored_object_is_not_ignored),
        cmocka_unit_test(a_tag_that_asks_stays_until_it_is_replaced),
        cmocka_unit_test(random_work_agrees_with_a_model),
        cmocka_unit_test(threads_free_each_others_objects_and_nothing_is_lost),
        cmocka_unit_test(what_an_ended_thread_left_returns_to_the_heap_when_freed),
        cmocka_unit_test(threads_that_come_and_go_share_few_mcaches),
        cmocka_unit_test(a_lost_threads_large_spans_are_used_once),
        cmocka_unit_test(a_lost_threads_large_object_is_freed_once),
        cmocka_unit_test(marks_are_noted_in_a_child_whatever_its_lost_threads_did),
        cmocka_unit_test(a_lost_threads_sweep_is_no_double_free),
        cmocka_unit_test(a_large_object_freed_elsewhere_is_used_there),
        cmocka_unit_test(freed_large_spans_are_kept_and_used_again),
        cmocka_unit_test(unused_large_spans_are_given_back),
        cmocka_unit_test(memory_of_the_caches_serves_alignment_too),
        cmocka_unit_test(large_objects_grow_and_shrink_where_they_are),
        cmocka_unit_test(a_large_object_moves_with_its_pages),
        cmocka_unit_test(a_huge_object_is_found_from_within),
        cmocka_unit_test(a_slot_table_changes_hands_only_with_the_generation),
        cmocka_unit_test(any_alignment_is_met),
        cmocka_unit_test(what_cannot_be_had_is_refused),
        cmocka_unit_test(a_request_that_the_kernel_refuses_costs_nothing),
        cmocka_unit_test(spans_are_given_back_without_memory_for_the_sets),
        cmocka_unit_test(slots_that_an_ended_thread_left_are_used_before_memory_is_refused),
        cmocka_unit_test(scavenged_memory_reads_as_zero_and_is_counted),
    };
    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
