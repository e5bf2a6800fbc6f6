/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What capturing by replay never does: wait for the loader, not even in a forked child whose
 * parent's other thread was in it; take a library for the one that was there before; deadlock with
 * a signal handler that allocates; need much memory, or stack; read what has been
 * unmapped.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "gomalloc/image.h"
#include "heap/malloc.h"
#include "prof/capture.h"
#include "prof/prof.h"
#include "prof/verify.h"
#include "replay_cases.h"
#include "sanitized.h"
#include "sys/mem.h"

#define PATIENCE 60 /* seconds */

static _Thread_local struct capture_self self;

static void visit(void) {
    struct capture_stack s;
    if (self.pcs == NULL && !capture_self_init(&self))
        return;
    capture_take(&self, &s);
}

static struct mcache *own_mcache(void) {
    return mcache_self != &mcache0 ? mcache_self : mcache_attach();
}

static bool sample(struct prof_sample *ret) {
    struct mcache *c = own_mcache();
    c->next_sample = -1;
    return prof_sample(c, 100, ret);
}

static int load(void **state) {
    (void)state;
    prof_init(&(struct prof_options){.rate = 1, .unwinder = "replay", .depth = 512, .verify = 1});
    verify_fork_child(); /* libunwind does all of it */
    return strcmp(prof_unwinder(), "replay");
}

/* A thread that is within the loader's lock until told to leave. */
static atomic_int within;
static atomic_bool leave;

static int stay(struct dl_phdr_info *info, size_t size, void *arg) {
    (void)info;
    (void)size;
    (void)arg;
    atomic_store(&within, 1);
    while (!atomic_load(&leave))
        usleep(1000);
    return 1;
}

static void *hold_the_loader(void *arg) {
    dl_iterate_phdr(stay, arg);
    return NULL;
}

static pthread_t begin_to_hold(void) {
    pthread_t t;
    atomic_store(&within, 0);
    atomic_store(&leave, false);
    assert_int_equal(pthread_create(&t, NULL, hold_the_loader, NULL), 0);
    while (!atomic_load(&within))
        usleep(1000);
    return t;
}

static void end_to_hold(pthread_t t) {
    atomic_store(&leave, true);
    pthread_join(t, NULL);
}

static atomic_bool captured;

/* In a thread of its own: the first capture, and of frames that nobody has seen. */
static void *capture_new_frames(void *arg) {
    void (*visits)(case_visit *) = *(void (**)(case_visit *))arg;
    visits(visit);
    atomic_store(&captured, true);
    return NULL;
}

static void the_loaders_lock_is_not_waited_for(void **state) {
    (void)state;
    pthread_t holder = begin_to_hold();
    pthread_t t;
    void (*visits)(case_visit *) = case_other_place_same_alignment;
    assert_int_equal(pthread_create(&t, NULL, capture_new_frames, &visits), 0);
    for (int i = 0; i < PATIENCE * 100 && !atomic_load(&captured); i++)
        usleep(10000);
    bool done = atomic_load(&captured);
    end_to_hold(holder);
    pthread_join(t, NULL);
    assert_true(done);
}

/* A child that captures what has not been captured before. */
static void assert_child_captures(void) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(PATIENCE);
        capture_fork_child();
        case_dead_rbp_comes_alive(visit);
        struct capture_verified v = capture_verified();
        _exit(capture_state() == CAPTURE_READY && v.captures != 0 && v.differences == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_forked_child_does_not_wait_for_a_thread_that_is_no_more(void **state) {
    (void)state;
    if (SANITIZED)
        skip();
    pthread_t holder = begin_to_hold();
    for (int i = 0; i < 5; i++)
        assert_child_captures();
    end_to_hold(holder);
}

/* call_plugin captures from a plugin so many times; returns where it was, 0: it could not be had.
 */
static uint64_t call_plugin(const char *path, unsigned times) {
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    union {
        void *symbol;
        void (*call)(case_visit *);
    } f = {handle != NULL ? dlsym(handle, "reload_call") : NULL};
    for (unsigned i = 0; i < times && f.symbol != NULL; i++)
        f.call(visit);
    if (handle != NULL)
        dlclose(handle);
    return (uintptr_t)f.symbol;
}

/* A thread for which there is always something new, so that it is looking it up most of the time.
 */
static atomic_uint turns;
static atomic_bool enough;

static void *take_turns(void *arg) {
    while (!atomic_load(&enough)) {
        if (call_plugin(PLUGIN_A, 1) == 0 || call_plugin(PLUGIN_B, 1) == 0)
            abort();
        atomic_fetch_add(&turns, 1);
    }
    return arg;
}

static void a_forked_child_does_not_wait_for_one_that_was_looking_something_up(void **state) {
    (void)state;
    if (SANITIZED)
        skip();
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, take_turns, NULL), 0);
    for (int i = 0; i < 40; i++) {
        unsigned before = atomic_load(&turns);
        while (atomic_load(&turns) == before)
            sched_yield();
        assert_child_captures();
    }
    atomic_store(&enough, true);
    pthread_join(t, NULL);
}

/* Two plugins take turns at the same address. */
static void reload(const char *a, const char *b) {
    const char *const paths[2] = {a, b};
    uint64_t address = 0;
    unsigned same = 0;
    struct capture_verified before = capture_verified();
    for (volatile int i = 0; i < 20; i++) {
        uint64_t now = call_plugin(paths[i % 2], 2);
        assert_true(now != 0);
        same += now == address;
        address = now;
    }
    struct capture_verified after = capture_verified();
    assert_int_equal(after.captures - before.captures, 40);
    assert_int_equal(after.differences, before.differences);
    if (!SANITIZED)
        assert_true(same > 10); /* or nothing has been tested */
}

static void a_library_in_the_place_of_another_is_told_from_it(void **state) {
    (void)state;
    reload(PLUGIN_A, PLUGIN_B);
}

static void also_without_build_ids(void **state) {
    (void)state;
    reload(PLUGIN_C, PLUGIN_D);
}

static uint64_t counter(const char *name) {
    struct prof_counter c;
    for (unsigned i = 0; prof_counter(i, &c); i++) {
        if (strcmp(c.name, name) == 0)
            return c.value;
    }
    return 0;
}

static void on_alarm(int sig) {
    (void)sig;
    struct prof_sample s;
    if (sample(&s) && s.site == 0)
        abort(); /* labelled, if need be: never nothing */
}

static void sample_within(void) {
    struct prof_sample s;
    if (!sample(&s) || s.site == 0)
        abort();
}

/* A signal in so many microseconds, once: one that repeats might leave no time for anything else.
 */
static void interrupt_in(unsigned us) {
    const struct itimerval once = {.it_value = {.tv_usec = us}};
    setitimer(ITIMER_REAL, &once, NULL);
}

/* Signals come at any point of a capture, of its interning too: at some, the recorder is at work.
 */
static void a_signal_handler_that_allocates_in_a_capture_gets_a_label(void **state) {
    (void)state;
    struct sigaction a = {.sa_handler = on_alarm};
    uint64_t nested = counter("recorder.nested");
    uint64_t differences = counter("recorder.verify.differences");
    unsigned i = 0;
    sample_within(); /* the heap itself is not what is tested: make it */
    sigaction(SIGALRM, &a, NULL);
    while (i < 2000 || (counter("recorder.nested") < nested + 20 && i < 100000)) {
        interrupt_in(1 + i % 100);
        case_recursion(sample_within, i++ % 100);
    }
    interrupt_in(0);
    assert_true(counter("recorder.nested") > nested);
    assert_int_equal(counter("recorder.verify.differences"), differences);
}

/* A signal's handler that has interrupted the recorder forks: in the child it is still interrupted.
 */
static void a_child_forked_within_a_capture_is_within_it(void **state) {
    (void)state;
    struct mcache *c = own_mcache();
    for (uint32_t busy = 0; busy < 2; busy++) {
        atomic_store(&c->in_recorder, busy);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            prof_fork_prepare();
            prof_fork_child();
            _exit(atomic_load(&c->in_recorder) == busy ? 0 : 1);
        }
        atomic_store(&c->in_recorder, 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

static void *sample_deeply(void *arg) {
    (void)arg;
    for (unsigned depth = 0; depth < 2000; depth += 97)
        case_recursion(sample_within, depth);
    return NULL;
}

/* The stack of a signal's handler, which is as small as 8 KiB, of which the kernel takes 3.5. */
static struct {
    char bytes[64 * 1024] __attribute__((aligned(4096)));
    uintptr_t handler;
} other_stack;

static void visit_on_other_stack(int sig) {
    (void)sig;
    other_stack.handler = (uintptr_t)__builtin_frame_address(0);
    visit();
}

static void raise_it(void) {
    raise(SIGUSR2);
}

/* Of frames that nobody has seen.  Verifying is a part of it. */
static void a_capture_needs_less_than_4_kib_of_stack(void **state) {
    (void)state;
    if (SANITIZED)
        skip();
    const stack_t stack = {.ss_sp = other_stack.bytes, .ss_size = sizeof other_stack.bytes};
    const struct sigaction a = {.sa_handler = visit_on_other_stack, .sa_flags = SA_ONSTACK};
    visit(); /* makes what the thread needs */
    assert_int_equal(sigaltstack(&stack, NULL), 0);
    assert_int_equal(sigaction(SIGUSR2, &a, NULL), 0);
    case_recursion(raise_it, 3);
    const char *lowest = other_stack.bytes;
    while (*lowest == 0)
        lowest++;
    assert_in_range(other_stack.handler - (uintptr_t)lowest, 1, 4096);
}

/* At the greatest depth; verifying takes more, and is not counted here. */
static void a_thread_needs_less_than_64_kib(void **state) {
    (void)state;
    pthread_t t;
    uint64_t before = atomic_load(&mem_stats[MEM_RECORDER].used);
    assert_int_equal(pthread_create(&t, NULL, sample_deeply, NULL), 0);
    pthread_join(t, NULL);
    uint64_t used = atomic_load(&mem_stats[MEM_RECORDER].used) - before;
    assert_in_range(used, 1, 64 * 1024);
}

static void visit_from_elsewhere(void) {
    visit();
    __asm__ volatile(""); /* no tail call */
}

/* What was read there once is neither compared nor read again. */
static void a_frame_in_memory_that_goes_away_is_not_read(void **state) {
    (void)state;
    const size_t n = 1 << 20;
    for (unsigned other = 0; other < 2; other++) {
        char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(p != MAP_FAILED);
        for (volatile unsigned i = 0; i < 4; i++) {
            if (i == 2)
                assert_int_equal(munmap(p, n), 0);
            case_wrong_frame(i >= 2 && other != 0 ? visit_from_elsewhere : visit, p + n / 2);
        }
    }
}

/* In the build with the sanitizer for undefined behaviour, which there is none of. */
static void unwind_information_may_have_any_numbers(void **state) {
    (void)state;
    struct capture_verified before = capture_verified();
    case_overflow(visit);
    struct capture_verified after = capture_verified();
    assert_int_equal(after.captures - before.captures, 1);
    assert_int_equal(after.differences, before.differences);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loaders_lock_is_not_waited_for),
        cmocka_unit_test(a_forked_child_does_not_wait_for_a_thread_that_is_no_more),
        cmocka_unit_test(a_forked_child_does_not_wait_for_one_that_was_looking_something_up),
        cmocka_unit_test(a_library_in_the_place_of_another_is_told_from_it),
        cmocka_unit_test(also_without_build_ids),
        cmocka_unit_test(a_signal_handler_that_allocates_in_a_capture_gets_a_label),
        cmocka_unit_test(a_thread_needs_less_than_64_kib),
        cmocka_unit_test(a_capture_needs_less_than_4_kib_of_stack),
        cmocka_unit_test(a_frame_in_memory_that_goes_away_is_not_read),
        cmocka_unit_test(a_child_forked_within_a_capture_is_within_it),
        cmocka_unit_test(unwind_information_may_have_any_numbers),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
