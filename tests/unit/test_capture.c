/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capture: the frames are those of the program, exactly, and nothing else in the process changes.
 * The recorder is in this executable, so the "program" whose stack is captured is a shared library
 * (capture_program.c): frames of the recorder's own object are dropped.
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "capture_program.h"
#include "capture_thread.h"
#include "gomalloc/image.h"
#include "prof/capture.h"

#define DEPTH 64

static const char *unwinder; /* the one under test */
#define MAXFD 256

/* The last capture, and what glibc's backtrace() says at the same place. */
static _Thread_local struct capture_self self;
static _Thread_local uint64_t buf[DEPTH];
static _Thread_local uint64_t *got; /* the frames end at buf + DEPTH, so known ones are in place */
static _Thread_local unsigned ngot;
static _Thread_local uint32_t flags;
static _Thread_local void *glibc[DEPTH + CAPTURE_SLACK];
static _Thread_local int nglibc;

/* What the recorder does: frames that are known are those of the capture before. */
static __attribute__((noinline)) void take(void) {
    struct capture_stack s = {.n = 0};
    if (self.pcs == NULL && capture_state() == CAPTURE_READY)
        assert_true(capture_self_init(&self));
    capture_take(&self, &s);
    assert_true(s.n <= DEPTH && s.known <= s.n);
    got = buf + DEPTH - s.n;
    if (s.n != 0)
        memcpy(got, s.pcs, (s.n - s.known) * sizeof *got);
    ngot = s.n;
    flags = s.flags;
}

static __attribute__((noinline)) void visit(struct program_run *run) {
    take();
    nglibc = backtrace(glibc, DEPTH + CAPTURE_SLACK);
    run->pcs[run->n++] = (uintptr_t)__builtin_return_address(0);
}

static bool fd_is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

static void note_open_fds(bool *open) {
    for (int fd = 0; fd < MAXFD; fd++)
        open[fd] = fd_is_open(fd);
}

/* First of all tests: it is what loads the unwinder. */
static void loading_opens_no_descriptors_and_keeps_errno(void **state) {
    (void)state;
    static bool before[MAXFD];
    static bool after[MAXFD];
    const struct capture_options o = {.backend = capture_find(unwinder), .depth = DEPTH};
    capture_configure(&o);
    assert_int_equal(capture_state(), CAPTURE_OFF);
    assert_string_equal(capture_name(), "none");
    note_open_fds(before);
    errno = 77;
    capture_load();
    assert_int_equal(errno, 77);
    note_open_fds(after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(capture_state(), CAPTURE_READY);
    assert_string_equal(capture_name(), unwinder);
}

static void unknown_unwinders_are_not_found(void **state) {
    (void)state;
    assert_null(capture_find("gcc"));
    assert_null(capture_find(""));
}

/* The frames noted by the program are the innermost; outside of them, glibc must agree. */
static void assert_exact(const uint64_t *want, unsigned nwant) {
    assert_true(ngot >= nwant);
    for (unsigned i = 0; i < nwant; i++)
        assert_int_equal(got[i], want[i]);
    unsigned g = 0;
    while (g < (unsigned)nglibc && (uintptr_t)glibc[g] != want[0])
        g++;
    assert_true(g < (unsigned)nglibc);
    if (ngot < DEPTH)
        assert_int_equal(ngot, (unsigned)nglibc - g);
    for (unsigned i = 0; i < ngot; i++)
        assert_int_equal(got[i], (uintptr_t)glibc[g + i]);
}

static void frames_are_the_return_addresses(void **state) {
    (void)state;
    for (unsigned depth = 0; depth < DEPTH - 25; depth++) {
        uint64_t want[DEPTH + 2];
        struct program_run run = {.visit = visit, .pcs = want};
        program_recurse(&run, depth);
        assert_int_equal(run.n, depth + 2);
        assert_int_equal(flags, 0);
        assert_exact(want, run.n);
    }
}

static void frames_of_many_kinds_are_walked(void **state) {
    (void)state;
    for (unsigned depth = 0; depth < 20; depth++) {
        uint64_t want[DEPTH];
        struct program_run run = {.visit = visit, .pcs = want};
        program_mutual(&run, depth);
        assert_int_equal(run.n, 2 * depth + 2);
        assert_int_equal(flags, 0);
        assert_exact(want, run.n);
    }
}

static void a_deeper_stack_keeps_its_inner_frames_and_is_flagged(void **state) {
    (void)state;
    uint64_t want[1000];
    for (unsigned depth = DEPTH; depth < 900; depth += 99) {
        struct program_run run = {.visit = visit, .pcs = want};
        program_recurse(&run, depth);
        assert_int_equal(flags, GOMALLOC_SITE_TRUNCATED);
        assert_int_equal(ngot, DEPTH);
        assert_exact(want, DEPTH);
    }
}

/* omitted returns what replay's frame for so many says. */
static uint64_t omitted(uint64_t n) {
    while (n >= 16 && (n & ~((uint64_t)7 << (61 - __builtin_clzll(n)))) != 0)
        n &= n - 1;
    return GOMALLOC_FRAME_OMITTED | n;
}

static void a_deeper_stack_keeps_both_ends_and_says_what_is_between(void **state) {
    (void)state;
    enum { PREFIX = DEPTH / 4, SUFFIX = DEPTH - PREFIX - 1 };
    static uint64_t want[20000];
    static uint64_t outer[DEPTH];
    struct program_run run = {.visit = visit, .pcs = want};
    program_recurse(&run, 0);
    unsigned outside = ngot - run.n; /* frames outside of program_recurse's */
    memcpy(outer, got + run.n, outside * sizeof *outer);
    for (unsigned depth = DEPTH; depth < 12000; depth += depth < 900 ? 1 : 999) {
        run.n = 0;
        program_recurse(&run, depth);
        memcpy(want + run.n, outer, outside * sizeof *outer);
        unsigned total = run.n + outside;
        assert_int_equal(flags, GOMALLOC_SITE_TRUNCATED);
        assert_int_equal(ngot, DEPTH);
        assert_memory_equal(got, want, SUFFIX * sizeof *got);
        assert_int_equal(got[SUFFIX], omitted(total - PREFIX - SUFFIX));
        assert_memory_equal(got + SUFFIX + 1, want + total - PREFIX, PREFIX * sizeof *got);
    }
}

/* Some 16,000 frames are walked; what is beyond them is not known. */
static void an_endless_stack_is_given_up(void **state) {
    (void)state;
    static uint64_t want[20000];
    struct program_run run = {.visit = visit, .pcs = want};
    program_recurse(&run, 17000);
    assert_int_equal(flags, GOMALLOC_SITE_TRUNCATED | GOMALLOC_SITE_STOPPED);
    assert_int_equal(ngot, DEPTH);
    assert_memory_equal(got, want, (DEPTH - 1) * sizeof *got);
    assert_true(got[DEPTH - 1] > GOMALLOC_FRAME_OMITTED + 10000);
}

static void a_stack_as_deep_as_the_bound_is_not_flagged(void **state) {
    (void)state;
    uint64_t want[DEPTH + 2];
    struct program_run run = {.visit = visit, .pcs = want};
    program_recurse(&run, 0);
    unsigned outer = ngot - 2; /* frames outside program_recurse */
    run.n = 0;
    program_recurse(&run, DEPTH - 2 - outer);
    assert_int_equal(ngot, DEPTH);
    assert_int_equal(flags, 0);
    run.n = 0;
    program_recurse(&run, DEPTH - 1 - outer);
    assert_int_equal(ngot, DEPTH);
    assert_int_equal(flags, GOMALLOC_SITE_TRUNCATED);
}

static void visit_keeping_errno(struct program_run *run) {
    errno = 77;
    visit(run);
    run->n = errno == 77 ? 1 : 0;
}

static void errno_is_kept(void **state) {
    (void)state;
    uint64_t want[DEPTH];
    struct program_run run = {.visit = visit_keeping_errno, .pcs = want};
    visit_keeping_errno(&run); /* a stack never seen: it has to look for unwind information */
    assert_int_equal(run.n, 1);
    visit_keeping_errno(&run);
    assert_int_equal(run.n, 1);
}

static void a_wild_frame_pointer_ends_the_stack(void **state) {
    (void)state;
    uint64_t want[DEPTH];
    for (int i = 0; i < 3; i++) {
        struct program_run run = {.visit = visit, .pcs = want};
        program_wild(&run);
        assert_int_equal(run.n, 1);
        assert_true(ngot >= 1);
        assert_int_equal(got[0], want[0]);
    }
}

/* What a daemon does: closes everything, and opens its own files under the same numbers. */
static void a_program_that_closes_all_descriptors_keeps_its_files(void **state) {
    (void)state;
    char path[] = "/tmp/gomalloc-capture.XXXXXX";
    uint64_t want[DEPTH];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, "precious", 8), 8);
    int copies[16];
    for (int i = 0; i < 16; i++)
        copies[i] = dup(fd);
    lseek(fd, 0, SEEK_SET);
    struct program_run run = {.visit = visit, .pcs = want};
    program_wild(&run); /* makes libunwind ask whether addresses can be read */
    program_mutual(&run, 3);
    char text[16] = "";
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    assert_int_equal(read(fd, text, sizeof text), 8);
    assert_string_equal(text, "precious");
    for (int i = 0; i < 16; i++) {
        assert_true(fd_is_open(copies[i]));
        close(copies[i]);
    }
    close(fd);
}

static struct program_run *signal_run;

static void on_signal(int sig) {
    (void)sig;
    program_recurse(signal_run, 2);
}

static void raise_signal(struct program_run *run) {
    run->pcs[run->n++] = (uintptr_t)__builtin_return_address(0);
    raise(SIGUSR1);
}

static void a_signal_handlers_stack_reaches_the_interrupted_code(void **state) {
    (void)state;
    uint64_t inner[DEPTH];
    uint64_t outer[DEPTH];
    struct sigaction sa = {.sa_handler = on_signal};
    assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
    struct program_run in = {.visit = visit, .pcs = inner};
    struct program_run out = {.visit = raise_signal, .pcs = outer};
    signal_run = &in;
    program_recurse(&out, 3);
    signal(SIGUSR1, SIG_DFL);
    assert_int_equal(in.n, 4);
    assert_int_equal(out.n, 5);
    for (unsigned i = 0; i < in.n; i++)
        assert_int_equal(got[i], inner[i]);
    /* between the two: the signal's own frame and libc's raise */
    unsigned k = in.n;
    while (k < ngot && got[k] != outer[0])
        k++;
    assert_true(k > in.n && k + out.n <= ngot);
    for (unsigned i = 0; i < out.n; i++)
        assert_int_equal(got[k + i], outer[i]);
}

static bool recurse_in_thread(void *arg) {
    (void)arg;
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t want[DEPTH];
        struct program_run run = {.visit = visit, .pcs = want};
        program_recurse(&run, i % 30);
        if (flags != 0 || ngot < run.n || memcmp(got, want, run.n * sizeof *want) != 0)
            return false;
    }
    return true;
}

static void threads_capture_at_the_same_time(void **state) {
    (void)state;
    static struct capture_thread threads[4];
    for (int i = 0; i < 4; i++) {
        threads[i] = (struct capture_thread){.run = recurse_in_thread};
        assert_true(capture_thread_start(&threads[i]));
    }
    for (int i = 0; i < 4; i++)
        assert_true(capture_thread_succeeds(&threads[i]));
}

/* For libunwind there is no way back; replay needs nothing that a thread may have held. */
static void a_forked_childs_stacks(void **state) {
    (void)state;
    uint64_t want[DEPTH];
    bool goes_on = strcmp(unwinder, "replay") == 0;
    capture_fork_child();
    assert_int_equal(capture_state(), goes_on ? CAPTURE_READY : CAPTURE_STOPPED);
    assert_string_equal(capture_name(), goes_on ? "replay" : "none");
    struct program_run run = {.visit = visit, .pcs = want};
    program_recurse(&run, 3);
    assert_int_equal(ngot != 0, goes_on);
    capture_load();
    assert_int_equal(capture_state(), goes_on ? CAPTURE_READY : CAPTURE_STOPPED);
}

/* As long as nothing but replay has been used. */
static void replay_loads_no_library(void **state) {
    (void)state;
    assert_null(dlopen("libunwind.so.8", RTLD_NOW | RTLD_NOLOAD));
}

static int reset_self(void **state) {
    (void)state;
    self = (struct capture_self){.pcs = NULL};
    return 0;
}

int main(void) {
#define COMMON                                                                                     \
    cmocka_unit_test(loading_opens_no_descriptors_and_keeps_errno),                                \
        cmocka_unit_test(unknown_unwinders_are_not_found),                                         \
        cmocka_unit_test(frames_are_the_return_addresses),                                         \
        cmocka_unit_test(frames_of_many_kinds_are_walked),                                         \
        cmocka_unit_test(a_stack_as_deep_as_the_bound_is_not_flagged),                             \
        cmocka_unit_test(errno_is_kept), cmocka_unit_test(a_wild_frame_pointer_ends_the_stack),    \
        cmocka_unit_test(a_program_that_closes_all_descriptors_keeps_its_files),                   \
        cmocka_unit_test(a_signal_handlers_stack_reaches_the_interrupted_code),                    \
        cmocka_unit_test(threads_capture_at_the_same_time)
    const struct CMUnitTest replay[] = {
        COMMON,
        cmocka_unit_test(a_deeper_stack_keeps_both_ends_and_says_what_is_between),
        cmocka_unit_test(an_endless_stack_is_given_up),
        cmocka_unit_test(replay_loads_no_library),
        cmocka_unit_test(a_forked_childs_stacks),
    };
    const struct CMUnitTest libunwind[] = {
        COMMON,
        cmocka_unit_test(a_deeper_stack_keeps_its_inner_frames_and_is_flagged),
        cmocka_unit_test(a_forked_childs_stacks),
    };
    unwinder = "replay";
    int failed = cmocka_run_group_tests(replay, reset_self, NULL);
    unwinder = "libunwind";
    return failed + cmocka_run_group_tests(libunwind, reset_self, NULL);
}
