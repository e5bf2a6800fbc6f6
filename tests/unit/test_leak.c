/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The leak check of a whole process: what a copy finds while the process goes on, what the process
 * has of it (a short pause), and what is said where the copy is refused.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "heap/malloc.h"
#include "leak/leak.h"
#include "thread_state.h"

enum {
    OBJECTS = 400,
    THREADS = 4,
    LARGE_ROUNDS = 20,
    UNSTOPPED_ROUNDS = 10,
    UNSTOPPED_OBJECTS = 64
};

/* Objects that the test looks at; known by their complements only. */
static uintptr_t hidden[OBJECTS];
static void *volatile kept[OBJECTS];

/* What a copy says. */
struct words {
    uint64_t nlive, nreached, nleaks, ndirect, known, longest_ns, nstopped, mark_ns;
    uint32_t nmissing, missing;
};

static struct mcache *self(void) {
    struct mcache *c = mcache_self != &mcache0 ? mcache_self : mcache_attach();
    c->next_sample = INT64_MAX; /* there is no recorder here */
    return c;
}

static void *allocate(size_t n) {
    void *p = heap_alloc(self(), n, false);
    assert_non_null(p);
    return memset(p, 0, n);
}

static void release(void *p) {
    if (!heap_free_fast(p))
        assert_int_equal(heap_free_slow((uintptr_t)p), FREE_OK);
}

static void fill_words(struct words *w, const struct leak_findings *f) {
    *w = (struct words){.nlive = f->mark.nlive,
                        .nreached = f->mark.nreached,
                        .nleaks = f->leaks.n,
                        .ndirect = f->leaks.ndirect,
                        .longest_ns = f->pause.longest_ns,
                        .nstopped = f->pause.nstopped,
                        .mark_ns = f->mark_ns,
                        .nmissing = f->pause.nmissing,
                        .missing = f->pause.missing[0]};
    for (size_t i = 0; i < f->leaks.n; i++)
        for (unsigned k = 0; k < OBJECTS; k++)
            w->known += f->leaks.all[i].address == ~hidden[k];
}

static int say(void *arg, const struct leak_findings *f, int fd) {
    struct words w;
    (void)arg;
    fill_words(&w, f);
    return fork_copy_write(fd, &w, sizeof w) ? 0 : 1;
}

static int note(void *arg, const struct leak_findings *f, int fd) {
    assert_int_equal(fd, -1);
    fill_words(arg, f);
    return 7;
}

static const struct leak_options usual = {.mark = {.interior = true}, .mapped = true};

/* The check is made by a thread with a descriptor table of its own. */
struct request {
    struct leak_options options;
    struct leak_check check;
    enum fork_copy_end end;
    int result;
    struct words words;
    long got;
};

static int child_may_end[2] = {-1, -1}; /* a pipe, see hold_and_wait_for_child */

static void *check(void *arg) {
    struct request *q = arg;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    (void)unshare(CLONE_FILES); /* where a filter refuses it, without */
    const struct leak_report report = {
        .run = q->options.in_place ? note : say, .arg = &q->words, .keep = -1};
    q->check = leak_begin(&q->options, &report);
    if (child_may_end[1] != -1) /* the copy waits for its parent */
        assert_int_equal(write(child_may_end[1], "", 1), 1);
    if (q->check.error != LEAK_OK)
        return NULL;
    if (!q->options.in_place)
        q->got = fork_copy_read(&q->check.copy, &q->words, sizeof q->words, 60000);
    q->end = leak_end(&q->check, false, &q->result);
    return NULL;
}

static void run(struct request *q) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, check, q), 0);
    pthread_join(thread, NULL);
}

static gm_noinline void make_objects(unsigned nkept) {
    for (unsigned i = 0; i < OBJECTS; i++) {
        void **p = allocate(16 + i * 8);
        hidden[i] = ~(uintptr_t)p;
        if (i < nkept)
            kept[i] = p;
        else if (i % 4 != 0) /* three of four hang on the fourth */
            *(void **)~hidden[i - 1] = p;
    }
}

static gm_noinline void free_objects(void) {
    for (unsigned i = 0; i < OBJECTS; i++) {
        release((void *)~hidden[i]);
        kept[i] = NULL;
    }
}

/* Stale words explain what a conservative mark keeps: they are taken away, those in vector
 * registers too. */
static gm_noinline void wipe_stack(void) {
    volatile char room[16384];
    for (size_t i = 0; i < sizeof room; i++)
        room[i] = 0;
    __asm__ volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm1, %%xmm1\n\tpxor %%xmm2, %%xmm2\n\t"
                     "pxor %%xmm3, %%xmm3\n\tpxor %%xmm4, %%xmm4\n\tpxor %%xmm5, %%xmm5\n\t"
                     "pxor %%xmm6, %%xmm6\n\tpxor %%xmm7, %%xmm7\n\tpxor %%xmm8, %%xmm8\n\t"
                     "pxor %%xmm9, %%xmm9\n\tpxor %%xmm10, %%xmm10\n\tpxor %%xmm11, %%xmm11\n\t"
                     "pxor %%xmm12, %%xmm12\n\tpxor %%xmm13, %%xmm13\n\tpxor %%xmm14, %%xmm14\n\t"
                     "pxor %%xmm15, %%xmm15" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

/* The kept ones stand in an object that this thread's stack keeps, as the program's own data are
 * the library's in this test. */
static void with_objects(struct request *q, unsigned nkept) {
    void *volatile *list = allocate(sizeof kept);
    make_objects(nkept);
    for (unsigned i = 0; i < OBJECTS; i++)
        list[i] = kept[i];
    wipe_stack();
    run(q);
    release((void *)list);
    free_objects();
}

static void test_a_copy_finds_what_is_lost_and_nothing_else(void **state) {
    (void)state;
    struct request q = {.options = usual};
    with_objects(&q, 200);
    assert_int_equal(q.check.error, LEAK_OK);
    assert_int_equal(q.end, FORK_COPY_DONE);
    assert_int_equal(q.result, 0);
    assert_int_equal(q.got, sizeof q.words);
    assert_int_equal(q.words.known, 200);
    assert_int_equal(q.words.nleaks, 200);
    assert_int_equal(q.words.ndirect, 50);
    assert_int_equal(q.words.nlive, OBJECTS + 1);
    assert_int_equal(q.words.nmissing, 0);
    assert_true(q.words.mark_ns > 0);
    /* Who gets no processor in time is not waited for, and has no pause. */
    assert_int_equal(q.words.longest_ns > 0, q.words.nstopped > 0);
}

static void test_in_place_the_same_is_found(void **state) {
    (void)state;
    struct request q = {.options = usual};
    q.options.in_place = true;
    with_objects(&q, 100);
    assert_int_equal(q.check.error, LEAK_OK);
    assert_int_equal(q.result, 7);
    assert_int_equal(q.words.known, 300);
    assert_int_equal(q.words.nleaks, 300);
}

static _Atomic bool over;
static _Atomic uint64_t turns;

/* Allocates, moves pointers about, and frees. */
static void *work(void *arg) {
    void *mine[64] = {NULL};
    (void)arg;
    for (unsigned i = 0; !over; i++) {
        void **slot = &mine[i % 64];
        if (*slot != NULL)
            release(*slot);
        *slot = allocate(24 + i % 2000);
        void *p = mine[i * 7 % 64];
        mine[i * 7 % 64] = mine[i * 13 % 64];
        mine[i * 13 % 64] = p;
        turns++;
    }
    for (unsigned i = 0; i < 64; i++)
        if (mine[i] != NULL)
            release(mine[i]);
    return NULL;
}

static void test_threads_at_work_lose_nothing_and_go_on(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    over = false;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
    for (int round = 0; round < 20; round++) {
        struct request q = {.options = usual};
        uint64_t before = turns;
        run(&q);
        assert_int_equal(q.check.error, LEAK_OK);
        assert_int_equal(q.result, 0);
        assert_int_equal(q.words.nmissing, 0);
        /* what a thread has just taken, or is about to free, is in a register at least */
        assert_int_equal(q.words.nleaks, 0);
        while (turns == before)
            sched_yield();
    }
    over = true;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* The same with objects that are spans of their own, of which each is new or kept for a while. */
static void *work_large(void *arg) {
    void *mine[16] = {NULL};
    (void)arg;
    for (unsigned i = 0; !over; i++) {
        void **slot = &mine[i % 16];
        if (*slot != NULL)
            release(*slot);
        size_t n = 33000 + i % 100 * 9001 + (i % 50 == 0) * 1500000;
        *slot = i % 16 == 0 ? heap_alloc_zeroed(self(), n, false) : heap_alloc(self(), n, false);
        assert_non_null(*slot);
        turns++;
    }
    for (unsigned i = 0; i < 16; i++)
        if (mine[i] != NULL)
            release(mine[i]);
    return NULL;
}

static void test_threads_at_work_on_large_objects_lose_nothing(void **state) {
    pthread_t threads[THREADS];
    (void)state;
    over = false;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_large, NULL), 0);
    for (int round = 0; round < LARGE_ROUNDS; round++) {
        struct request q = {.options = usual};
        uint64_t before = turns;
        run(&q);
        assert_int_equal(q.check.error, LEAK_OK);
        assert_int_equal(q.words.nleaks, 0);
        while (turns == before)
            sched_yield();
    }
    over = true;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* Objects that are spans of their own come and go, by a thread that can't be stopped, while the
 * others are led to by them. */
static void *work_unstopped(void *arg) {
    uint64_t all = ~UINT64_C(0);
    (void)arg;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8); /* past libc */
    for (unsigned i = 0; !over; i++) {
        unsigned at = i * 79 % UNSTOPPED_OBJECTS;
        if (kept[at] != NULL)
            release(kept[at]);
        void **p = heap_alloc(self(), 1500000 + i % 100 * 9001, false);
        assert_non_null(p);
        p[0] = kept[(at + 1) % UNSTOPPED_OBJECTS];
        kept[at] = p;
        turns++;
    }
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (kept[i] != NULL)
            release(kept[i]);
        kept[i] = NULL;
    }
    return NULL;
}

static void test_in_place_a_thread_that_does_not_stop_does_no_harm(void **state) {
    pthread_t thread;
    (void)state;
    over = false;
    turns = 0;
    assert_int_equal(pthread_create(&thread, NULL, work_unstopped, NULL), 0);
    while (turns == 0) /* until it has blocked its signals */
        sched_yield();
    for (int round = 0; round < UNSTOPPED_ROUNDS; round++) {
        struct request q = {.options = usual};
        uint64_t before = turns;
        q.options.in_place = true;
        run(&q);
        assert_int_equal(q.check.error, LEAK_OK);
        assert_int_equal(q.words.nmissing, 1);
        while (turns == before)
            sched_yield();
    }
    over = true;
    pthread_join(thread, NULL);
}

/* Threads that have the last lost object's address in a vector register and nowhere else. */
static _Atomic int ready;
static _Atomic pid_t holder;

#define HIDDEN_INTO_XMM9                                                                           \
    "movq %0, %%rax\n\tnotq %%rax\n\tmovq %%rax, %%xmm9\n\txorl %%eax, %%eax\n\t"

static void *hold_and_wait(void *arg) {
    (void)arg;
    holder = gettid();
    __asm__ volatile(HIDDEN_INTO_XMM9 ::"m"(hidden[OBJECTS - 1]) : "rax", "xmm9", "cc");
    ready = 1;
    for (;;)
        pause();
    return NULL;
}

static void *hold_and_spin(void *arg) {
    (void)arg;
    holder = gettid();
    __asm__ volatile(HIDDEN_INTO_XMM9 "movl $1, %1\n\t"
                                      "1: pause\n\tcmpb $0, %2\n\tje 1b"
                     : "+m"(hidden[OBJECTS - 1]), "=m"(ready)
                     : "m"(over)
                     : "rax", "xmm9", "cc");
    return NULL;
}

/* Waits in the kernel, as in vfork, for a child that ends when it is told to, with the last
 * object's address in a register and nowhere else.  The child is a process of its own. */
static void *hold_and_wait_for_child(void *arg) {
    struct pollfd told = {.fd = child_may_end[0], .events = POLLIN};
    (void)arg;
    holder = gettid();
    ready = 1;
    __asm__ volatile("movq %0, %%rbx\n\tnotq %%rbx\n\t"
                     "movl $56, %%eax\n\tmovl $0x4000, %%edi\n\txorl %%esi, %%esi\n\t"
                     "xorl %%edx, %%edx\n\txorl %%r10d, %%r10d\n\txorl %%r8d, %%r8d\n\t"
                     "syscall\n\t" /* clone(CLONE_VFORK) */
                     "testl %%eax, %%eax\n\tjnz 1f\n\t"
                     "movl $7, %%eax\n\tmovq %1, %%rdi\n\tmovl $1, %%esi\n\t"
                     "movl $120000, %%edx\n\tsyscall\n\t" /* poll */
                     "movl $231, %%eax\n\txorl %%edi, %%edi\n\tsyscall\n\t"
                     "1:\n\txorl %%ebx, %%ebx"
                     :
                     : "m"(hidden[OBJECTS - 1]), "r"(&told)
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r10", "r11", "cc",
                       "memory");
    while (waitpid(-1, NULL, __WALL) < 0 && errno == EINTR) {
    }
    return NULL;
}

static uint32_t nmissing_beside, missing_beside; /* of the last check */
static unsigned lost_beside(void *(*run_thread)(void *)) {
    pthread_t thread;
    struct request q = {.options = usual};
    void *volatile *list = allocate(sizeof kept);
    make_objects(200);
    for (unsigned i = 0; i < OBJECTS; i++)
        list[i] = kept[i];
    ready = 0;
    over = false;
    assert_int_equal(pthread_create(&thread, NULL, run_thread, NULL), 0);
    while (!ready)
        usleep(1000);
    while (run_thread == hold_and_wait && thread_state(holder) != 'S')
        usleep(1000);
    while (run_thread == hold_and_wait_for_child && thread_state(holder) != 'D')
        usleep(1000);
    wipe_stack();
    run(&q);
    over = true;
    if (run_thread == hold_and_wait)
        pthread_cancel(thread);
    pthread_join(thread, NULL);
    release((void *)list);
    free_objects();
    assert_int_equal(q.check.error, LEAK_OK);
    nmissing_beside = q.words.nmissing;
    missing_beside = q.words.missing;
    return (unsigned)q.words.nleaks;
}

static void test_a_thread_that_waits_in_the_kernel_keeps_objects_and_is_not_missing(void **state) {
    (void)state;
    assert_int_equal(pipe(child_may_end), 0);
    unsigned lost = lost_beside(hold_and_wait_for_child);
    close(child_may_end[0]);
    close(child_may_end[1]);
    child_may_end[0] = child_may_end[1] = -1;
    assert_int_equal(lost, 199);
    assert_int_equal(nmissing_beside, 0);
    assert_int_equal(missing_beside, 0);
}

static void test_a_vector_register_keeps_objects_but_where_libc_waits(void **state) {
    (void)state;
    assert_int_equal(lost_beside(hold_and_spin), 199);
    assert_int_equal(lost_beside(hold_and_wait), 200);
}

static void test_a_copy_that_is_refused_is_told_and_changes_nothing(void **state) {
    (void)state;
    struct rlimit old, none = {0, 0};
    struct request q = {.options = usual};
    if (geteuid() == 0) {
        /* root is not limited */
        skip();
    }
    assert_int_equal(getrlimit(RLIMIT_NPROC, &old), 0);
    none.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NPROC, &none), 0);
    /* this thread itself: no new one may be made */
    const struct leak_report report = {.run = say, .keep = -1};
    q.check = leak_begin(&q.options, &report);
    setrlimit(RLIMIT_NPROC, &old);
    assert_int_equal(q.check.error, LEAK_COPY);
    assert_int_equal(q.check.detail, -EAGAIN);
    release(allocate(64)); /* no lock is held */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_copy_finds_what_is_lost_and_nothing_else),
        cmocka_unit_test(test_in_place_the_same_is_found),
        cmocka_unit_test(test_threads_at_work_lose_nothing_and_go_on),
        cmocka_unit_test(test_threads_at_work_on_large_objects_lose_nothing),
        cmocka_unit_test(test_in_place_a_thread_that_does_not_stop_does_no_harm),
        cmocka_unit_test(test_a_vector_register_keeps_objects_but_where_libc_waits),
        cmocka_unit_test(test_a_thread_that_waits_in_the_kernel_keeps_objects_and_is_not_missing),
        cmocka_unit_test(test_a_copy_that_is_refused_is_told_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
