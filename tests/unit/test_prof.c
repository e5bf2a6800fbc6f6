/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The recorder on a real heap: exact figures, estimates, rates that change under running threads,
 * fork.  allocate() below is malloc's side of the contract; the allocating "program" is in a shared
 * library (capture_program.c), because frames of the recorder's own object are dropped.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "capture_program.h"
#include "capture_thread.h"
#include "gomalloc/image.h"
#include "heap/malloc.h"
#include "prof/exact.h"
#include "prof/prof.h"

#define DEPTH 64

static struct mcache *self(void) {
    return mcache_self != &mcache0 ? mcache_self : mcache_attach();
}

static void *allocate(size_t size) {
    struct mcache *c = self();
    /* The library's code does this with a plain subtraction; here it must not be a data race. */
    int64_t next = __atomic_load_n(&c->next_sample, __ATOMIC_RELAXED) - (int64_t)size;
    __atomic_store_n(&c->next_sample, next, __ATOMIC_RELAXED);
    if (next >= 0)
        return heap_alloc(c, size, false);
    struct prof_sample s;
    bool take = prof_sample(c, size, &s);
    void *p = heap_alloc(c, size, false);
    if (take && p != NULL)
        prof_record(c, p, size, &s);
    return p;
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

static uint32_t site_of(void *p) {
    size_t slot;
    struct mspan *s = heap_find(p, &slot);
    assert_non_null(s);
    return mslots_tag(s, slot);
}

static size_t slack_of(void *p) {
    size_t slot;
    struct mspan *s = heap_find(p, &slot);
    return mslots_slack(s, slot);
}

static uint64_t counter(const char *name) {
    struct prof_counter c;
    for (unsigned i = 0; prof_counter(i, &c); i++) {
        if (strcmp(c.name, name) == 0)
            return c.value;
    }
    fail_msg("no counter %s", name);
    return 0;
}

static struct prof_site_figures figures(uint32_t site) {
    struct prof_site_figures f;
    assert_in_range(site, 1, prof_nsites());
    prof_site(site, &f);
    return f;
}

/* The program allocates one object a visit. */
static _Thread_local size_t visit_size;
static _Thread_local void *visit_object;

static __attribute__((noinline)) void visit(struct program_run *run) {
    visit_object = allocate(visit_size);
    run->pcs[run->n++] = (uintptr_t)__builtin_return_address(0);
}

static void *allocate_at_depth(unsigned depth, size_t size, uint64_t *pcs) {
    struct program_run run = {.visit = visit, .pcs = pcs};
    visit_size = size;
    program_recurse(&run, depth);
    return visit_object;
}

static void before_init_objects_are_recorded_without_a_stack(void **state) {
    (void)state;
    assert_int_equal(prof_rate(), 0);
    assert_int_equal(prof_set_rate(1), 0);
    assert_true(prof_exact_since_ns() != 0);
    void *p = allocate(100);
    assert_int_equal(site_of(p), PROF_SITE_NONE);
    assert_int_equal(prof_nsites(), 1);
    struct prof_site_figures f = figures(PROF_SITE_NONE);
    assert_int_equal(f.node, 0);
    assert_int_equal(f.flags, GOMALLOC_SITE_STOPPED);
    assert_int_equal(f.samples, 1);
    assert_int_equal(f.sample_bytes, 100);
    release(p);
    assert_string_equal(prof_unwinder(), "none");
}

static void init_loads_the_unwinder(void **state) {
    (void)state;
    assert_true(prof_unwinder_known("replay"));
    assert_true(prof_unwinder_known("libunwind"));
    assert_true(prof_unwinder_known("none"));
    assert_false(prof_unwinder_known("nonesuch"));
    assert_false(prof_unwinder_known("non"));
    prof_init(&(struct prof_options){.rate = 1, .depth = DEPTH});
    assert_string_equal(prof_unwinder(), "replay");
    assert_true(prof_exact_since_ns() != 0);
}

static void exact_recording_counts_every_object_at_its_site(void **state) {
    (void)state;
    enum { SITES = 5 };
    uint64_t pcs[SITES][DEPTH];
    uint32_t site[SITES] = {0};
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned k = 0; k < SITES; k++) {
            if (round >= 200 * (k + 1))
                continue;
            void *p = allocate_at_depth(k, 10 + 100 * k, pcs[k]);
            uint32_t s = site_of(p);
            assert_int_equal(slack_of(p), heap_usable(p) - (10 + 100 * k));
            assert_true(site[k] == 0 || site[k] == s);
            site[k] = s;
            release(p);
        }
    }
    for (unsigned k = 0; k < SITES; k++) {
        struct prof_site_figures f = figures(site[k]);
        assert_int_equal(f.samples, 200 * (k + 1));
        assert_int_equal(f.sample_bytes, 200 * (k + 1) * (10 + 100 * k));
        assert_true(f.alloc_objects == (double)f.samples);
        assert_true(f.alloc_bytes == (double)f.sample_bytes);
        assert_int_equal(f.flags, 0);
        uint32_t node = f.node;
        for (unsigned i = 0; i < k + 2; i++) {
            uint64_t pc;
            uint32_t parent;
            uint32_t depth;
            assert_in_range(node, 1, prof_nframes());
            prof_frame(node, &pc, &parent, &depth);
            assert_int_equal(pc, pcs[k][i]);
            assert_true(parent < node && depth >= k + 2 - i);
            node = parent;
        }
    }
}

static void nothing_and_large_objects_are_recorded_too(void **state) {
    (void)state;
    uint64_t pcs[DEPTH];
    static const size_t sizes[] = {0, 1, 8, 32768, 32769, 100000, 5000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p = allocate_at_depth(10, sizes[i], pcs);
        assert_true(site_of(p) > PROF_SITE_NONE);
        assert_int_equal(slack_of(p), heap_usable(p) - sizes[i]);
        release(p);
    }
    assert_int_equal(counter("recorder.dropped"), 0);
    assert_true(prof_exact_since_ns() != 0);
}

static void a_stack_deeper_than_the_bound_is_flagged(void **state) {
    (void)state;
    uint64_t pcs[300];
    void *p = allocate_at_depth(200, 16, pcs);
    struct prof_site_figures f = figures(site_of(p));
    uint64_t pc;
    uint32_t parent;
    uint32_t depth;
    prof_frame(f.node, &pc, &parent, &depth);
    assert_int_equal(f.flags, GOMALLOC_SITE_TRUNCATED);
    assert_int_equal(depth, DEPTH);
    assert_int_equal(pc, pcs[0]);
    release(p);
}

/* exact_visit is allocate() by the path for rate 1, but for the object. */
static uint32_t exact_site_found;

static __attribute__((noinline)) void exact_visit(struct program_run *run) {
    struct prof_sample s;
    bool judged;
    exact_site_found = exact_ready(self()) ? exact_site(self(), 16, &judged, &s) : 0;
    run->pcs[run->n++] = (uintptr_t)__builtin_return_address(0);
}

static bool record_a_deep_stack(void *arg) {
    uint64_t pcs[DEPTH];
    struct program_run run = {.visit = exact_visit, .pcs = pcs};
    (void)arg;
    release(allocate_at_depth(1, 16, pcs)); /* the other path is first */
    program_recurse(&run, TRAIL_NEAR + 8);
    mcache_detach();
    return true;
}

static void a_threads_first_deep_stack_is_whole_at_rate_one(void **state) {
    (void)state;
    static struct capture_thread thread = {.run = record_a_deep_stack};
    uint64_t pc;
    uint32_t parent, depth;
    assert_true(capture_thread_start(&thread));
    assert_true(capture_thread_succeeds(&thread));
    struct prof_site_figures f = figures(exact_site_found);
    prof_frame(f.node, &pc, &parent, &depth);
    assert_int_equal(f.flags, 0);
    assert_in_range(depth, TRAIL_NEAR + 9, DEPTH);
}

static void an_allocation_within_a_capture_has_no_stack(void **state) {
    (void)state;
    uint64_t pcs[DEPTH];
    uint64_t nested = counter("recorder.nested");
    self()->in_recorder = 1;
    void *p = allocate_at_depth(1, 16, pcs);
    self()->in_recorder = 0;
    assert_int_equal(site_of(p), PROF_SITE_NONE);
    assert_int_equal(counter("recorder.nested"), nested + 1);
    assert_true(prof_exact_since_ns() != 0);
    release(p);
}

static void recording_keeps_errno(void **state) {
    (void)state;
    uint64_t pcs[DEPTH];
    errno = 77;
    void *p = allocate_at_depth(21, 16, pcs);
    assert_int_equal(errno, 77);
    release(p);
}

static void at_rate_zero_nothing_is_recorded(void **state) {
    (void)state;
    uint64_t pcs[DEPTH];
    assert_int_equal(prof_set_rate(0), 1);
    assert_int_equal(prof_exact_since_ns(), 0);
    uint64_t captures = counter("recorder.captures");
    for (int i = 0; i < 1000; i++) {
        void *p = allocate_at_depth(2, 5000, pcs);
        assert_int_equal(site_of(p), 0);
        release(p);
    }
    assert_int_equal(counter("recorder.captures"), captures);
    /* not exact again: there may be objects without a record */
    prof_set_rate(1);
    assert_int_equal(prof_exact_since_ns(), 0);
}

static void estimates_are_near_the_truth(void **state) {
    (void)state;
    enum { N = 1000000, SIZE = 256, RATE = 65536 };
    uint64_t pcs[DEPTH];
    uint32_t site = 0;
    struct prof_site_figures before;
    for (int i = -1; i < N; i++) {
        __asm__ volatile("" : "+r"(i)); /* clang would take the first round out of the loop */
        void *p = allocate_at_depth(30, SIZE, pcs); /* one place, one site */
        if (i < 0) {
            site = site_of(p);
            before = figures(site);
            prof_set_rate(RATE);
            self()->rng = 12345; /* the same numbers in every run */
        }
        release(p);
    }
    struct prof_site_figures f = figures(site);
    double p1 = 1 - exp(-(double)SIZE / RATE);
    double got = f.alloc_objects - before.alloc_objects;
    double samples = (double)(f.samples - before.samples);
    assert_true(fabs(samples - N * p1) < 4 * sqrt(N * p1 * (1 - p1)));
    assert_true(fabs(got - samples / p1) < 1e-6 * got);
    assert_true(fabs(f.alloc_bytes - before.alloc_bytes - got * SIZE) < 1e-6 * got * SIZE);
    prof_set_rate(0);
}

/* Sizes in turn from one place, again and again: the estimates of the recorder have the mean and
 * the variance of theory, which test_sampling.c derives. */
enum { MIXED_RUNS = 500, MIXED_N = 400, MIXED_RATE = 8192 };
static const size_t mixed_sizes[] = {16, 24000, 100, 1000, 48, 8192, 333, 2};

struct moments {
    double mean;
    double variance;
    double fourth; /* cumulant */
};

static struct moments mixed_theory(bool bytes) {
    struct moments t = {0, 0, 0};
    for (unsigned i = 0; i < MIXED_N; i++) {
        double size = (double)mixed_sizes[i % 8];
        double p = 1 - exp(-size / MIXED_RATE);
        double c = (bytes ? size : 1) / p;
        t.mean += c * p;
        t.variance += c * c * p * (1 - p);
        t.fourth += pow(c, 4) * p * (1 - p) * (1 - 6 * p * (1 - p));
    }
    return t;
}

/* Allocates n objects, always from the same place; returns the site of the last. */
static uint32_t allocate_mixed(unsigned n) {
    uint64_t pcs[DEPTH];
    uint32_t site = 0;
    for (volatile unsigned i = 0; i < n; i++) { /* volatile: one call */
        void *p = allocate_at_depth(30, mixed_sizes[i % 8], pcs);
        site = site_of(p);
        release(p);
    }
    return site;
}

static void assert_moments(const double *x, const struct moments *t) {
    double sum = 0;
    double sum2 = 0;
    for (int i = 0; i < MIXED_RUNS; i++) {
        sum += x[i] - t->mean;
        sum2 += (x[i] - t->mean) * (x[i] - t->mean);
    }
    double mean = sum / MIXED_RUNS;
    double variance = sum2 / MIXED_RUNS - mean * mean;
    assert_true(fabs(mean) <= 4 * sqrt(t->variance / MIXED_RUNS));
    assert_true(fabs(variance - t->variance) <=
                4 * sqrt((t->fourth + 2 * t->variance * t->variance) / MIXED_RUNS));
}

static void estimates_have_the_mean_and_variance_of_theory(void **state) {
    (void)state;
    static double objects[MIXED_RUNS];
    static double bytes[MIXED_RUNS];
    const struct moments of_objects = mixed_theory(false);
    const struct moments of_bytes = mixed_theory(true);
    uint32_t site = 0;
    for (volatile int run = -1; run < MIXED_RUNS; run++) {
        struct prof_site_figures before = site != 0 ? figures(site) : (struct prof_site_figures){0};
        prof_set_rate(run < 0 ? 1 : MIXED_RATE);
        self()->rng = (uint64_t)run * 0xda942042e4dd58b5u + 1;
        __atomic_store_n(&self()->next_sample, NEXT_SAMPLE_UNKNOWN, __ATOMIC_RELAXED);
        uint32_t last = allocate_mixed(run < 0 ? 1 : MIXED_N);
        if (run < 0) {
            site = last;
            continue;
        }
        struct prof_site_figures f = figures(site);
        objects[run] = f.alloc_objects - before.alloc_objects;
        bytes[run] = f.alloc_bytes - before.alloc_bytes;
    }
    assert_moments(objects, &of_objects);
    assert_moments(bytes, &of_bytes);
    prof_set_rate(0);
}

static atomic_int stop_threads;

/* Allocates without end; tells whether the last object was recorded. */
static bool allocate_on(void *arg) {
    atomic_int *seen = arg;
    void *p = allocate(48);
    while (!atomic_load(&stop_threads)) {
        release(p);
        p = allocate(48);
        atomic_store(seen, site_of(p) != 0);
    }
    release(p);
    mcache_detach();
    return true;
}

static bool all_become(atomic_int *seen, int want) {
    for (int tries = 0; tries < 60000; tries++) {
        if (atomic_load(&seen[0]) == want && atomic_load(&seen[1]) == want)
            return true;
        prof_background(); /* a poke may be lost */
        usleep(1000);
    }
    return false;
}

static void running_threads_follow_the_rate(void **state) {
    (void)state;
    static atomic_int seen[2];
    static struct capture_thread threads[2];
    prof_set_rate(0);
    for (int i = 0; i < 2; i++) {
        threads[i].run = allocate_on;
        threads[i].arg = &seen[i];
        assert_true(capture_thread_start(&threads[i]));
    }
    for (int round = 0; round < 20; round++) {
        prof_set_rate(1);
        assert_true(all_become(seen, 1));
        prof_set_rate(0);
        assert_true(all_become(seen, 0));
    }
    atomic_store(&stop_threads, 1);
    for (int i = 0; i < 2; i++)
        assert_true(capture_thread_succeeds(&threads[i]));
}

static bool stack_in_child(void) {
    uint64_t pcs[DEPTH];
    fflush(NULL);
    mheap_lock_all(&mheap_);
    prof_fork_prepare();
    pid_t pid = fork();
    if (pid == 0) {
        prof_fork_child();
        mheap_reset_all(&mheap_);
        mutex_forget_held();
        mcaches_after_fork();
        void *p = allocate_at_depth(40, 16, pcs);
        _exit(site_of(p) > PROF_SITE_NONE);
    }
    prof_fork_parent();
    mheap_unlock_all(&mheap_);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static atomic_int waiting;

static bool wait_attached(void *arg) {
    (void)arg;
    release(allocate(16));
    atomic_store(&waiting, 1);
    while (atomic_load(&waiting) == 1)
        usleep(1000);
    mcache_detach();
    return true;
}

static void a_forked_child_has_stacks_even_if_a_thread_was_lost(void **state) {
    (void)state;
    static struct capture_thread thread = {.run = wait_attached};
    prof_set_rate(1);
    assert_true(stack_in_child());
    assert_true(capture_thread_start(&thread));
    while (atomic_load(&waiting) == 0)
        usleep(1000);
    assert_true(stack_in_child());
    /* the parent has not changed */
    uint64_t pcs[DEPTH];
    void *p = allocate_at_depth(41, 16, pcs);
    assert_true(site_of(p) > PROF_SITE_NONE);
    release(p);
    atomic_store(&waiting, 2);
    assert_true(capture_thread_succeeds(&thread));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(before_init_objects_are_recorded_without_a_stack),
        cmocka_unit_test(init_loads_the_unwinder),
        cmocka_unit_test(exact_recording_counts_every_object_at_its_site),
        cmocka_unit_test(nothing_and_large_objects_are_recorded_too),
        cmocka_unit_test(a_stack_deeper_than_the_bound_is_flagged),
        cmocka_unit_test(a_threads_first_deep_stack_is_whole_at_rate_one),
        cmocka_unit_test(an_allocation_within_a_capture_has_no_stack),
        cmocka_unit_test(recording_keeps_errno),
        cmocka_unit_test(at_rate_zero_nothing_is_recorded),
        cmocka_unit_test(estimates_are_near_the_truth),
        cmocka_unit_test(estimates_have_the_mean_and_variance_of_theory),
        cmocka_unit_test(running_threads_follow_the_rate),
        cmocka_unit_test(a_forked_child_has_stacks_even_if_a_thread_was_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
