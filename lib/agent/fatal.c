/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A last image when a signal ends the program.
 *
 * Whose handlers.  Ours stand only where the default action was when the program began, and it is
 * not told of sigaction: a program that sets one of its own has taken the signal, and finds ours as
 * the one before, to call or to put back if it means to pass the signal on.
 *
 * What the handler does.  Locks may be held for ever, by this thread too, and the heap may be what
 * is broken.  So the image is written by a copy of the process (leak/fork_copy.h), in which the
 * handler's thread is the only one and takes all locks as if they were its own: nothing moves
 * there, and if it faults or never ends, it is the copy that does, which is killed; then another
 * one tries with less.  Where no copy can be made, the image is written here, by the same trick
 * with the locks, and a fault while it is comes back to where it began.  The process itself stays
 * as it was for the core file.
 *
 * How the program ends.  As it would have: the default action is put back, and the handler returns
 * to the instruction that faulted, which faults again, with registers, si_code and address the
 * same.  What is not repeated by itself (a signal that was sent, SIGTRAP, SIGSYS) is sent again
 * with what came with it.
 *
 *      SIGSEGV -> on_signal -> image by a copy -> default action -> the same instruction -> core
 *
 * A handler needs a stack, and the thread's may be what has run out: each thread gets one of its
 * own from its first allocation on, unless it has one.  It belongs to the thread's mcache, so that
 * the next thread gets it.
 */
#include "agent/fatal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "image/image_crash.h"
#include "image/image_path.h"
#include "image/image_write.h"
#include "agent/importer.h"
#include "image/rawfile.h"
#include "agent/trigger.h"
#include "gomalloc/image.h"
#include "heap/mcache.h"
#include "leak/fork_copy.h"
#include "leak/stop_signal.h"
#include "sys/lock.h"
#include "sys/mem.h"
#include "sys/throw.h"
#include "unwind/cfi.h"

#define STACK_BYTES ((size_t)64 << 10) /* what is not touched is not backed */
#define GUARD_BYTES ((size_t)4 << 10)
#define LIMIT_NS    UINT64_C(30000000000) /* for the whole image */
#define STEP_NS     10000000
#define KERNEL_SET  8
#define SA_RESTORER 0x04000000u
#define LIBC_SET    (UINT64_C(3) << 31) /* its own signals, 32 and 33: setuid waits for them */
#define CRASHED     254                 /* status of a copy that faulted */
#define NO_IMPORT   253                 /* of one that could not execute goinspect */
#define NAME_BYTES  PATH_MAX

static const struct fatal_signal {
    int number;
    char name[8];
} signals[] = {{SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"}, {SIGFPE, "SIGFPE"},
               {SIGABRT, "SIGABRT"}, {SIGTRAP, "SIGTRAP"}, {SIGSYS, "SIGSYS"}};
#define NSIGNALS (sizeof signals / sizeof signals[0])

/* As the kernel has it. */
struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static struct {
    bool installed;
    int pid;                /* whose handlers these are: not a child's before it executes */
    _Atomic uint32_t owner; /* tid of the thread that writes the image, 0: none has */
    _Atomic bool done;      /* it has */
    _Atomic bool in_place;  /* it does so without a copy: a fault returns to `back` */
    void *back[5];
    char path[NAME_BYTES];   /* of the image that is being written */
    char final[NAME_BYTES];  /* of the database that it is for, or the same */
    struct mem_table stacks; /* void *[MAX_MCACHES]: of handlers, by mcache */
    struct mutex lock;       /* stacks */
} fatal = {.lock = MUTEX_INIT(LOCK_RANK_AGENT)};

/* ---- stacks ------------------------------------------------------------------------------- */

/* stack_of returns the place of a mcache's stack; NULL: no memory, or no time. */
static void **stack_of(uint32_t mcache) {
    if (!mutex_try_lock(&fatal.lock))
        return NULL;
    bool ok = mem_table_reach(&fatal.stacks, (mcache + 1) * sizeof(void *));
    mutex_unlock(&fatal.lock);
    return ok ? (void **)fatal.stacks.base + mcache : NULL;
}

void fatal_thread(uint32_t mcache) {
    stack_t now;
    if (!fatal.installed || sys_call3(SYS_sigaltstack, 0, (long)&now, 0) != 0 ||
        (now.ss_flags & SS_DISABLE) == 0)
        return;
    void **place = stack_of(mcache);
    if (place == NULL)
        return;
    if (*place == NULL && (*place = mem_alloc(STACK_BYTES, MEM_AGENT)) != NULL)
        mem_seal(*place, GUARD_BYTES);
    if (*place == NULL)
        return;
    const stack_t ours = {.ss_sp = (char *)*place + GUARD_BYTES,
                          .ss_size = STACK_BYTES - GUARD_BYTES};
    sys_call3(SYS_sigaltstack, (long)&ours, 0, 0);
}

/* ---- in the copy -------------------------------------------------------------------------- */

/* What the copy writes, and where. */
struct job {
    struct image_writer *writer;
    struct image_crash *crash;
    bool with_stack;
    bool import;
};

static void set_action(int sig, void (*handler)(int, siginfo_t *, void *), unsigned long flags,
                       uint64_t mask) {
    const struct kernel_sigaction action = {
        .handler = handler, .flags = flags | SA_RESTORER, .restorer = stop_restorer, .mask = mask};
    sys_call4(SYS_rt_sigaction, sig, (long)&action, 0, KERNEL_SET);
}

/* leave_copy makes no core file of the copy. */
static void leave_copy(int sig, siginfo_t *info, void *context) {
    (void)sig, (void)info, (void)context;
    for (;;)
        sys_call3(SYS_exit_group, CRASHED, 0, 0);
}

/* other_signals is a mask of all that the program may handle while the image is written; not
 * libc's, and not these, as in_place comes back from them. */
static uint64_t other_signals(void) {
    uint64_t mask = ~LIBC_SET;
    for (size_t i = 0; i < NSIGNALS; i++)
        mask &= ~(UINT64_C(1) << (signals[i].number - 1));
    return mask;
}

static uint64_t set_mask(uint64_t mask) {
    uint64_t old = 0;
    sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, (long)&old, KERNEL_SET);
    return old;
}

/* The program's handlers are for the program: what is sent to its group comes here, too. */
static void prepare_copy(void) {
    for (size_t i = 0; i < NSIGNALS; i++)
        set_action(signals[i].number, leave_copy, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, 0);
    set_mask(other_signals());
    mutex_fork_begin(~0u); /* nobody else is here */
}

static int write_crash(void *arg, int fd, char *err, size_t errlen) {
    const struct job *job = arg;
    return image_finish_crash(job->writer, fd, job->crash, err, errlen);
}

/* in_copy returns 0, or 1 after it has said why not. */
static int in_copy(void *arg, int to) {
    struct job *job = arg;
    char err[NAME_BYTES + 128];
    prepare_copy();
    if (job->with_stack)
        image_crash_stack(job->crash);
    if (image_write_file_by(fatal.path, write_crash, job, err, sizeof err) != 0) {
        fork_copy_write(to, err, strlen(err));
        return 1;
    }
    if (job->import) {
        const struct rlimit no_core = {1, 1};
        sys_call4(SYS_prlimit64, 0, RLIMIT_CORE, (long)&no_core, 0);
        importer_exec(fatal.path, fatal.final);
        return NO_IMPORT;
    }
    return 0;
}

/* ---- in the process ----------------------------------------------------------------------- */

static void pause_briefly(void) {
    const struct timespec t = {.tv_nsec = STEP_NS};
    sys_call3(SYS_nanosleep, (long)&t, 0, 0);
}

/* wait_for waits for the copy's end and takes down what it says; false: it took too long. */
static bool wait_for(struct fork_copy *c, uint64_t until_ns, char *err, size_t errlen) {
    size_t have = 0;
    bool open = true;
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        long n = open ? fork_copy_read(c, err + have, errlen - 1 - have, STEP_NS / 1000000) : 0;
        have += n > 0 ? (size_t)n : 0;
        err[have] = '\0';
        open &= n > 0 || n == -ETIMEDOUT;
        long r = sys_call6(SYS_waitid, P_PID, c->pid, (long)&info,
                           WEXITED | WNOHANG | WNOWAIT | __WALL, 0, 0);
        if ((r != 0 || info.si_pid != 0) && !open)
            return true;
        if (raw_clock_ns(CLOCK_MONOTONIC) > until_ns)
            return false;
        if (!open)
            pause_briefly();
    }
}

enum outcome {
    WRITTEN,
    KEPT,    /* the image is, and is to be imported by hand */
    REFUSED, /* err says why */
    BROKEN,  /* the copy faulted, or took too long */
    NO_COPY
};

static enum outcome by_copy(struct job *job, uint64_t until_ns, char *err, size_t errlen) {
    struct fork_copy copy;
    int status;
    const struct fork_copy_job to_do = {.run = in_copy, .arg = job, .keep = -1};
    if (fork_copy_start(&copy, &to_do) != 0)
        return NO_COPY;
    bool ended = wait_for(&copy, until_ns, err, errlen);
    enum fork_copy_end end = fork_copy_finish(&copy, !ended, &status);
    if (end == FORK_COPY_LOST)
        return WRITTEN; /* as far as is known */
    if (end != FORK_COPY_DONE || status == CRASHED)
        return BROKEN;
    if (status != 0 && err[0] != '\0')
        return REFUSED;
    return status != 0 ? KEPT : WRITTEN;
}

/* in_place is for where there can be no copy.  Back from a fault, what it had begun is left: the
 * file has no name yet. */
static gm_noinline enum outcome in_place(struct job *job, char *err, size_t errlen) {
    enum outcome outcome = BROKEN;
    mutex_fork_begin(~0u);
    atomic_store_explicit(&fatal.in_place, true, memory_order_seq_cst);
    if (__builtin_setjmp(fatal.back) == 0)
        outcome = image_write_file_by(fatal.path, write_crash, job, err, errlen) == 0
                      ? (job->import ? KEPT : WRITTEN)
                      : REFUSED;
    atomic_store_explicit(&fatal.in_place, false, memory_order_seq_cst);
    mutex_fork_end();
    return outcome;
}

/* What the tries go without, from one to the next. */
static const struct attempt {
    uint64_t sections;
    bool stack;
} attempts[] = {{0, true}, {0, false}, {IMAGE_CRASH_BASIC, false}};

static enum outcome try_all(struct image_crash *crash, bool import, char *err, size_t errlen) {
    uint64_t until_ns = raw_clock_ns(CLOCK_MONOTONIC) + LIMIT_NS;
    enum outcome outcome = BROKEN;
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0] && outcome == BROKEN; i++) {
        struct job job = {.crash = crash, .with_stack = attempts[i].stack, .import = import};
        err[0] = '\0';
        job.writer = image_open(attempts[i].sections, GOMALLOC_IMAGE_FATAL | GOMALLOC_IMAGE_LIVE);
        if (job.writer == NULL)
            return BROKEN;
        outcome = by_copy(&job, until_ns, err, errlen);
        if (outcome == NO_COPY)
            outcome = in_place(&job, err, errlen);
        image_free(job.writer);
    }
    return outcome;
}

static const char *name_of(int sig) {
    for (size_t i = 0; i < NSIGNALS; i++)
        if (signals[i].number == sig)
            return signals[i].name;
    return "?";
}

static void say(enum outcome outcome, int sig, const char *err) {
    char buf[2 * NAME_BYTES];
    struct fmt f = fmt_on(buf, sizeof buf - 1);
    report_begin(&f);
    fmt_str(&f, name_of(sig));
    if (outcome == WRITTEN) {
        fmt_str(&f, "; next: goinspect status ");
        fmt_str(&f, fatal.final);
    } else if (outcome == KEPT) {
        fmt_str(&f, "; by hand: goinspect import --remove ");
        fmt_str(&f, fatal.path);
        fmt_char(&f, ' ');
        fmt_str(&f, fatal.final);
    } else {
        fmt_str(&f, "; no snapshot: ");
        fmt_str(&f, outcome == REFUSED ? err : "the heap is too damaged, or it took too long");
    }
    f.cap = sizeof buf;
    fmt_char(&f, '\n');
    report_end(&f);
}

/* choose_path writes fatal.path and fatal.final; false: they are too long. */
static bool choose_path(uint64_t *ret_number, bool *ret_import) {
    struct fmt final = fmt_on(fatal.final, sizeof fatal.final);
    struct fmt path = fmt_on(fatal.path, sizeof fatal.path);
    *ret_number = trigger_next_path(&final);
    *ret_import = image_path_is_database(&final);
    fmt_str(&path, fatal.final);
    if (*ret_import) {
        fmt_char(&path, '.');
        fmt_uint(&path, (uint64_t)raw_getpid());
        fmt_str(&path, ".gmi");
    }
    return !final.cut && !path.cut;
}

static void take(struct image_crash *crash) {
    char err[NAME_BYTES + 128] = "the path is too long";
    uint64_t number;
    bool import;
    enum outcome outcome = REFUSED;
    if (choose_path(&number, &import))
        outcome = try_all(crash, import, err, sizeof err);
    if (outcome == WRITTEN && !import)
        trigger_rotate(number);
    say(outcome, crash->signal, err);
}

/* claim tells whether the image is this thread's to write; if another one's at the moment, it waits
 * for that. */
static bool claim(void) {
    uint32_t self = (uint32_t)sys_call3(SYS_gettid, 0, 0, 0), nobody = 0;
    if (atomic_compare_exchange_strong(&fatal.owner, &nobody, self))
        return true;
    if (nobody == self)
        return false;
    uint64_t until_ns = raw_clock_ns(CLOCK_MONOTONIC) + LIMIT_NS + LIMIT_NS / 10;
    while (!atomic_load(&fatal.done) && raw_clock_ns(CLOCK_MONOTONIC) < until_ns)
        pause_briefly();
    return false;
}

/* repeats tells whether the signal comes again when the handler returns. */
static bool repeats(int sig, const siginfo_t *info) {
    bool fault = sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE;
    return fault && info->si_code > 0 && !(sig == SIGBUS && info->si_code == BUS_MCEERR_AO);
}

/* send_again sends the signal with what came with it; where a filter refuses that, without. */
static void send_again(int sig, const siginfo_t *info) {
    long tid = sys_call3(SYS_gettid, 0, 0, 0);
    if (sys_call4(SYS_rt_tgsigqueueinfo, raw_getpid(), tid, sig, (long)info) != 0)
        sys_call3(SYS_tgkill, raw_getpid(), tid, sig);
}

static void on_signal(int sig, siginfo_t *info, void *context) {
    bool ours = raw_getpid() == fatal.pid;
    if (ours && atomic_load(&fatal.in_place) &&
        atomic_load(&fatal.owner) == (uint32_t)sys_call3(SYS_gettid, 0, 0, 0))
        __builtin_longjmp(fatal.back, 1);
    if (ours && claim()) {
        struct image_crash crash;
        image_crash_of_signal(&crash, sig, info, context);
        take(&crash);
        atomic_store(&fatal.done, true);
    }
    set_action(sig, NULL, 0, 0);
    if (!repeats(sig, info))
        send_again(sig, info);
}

void fatal_report(int sig) {
    if (!fatal.installed || raw_getpid() != fatal.pid || !claim())
        return;
    uint64_t old = set_mask(other_signals());
    struct image_crash crash;
    image_crash_here(&crash, sig);
    take(&crash);
    atomic_store(&fatal.done, true);
    set_mask(old);
}

/* install_one takes a signal if nobody has; false: somebody has, or ignores it. */
static void install_one(int sig) {
    struct kernel_sigaction now;
    if (sys_call4(SYS_rt_sigaction, sig, 0, (long)&now, KERNEL_SET) != 0 || now.handler != NULL)
        return;
    set_action(sig, on_signal, SA_SIGINFO | SA_ONSTACK | SA_NODEFER, other_signals());
}

void fatal_install(void) {
    if (!mem_table_init(&fatal.stacks, MAX_MCACHES * sizeof(void *), MEM_AGENT))
        return;
    image_crash_init();
    fatal.pid = raw_getpid();
    fatal.installed = true;
    for (size_t i = 0; i < NSIGNALS; i++)
        install_one(signals[i].number);
}

void fatal_fork_child(void) {
    mutex_reset(&fatal.lock);
    fatal.pid = raw_getpid();
    atomic_store(&fatal.owner, 0);
    atomic_store(&fatal.done, false);
}
