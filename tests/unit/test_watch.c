/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Watches: whether a function's activation has gone on is known from the test itself, and compared
 * with what the watch says.
 *
 * A thread of the test plays the library's own: it calls watch_turn with a clock that the test
 * turns.  Whether the kernel lets us watch is found out by the test in its own way; where it does
 * not, every test checks that nothing is claimed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "prof/prof.h"
#include "prof/watch.h"
#include "random.h"
#include "sanitized.h"

#define SECOND UINT64_C(1000000000)

static uint64_t clock_ns = 1000 * SECOND;

/* slot_here is the address of the return address of the function that it stands in. */
#define slot_here() ((uint64_t)(uintptr_t)__builtin_frame_address(0) + 8)
#define not_inlined __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))
#if defined(__clang__)
#undef not_inlined
#define not_inlined __attribute__((noinline, disable_tail_calls))
#endif

static uint64_t counter(const char *name) {
    struct prof_counter c;
    for (unsigned i = 0; watch_counter(i, &c); i++)
        if (strcmp(c.name, name) == 0)
            return c.value;
    fail_msg("no counter %s", name);
    return 0;
}

/* has_filter: the library does not even try under a filter of system calls. */
static bool has_filter(void) {
    return prctl(PR_GET_SECCOMP) != 0;
}

/* kernel_watches tries it without the library: a write must change the event's count. */
static bool kernel_watches(void) {
    static volatile uint64_t word;
    struct perf_event_attr attr = {.type = PERF_TYPE_BREAKPOINT,
                                   .size = sizeof attr,
                                   .sample_period = 1,
                                   .exclude_kernel = 1,
                                   .exclude_hv = 1,
                                   .bp_type = HW_BREAKPOINT_W,
                                   .bp_addr = (uintptr_t)&word,
                                   .bp_len = 8};
    uint64_t count = 0;
    int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
    if (fd < 0)
        return false;
    word = 1;
    bool ok = read(fd, &count, sizeof count) == (ssize_t)sizeof count && count == 1;
    close(fd);
    return ok;
}

static bool allowed;

/* turn lets the library's thread look, an hour later: nothing is left of the bound. */
static void turn(void) {
    clock_ns += 3600 * SECOND;
    watch_turn(clock_ns);
}

/* ask_for notes the slot until it is watched; returns a ticket, or 0 where none can be had. */
static not_inlined uint32_t ask_for(uint64_t slot) {
    uint32_t ticket = watch_note(slot);
    if (ticket != 0)
        return ticket;
    turn();
    ticket = watch_note(slot);
    assert_int_equal(ticket != 0, allowed);
    return ticket;
}

static void assert_answer(uint32_t ticket, enum watch_answer expected) {
    assert_int_equal(watch_ask(ticket), allowed ? expected : WATCH_NONE);
}

/* ---- what a watch says -------------------------------------------------------------------- */

static void the_library_finds_out_whether_it_may(void **state) {
    volatile uint64_t word = 0;
    (void)state;
    assert_int_equal(watch_note((uintptr_t)&word), 0); /* not before it was started */
    watch_start();
    unsigned looks = 0; /* nothing is asked for */
    for (uint64_t next; (next = watch_turn(clock_ns)) != UINT64_MAX; clock_ns = next) {
        assert_in_range(next - clock_ns, SECOND / 50, SECOND);
        looks++;
    }
    assert_in_range(looks, 5, 10);
    assert_int_equal(counter("recorder.watch.refused"), 0);
    ask_for((uintptr_t)&word);
    assert_int_equal(counter("recorder.watch.refused"), !allowed);
    ask_for((uintptr_t)&word);
    assert_int_equal(counter("recorder.watch.refused"), !allowed); /* said once */
    assert_int_equal(counter("recorder.watch.armed"), allowed);
    if (!allowed)
        print_message("no watches here: only that nothing is claimed is tested\n");
}

static void each_write_is_seen_by_the_next_instruction(void **state) {
    volatile uint64_t word = 0;
    (void)state;
    uint32_t a = ask_for((uintptr_t)&word);
    uint32_t b = watch_note((uintptr_t)&word);
    assert_answer(a, WATCH_SILENT);
    word = 1;
    assert_answer(b, WATCH_FIRED);
    uint32_t c = watch_note((uintptr_t)&word);
    assert_int_equal(c != 0, allowed);
    assert_answer(c, WATCH_SILENT);
    ((volatile char *)&word)[7] = 1; /* a part of it is a write, too */
    assert_answer(c, WATCH_FIRED);
}

/* After its last write a watch sees nothing; that is not silence. */
static void a_spent_watch_claims_nothing_new(void **state) {
    volatile uint64_t word = 0;
    (void)state;
    uint32_t before = ask_for((uintptr_t)&word);
    for (unsigned i = 0; i < WATCH_HITS - 1; i++)
        word = i;
    uint32_t last = watch_note((uintptr_t)&word);
    assert_int_equal(last != 0, allowed);
    word = 1;
    assert_int_equal(watch_note((uintptr_t)&word), 0);
    for (unsigned i = 0; i < 100; i++)
        word = i;
    assert_int_equal(watch_note((uintptr_t)&word), 0);
    assert_answer(before, WATCH_FIRED);
    turn(); /* closes it, and opens another, which knows nothing of the tickets */
    word = 2;
    assert_answer(last, WATCH_FIRED);
    uint32_t anew = watch_note((uintptr_t)&word);
    assert_int_equal(anew != 0, allowed);
    assert_answer(last, WATCH_FIRED);
    assert_answer(anew, WATCH_SILENT);
}

/* The place of a watch is used again: its tickets are of no use then. */
static void a_ticket_ends_with_its_watch(void **state) {
    volatile uint64_t words[64] = {0};
    uint32_t tickets[64];
    (void)state;
    for (unsigned i = 0; i < 64; i++)
        tickets[i] = ask_for((uintptr_t)&words[i]);
    for (unsigned i = 0; i < 64 - WATCHES_A_THREAD; i++)
        assert_int_equal(watch_ask(tickets[i]), WATCH_NONE);
    for (unsigned i = 64 - WATCHES_A_THREAD; i < 64; i++)
        assert_answer(tickets[i], WATCH_SILENT);
}

static uint32_t noted;
static not_inlined void first_or_second(bool second) {
    if (!second)
        noted = ask_for(slot_here());
    assert_answer(noted, second ? WATCH_FIRED : WATCH_SILENT);
}

/* Two activations that nothing in memory tells from each other. */
static void a_call_from_the_same_place_is_another_activation(void **state) {
    (void)state;
    for (volatile int second = 0; second < 2; second++)
        first_or_second(second != 0);
}

static not_inlined void use_stack(unsigned n) {
    volatile char bytes[512];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)n;
    if (n != 0)
        use_stack(n - 1);
}

static jmp_buf back;
static volatile bool jumping = true;
static not_inlined void jump_out(unsigned n) {
    use_stack(3);
    if (n != 0)
        jump_out(n - 1);
    else if (jumping)
        longjmp(back, 1);
}

static not_inlined void go_on(void) {
    volatile uint32_t ticket = ask_for(slot_here());
    use_stack(20);
    if (setjmp(back) == 0)
        jump_out(10);
    raise(SIGUSR1);
    assert_answer(ticket, WATCH_SILENT);
}

static void on_signal(int sig) {
    (void)sig;
    use_stack(2);
}

static void an_activation_goes_on_through_calls_jumps_and_signals(void **state) {
    (void)state;
    signal(SIGUSR1, on_signal);
    go_on();
}

/* ---- random programs ---------------------------------------------------------------------- */

enum { DEPTH = 24, OUT = 64 };

/* What is known of a note: which activation it was of. */
static struct {
    uint32_t ticket;
    unsigned depth;
    uint64_t activation;
} out[OUT];
static uint64_t activation_at[DEPTH + 1], slot_at[DEPTH + 1], nactivations;
static uint64_t nsilent, nfired, nwrong;
static sigjmp_buf jump_at[DEPTH + 1];

static void note_some(struct random *r, unsigned depth) {
    unsigned k = random_below(r, depth + 1), i = random_below(r, OUT);
    uint32_t ticket = watch_note(slot_at[k]);
    if (ticket != 0) {
        out[i].ticket = ticket;
        out[i].depth = k;
        out[i].activation = activation_at[k];
    }
}

static void ask_some(struct random *r, unsigned depth) {
    unsigned i = random_below(r, OUT);
    if (out[i].ticket == 0 || out[i].depth > depth)
        return;
    bool same = out[i].activation == activation_at[out[i].depth];
    enum watch_answer a = watch_ask(out[i].ticket);
    nsilent += a == WATCH_SILENT;
    nfired += a == WATCH_FIRED;
    nwrong += (a == WATCH_SILENT && !same) || (a == WATCH_FIRED && same);
    out[i].ticket = 0;
}

static not_inlined void random_calls(struct random *r, unsigned depth) {
    activation_at[depth] = ++nactivations;
    slot_at[depth] = slot_here();
    sigsetjmp(jump_at[depth], 0);
    for (unsigned n = random_below(r, 6); n > 0; n--) {
        note_some(r, depth);
        ask_some(r, depth);
        unsigned what = random_below(r, 40);
        if (what == 0) {
            clock_ns += SECOND / 20;
            watch_turn(clock_ns);
        } else if (what == 1) {
            raise(SIGUSR1);
        } else if (what == 2) {
            siglongjmp(jump_at[random_below(r, depth + 1)], 1);
        } else if (depth < DEPTH) {
            random_calls(r, depth + 1);
        }
    }
}

static void no_answer_is_wrong_in_random_programs(void **state) {
    struct random r = {.state = 7};
    (void)state;
    for (int i = 0; i < 1000; i++)
        random_calls(&r, 0);
    print_message("%u activations, %u silent, %u fired\n", (unsigned)nactivations,
                  (unsigned)nsilent, (unsigned)nfired);
    assert_int_equal(nwrong, 0);
    assert_int_equal(nsilent > 100, allowed);
    assert_int_equal(nfired > 20, allowed);
}

/* ---- threads ------------------------------------------------------------------------------ */

static sem_t go, done;
static volatile uint64_t thread_slot;
static uint32_t thread_ticket;
static enum watch_answer thread_answer;

/* The second thread that runs this has the stack of the first, and maybe its number. */
static void *watch_and_wait(void *second) {
    volatile uint64_t word = 0;
    if (second != NULL) {
        bool same_place = thread_slot == (uintptr_t)&word;
        thread_answer = watch_ask(thread_ticket);
        return same_place && watch_note((uintptr_t)&word) == 0 ? second : NULL;
    }
    thread_slot = (uintptr_t)&word;
    watch_note((uintptr_t)&word);
    sem_post(&done);
    sem_wait(&go); /* the main thread arms */
    thread_ticket = watch_note((uintptr_t)&word);
    sem_post(&done);
    sem_wait(&go); /* it asks with our ticket */
    thread_answer = watch_ask(thread_ticket);
    return NULL;
}

static void a_watch_is_its_threads_alone(void **state) {
    pthread_t t;
    void *ret = NULL;
    (void)state;
    turn(); /* what others have asked for is done */
    sem_init(&go, 0, 0);
    sem_init(&done, 0, 0);
    pthread_create(&t, NULL, watch_and_wait, NULL);
    sem_wait(&done);
    turn();
    sem_post(&go);
    sem_wait(&done);
    assert_int_equal(thread_ticket != 0, allowed);
    assert_int_equal(watch_note(thread_slot), 0);
    assert_int_equal(watch_ask(thread_ticket), WATCH_NONE);
    sem_post(&go);
    pthread_join(t, NULL);
    assert_int_equal(thread_answer, allowed ? WATCH_SILENT : WATCH_NONE);
    /* No turn in between: the watch is still there. */
    pthread_create(&t, NULL, watch_and_wait, &go);
    pthread_join(t, &ret);
    assert_int_equal(thread_answer, WATCH_NONE);
    assert_non_null(ret);
    turn();
}

static atomic_bool stop;
static _Atomic uint64_t nmoves;
static _Atomic int mover_tid;
static void *move_about(void *arg) {
    cpu_set_t all = *(cpu_set_t *)arg, one;
    for (int cpu = 0; !atomic_load(&stop); cpu = (cpu + 1) % CPU_SETSIZE) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(atomic_load(&mover_tid), sizeof one, &one);
        atomic_fetch_add(&nmoves, 1);
    }
    return NULL;
}

static void a_watch_goes_with_its_thread_to_other_processors(void **state) {
    cpu_set_t all;
    pthread_t t;
    volatile uint64_t word = 0;
    (void)state;
    sched_getaffinity(0, sizeof all, &all);
    atomic_store(&mover_tid, (int)gettid());
    pthread_create(&t, NULL, move_about, &all);
    for (unsigned i = 0; i < 50; i++) {
        uint32_t ticket = ask_for((uintptr_t)&word);
        for (uint64_t n = atomic_load(&nmoves); atomic_load(&nmoves) < n + 3;)
            sched_yield();
        assert_answer(ticket, WATCH_SILENT);
        word = i;
        assert_answer(ticket, WATCH_FIRED);
    }
    atomic_store(&stop, true);
    pthread_join(t, NULL);
    sched_setaffinity(0, sizeof all, &all);
}

/* Where another thread may run, too. */
static void a_stack_that_is_not_the_threads_own_is_not_watched(void **state) {
    uint64_t *elsewhere = calloc(1, 65536);
    uint64_t foreign = counter("recorder.watch.foreign");
    (void)state;
    assert_int_equal(watch_note((uintptr_t)&elsewhere[100]), 0);
    turn();
    assert_int_equal(watch_note((uintptr_t)&elsewhere[100]), 0);
    turn();
    assert_int_equal(counter("recorder.watch.foreign"), foreign + (allowed ? 2 : 0));
    free(elsewhere);
}

/* ---- the bound ---------------------------------------------------------------------------- */

/* Watches are asked for without end, and each is hit as soon as it is there. */
static void writes_and_watches_are_bounded_in_any_second(void **state) {
    enum { TURNS = 500 };
    static uint64_t sum[TURNS + 1];
    volatile uint64_t words[8] = {0};
    (void)state;
    clock_ns += 3600 * SECOND;
    uint64_t before = counter("recorder.watch.armed") + counter("recorder.watch.hits");
    for (unsigned i = 0; i < TURNS; i++) {
        for (unsigned k = 0; k < 8; k++) {
            watch_note((uintptr_t)&words[k]);
            words[k] = k;
        }
        clock_ns += SECOND / 50;
        watch_turn(clock_ns);
        sum[i + 1] = counter("recorder.watch.armed") + counter("recorder.watch.hits") - before;
        uint64_t second_ago = i >= 50 ? sum[i - 49] : 0;
        assert_in_range(sum[i + 1] - second_ago, 0, WATCH_RATE);
    }
    assert_int_equal(sum[TURNS] >= (TURNS / 50 - 1) * WATCH_RATE * 3 / 4, allowed);
}

/* Silent ones are kept, but for one that was not used, and no more of them than may be. */
static void a_thread_has_so_many_watches(void **state) {
    volatile uint64_t words[8] = {0};
    unsigned n = 0;
    (void)state;
    turn();
    for (unsigned i = 0; i < 100; i++) {
        n = 0;
        for (unsigned k = 0; k < 8; k++)
            n += watch_ask(watch_note((uintptr_t)&words[k])) == WATCH_SILENT;
        assert_in_range(n, 0, WATCHES_A_THREAD);
        clock_ns += SECOND / 50;
        watch_turn(clock_ns);
    }
    assert_int_equal(n, allowed ? WATCHES_A_THREAD : 0);
}

/* ---- children and descriptors ------------------------------------------------------------- */

/* in_child runs a function in a child, which inherits the memory, and no fork handlers. */
static int in_child(int (*run)(void *), void *arg) {
    int status;
    pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(run(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFSIGNALED(status));
    return WEXITSTATUS(status);
}

struct out_ticket {
    volatile uint64_t *word;
    uint32_t ticket;
};

static int use_inherited(void *arg) {
    struct out_ticket *o = arg;
    if (watch_ask(o->ticket) != WATCH_NONE || watch_note((uintptr_t)o->word) != 0)
        return 1;
    clock_ns += SECOND;
    watch_turn(clock_ns); /* as if the library's thread had not been told */
    if (watch_note((uintptr_t)o->word) != 0)
        return 2;
    watch_start();
    watch_note((uintptr_t)o->word);
    clock_ns += SECOND;
    watch_turn(clock_ns);
    uint32_t mine = watch_note((uintptr_t)o->word);
    if ((mine != 0) != allowed || watch_ask(o->ticket) != WATCH_NONE)
        return 3;
    if (allowed && watch_ask(mine) != WATCH_SILENT)
        return 4;
    *o->word = 1;
    return allowed && watch_ask(mine) != WATCH_FIRED ? 5 : 0;
}

static void a_child_has_no_watches_until_it_starts_its_own(void **state) {
    volatile uint64_t word = 0;
    struct out_ticket o = {&word, ask_for((uintptr_t)&word)};
    (void)state;
    assert_int_equal(in_child(use_inherited, &o), 0);
    assert_answer(o.ticket, WATCH_SILENT); /* a copy was written */
}

/* A child of vfork is in the same memory, and the watch does not see it. */
static void a_child_of_vfork_is_told_nothing(void **state) {
    volatile uint64_t word = 0;
    volatile uint32_t ticket = ask_for((uintptr_t)&word), noted_there = 0;
    volatile int answer = -1;
    (void)state;
    if (SANITIZED)
        skip(); /* which make it a fork */
    pid_t pid = vfork();
    if (pid == 0) {
        answer = (int)watch_ask(ticket);
        noted_there = watch_note((uintptr_t)&word);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(answer, WATCH_NONE);
    assert_int_equal(noted_there, 0);
    turn(); /* with its request, which leads nowhere */
    assert_answer(ticket, WATCH_SILENT);
}

static unsigned count_descriptors(void) {
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static sem_t may_turn, has_turned;
static void *play_library(void *arg) {
    (void)arg;
    if (syscall(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE) != 0)
        return NULL;
    watch_start();
    for (;;) {
        sem_wait(&may_turn);
        clock_ns += 3600 * SECOND;
        watch_turn(clock_ns);
        sem_post(&has_turned);
    }
}

/* Last, as the thread stays.  The program closes all it has, and execs, with watches set up. */
static void no_descriptor_is_the_programs(void **state) {
    volatile uint64_t word = 0;
    pthread_t t;
    (void)state;
    unsigned before = count_descriptors();
    sem_init(&may_turn, 0, 0);
    sem_init(&has_turned, 0, 0);
    assert_int_equal(pthread_create(&t, NULL, play_library, NULL), 0);
    watch_note((uintptr_t)&word);
    sem_post(&may_turn);
    sem_wait(&has_turned);
    uint32_t ticket = watch_note((uintptr_t)&word);
    assert_int_equal(ticket != 0, allowed);
    assert_int_equal(count_descriptors(), before);
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/true", "true", NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    assert_answer(ticket, WATCH_SILENT);
    word = 1;
    assert_answer(ticket, WATCH_FIRED);
    sem_post(&may_turn);
    sem_wait(&has_turned);
}

/* ---- refusal ------------------------------------------------------------------------------ */

/* forbid kills the process, all threads, at perf_event_open. */
static bool forbid(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_perf_event_open, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof code / sizeof code[0], code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

/* arg: the filter comes when watches are there already. */
static int live_under_filter(void *arg) {
    volatile uint64_t words[2] = {0};
    uint64_t armed = counter("recorder.watch.armed");
    if (arg == NULL && !forbid())
        return 77;
    watch_start();
    watch_note((uintptr_t)&words[0]);
    watch_turn(clock_ns += SECOND);
    if (arg != NULL && !forbid())
        return 77;
    uint32_t ticket = watch_note((uintptr_t)&words[0]);
    if ((ticket != 0) != (allowed && arg != NULL))
        return 1;
    watch_note((uintptr_t)&words[1]);
    watch_turn(clock_ns += SECOND);
    watch_turn(clock_ns += SECOND);
    if (watch_note((uintptr_t)&words[1]) != 0 || watch_ask(ticket) != WATCH_NONE)
        return 2;
    if (counter("recorder.watch.refused") != 1)
        return 3;
    return counter("recorder.watch.armed") == armed + (allowed && arg != NULL) ? 0 : 4;
}

static void a_filter_of_system_calls_is_not_tried_out(void **state) {
    (void)state;
    if (!allowed)
        skip(); /* it has been refused, or the filter is there already */
    int early = in_child(live_under_filter, NULL), late = in_child(live_under_filter, "late");
    if (early == 77 || late == 77)
        skip();
    assert_int_equal(early, 0);
    assert_int_equal(late, 0);
}

int main(void) {
    allowed = kernel_watches() && !has_filter();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_finds_out_whether_it_may),
        cmocka_unit_test(each_write_is_seen_by_the_next_instruction),
        cmocka_unit_test(a_spent_watch_claims_nothing_new),
        cmocka_unit_test(a_ticket_ends_with_its_watch),
        cmocka_unit_test(a_call_from_the_same_place_is_another_activation),
        cmocka_unit_test(an_activation_goes_on_through_calls_jumps_and_signals),
        cmocka_unit_test(no_answer_is_wrong_in_random_programs),
        cmocka_unit_test(a_watch_is_its_threads_alone),
        cmocka_unit_test(a_watch_goes_with_its_thread_to_other_processors),
        cmocka_unit_test(a_stack_that_is_not_the_threads_own_is_not_watched),
        cmocka_unit_test(writes_and_watches_are_bounded_in_any_second),
        cmocka_unit_test(a_thread_has_so_many_watches),
        cmocka_unit_test(a_child_has_no_watches_until_it_starts_its_own),
        cmocka_unit_test(a_child_of_vfork_is_told_nothing),
        cmocka_unit_test(a_filter_of_system_calls_is_not_tried_out),
        cmocka_unit_test(no_descriptor_is_the_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
