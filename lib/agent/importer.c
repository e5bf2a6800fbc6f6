/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect, run by the library.
 *
 * Not by posix_spawn: that allocates, and reads the environment, which the program may be changing
 * in another thread, or may have died of.  The environment is the one that the process was started
 * with, from the kernel, without what would put goinspect under this library.
 *
 * The program must not see it: a child that executes sends SIGCHLD at its end, however it was made,
 * and wait() finds it.  So there is a child between, the keeper, that does not: its own end sends
 * no signal, and only __WALL finds it.  It waits for goinspect, whose parent thus is there to the
 * end; an orphan would be the child of init or of a subreaper, which the program may be itself.
 * The keeper runs in this memory, so that nothing is copied, on a stack of its own, and makes
 * system calls only.  With the thread that started it it is ended, so that it keeps no memory of a
 * program that is no more.
 */
#include "agent/importer.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image_path.h"
#include "image/rawfile.h"
#include "heap/mconst.h"
#include "sys/mem.h"

#define ENVIRON_MAX ((size_t)256 << 10) /* bytes; what does not fit is not handed on */
#define STRINGS_MAX 4096                /* of it */
#define KERNEL_SET  8                   /* bytes of a set of signals */
#define STACK_BYTES ((size_t)16 << 10)  /* the keeper's */
#define OLD_FDS     1024                /* closed one by one by an old kernel */
#define STEP        ((struct timespec){.tv_nsec = 100000000})

/* As the kernel has it. */
struct kernel_sigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

static struct {
    char program[PATH_MAX]; /* empty: not to be found */
    char keep[24];
} importer;

/* near_library writes the path of goinspect at `relative` from this library's own folder. */
static bool near_library(struct fmt *f, const char *relative) {
    Dl_info info;
    if (dladdr((void *)&importer, &info) == 0 || info.dli_fname == NULL)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    *f = fmt_on(f->buf, f->cap);
    if (slash == NULL)
        return false;
    fmt_mem(f, info.dli_fname, (size_t)(slash - info.dli_fname) + 1);
    fmt_str(f, relative);
    return !f->cut && access(f->buf, X_OK) == 0;
}

const char *importer_find(struct fmt *f) {
    const char *told = getenv("GOMALLOC_GOINSPECT");
    if (told != NULL && told[0] != '\0')
        return told;
    static const char *const places[] = {"../inspect/goinspect", "../bin/goinspect",
                                         "../../bin/goinspect"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (near_library(f, places[i]))
            return f->buf;
    return "goinspect";
}

/* in_path looks a name up in $PATH. */
static bool in_path(struct fmt *f, const char *name) {
    const char *path = getenv("PATH");
    for (const char *p = path != NULL ? path : "/usr/local/bin:/usr/bin:/bin"; *p != '\0';) {
        size_t n = strcspn(p, ":");
        *f = fmt_on(f->buf, f->cap);
        fmt_mem(f, p, n);
        fmt_char(f, '/');
        fmt_str(f, name);
        if (n != 0 && !f->cut && access(f->buf, X_OK) == 0)
            return true;
        p += n + (p[n] == ':');
    }
    return false;
}

void importer_prepare(uint64_t keep) {
    struct fmt f = fmt_on(importer.program, sizeof importer.program);
    const char *found = importer_find(&f);
    if (found != f.buf) {
        f = fmt_on(importer.program, sizeof importer.program);
        if (strchr(found, '/') != NULL)
            fmt_str(&f, found);
        else if (!in_path(&f, found))
            importer.program[0] = '\0';
    }
    f = fmt_on(importer.keep, sizeof importer.keep);
    if (keep != 0)
        fmt_uint(&f, keep);
}

/* ---- its environment ---------------------------------------------------------------------- */

struct environment {
    char *strings[STRINGS_MAX + 1];
    char text[ENVIRON_MAX];
};

static bool is_ours(const char *s) {
    static const char *const names[] = {"LD_PRELOAD=", "GOMALLOC=", IMAGE_PATH_ROOT "="};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(s, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void read_environment(struct environment *e) {
    /* Not of the first thread, which may have ended. */
    long n = raw_read_file("/proc/thread-self/environ", e->text, sizeof e->text);
    size_t k = 0;
    for (long i = 0; i < n && k < STRINGS_MAX; i += (long)strlen(e->text + i) + 1)
        if (!is_ours(e->text + i))
            e->strings[k++] = e->text + i;
    e->strings[k] = NULL;
}

/* ---- running it --------------------------------------------------------------------------- */

/* null_standard opens 0, 1 and 2: a database must not get such a number. */
static void null_standard(void) {
    int fd = (int)sys_call4(SYS_openat, AT_FDCWD, (long)"/dev/null", O_RDWR, 0);
    for (int to = 0; to < 3 && fd >= 0; to++)
        if (to != fd)
            sys_call3(SYS_dup2, fd, to, 0);
    if (fd > 2)
        raw_close(fd);
}

/* forget_handlers has signals do what they do in a new program, before they are let in: the
 * handlers are the program's, and what is sent to its group comes here, too. */
static void forget_handlers(void) {
    struct kernel_sigaction action;
    for (int sig = 1; sig <= KERNEL_SET * 8; sig++) {
        if (sys_call4(SYS_rt_sigaction, sig, 0, (long)&action, KERNEL_SET) != 0 ||
            action.handler == SIG_DFL || action.handler == SIG_IGN)
            continue;
        action = (struct kernel_sigaction){.handler = SIG_DFL};
        sys_call4(SYS_rt_sigaction, sig, (long)&action, 0, KERNEL_SET);
    }
}

static int become(const char *image, const char *database, const struct environment *e) {
    const uint64_t none = 0;
    const char *argv[] = {importer.program, "import", "--remove", image,
                          database,         NULL,     NULL,       NULL};
    if (importer.keep[0] != '\0') {
        argv[5] = "--keep";
        argv[6] = importer.keep;
    }
    null_standard();
    forget_handlers();
    sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, KERNEL_SET);
    return (int)sys_call3(SYS_execve, (long)importer.program, (long)argv, (long)e->strings);
}

#define ENVIRONMENT_BYTES align_up(sizeof(struct environment), 4096)

void importer_exec(const char *image, const char *database) {
    struct environment *e = mem_alloc(ENVIRONMENT_BYTES, MEM_AGENT);
    if (e == NULL || importer.program[0] == '\0')
        return;
    read_environment(e);
    become(image, database, e);
}

static _Noreturn void leave(int status) {
    for (;;)
        sys_call3(SYS_exit_group, status, 0, 0);
}

/* As vfork: the child runs in this memory, on this stack, below this function's frame, until it
 * executes or ends; so long this thread stands still.  No signal is sent at its end. */
static gm_noinline long bare_vfork(void (*run)(void *arg), void *arg) {
    long pid = sys_call6(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_UNTRACED, 0, 0, 0, 0, 0);
    if (pid == 0) {
        run(arg);
        leave(127);
    }
    return pid;
}

/* The keeper, and what it and its starter share; one at a time. */
static struct {
    const char *image, *database;
    const struct environment *environment;
    long starter; /* pid */
    int pid;      /* the keeper's; 0: none, or it has been waited for.  Starter */
    _Atomic uint32_t
        told;  /* 1: error is there, and the environment not needed any more (a futex) */
    int error; /* why goinspect could not be executed, 0 */
    char stack[STACK_BYTES] __attribute__((aligned(16)));
} keeper;

static void execute(void *arg) {
    (void)arg;
    keeper.error = become(keeper.image, keeper.database, keeper.environment);
}

/* close_all closes the keeper's copies of descriptors: a pipe held open would not end for its
 * reader. */
static void close_all(void) {
    if (sys_call3(SYS_close_range, 0, ~0u, 0) == 0)
        return;
    for (int fd = 0; fd < OLD_FDS; fd++)
        raw_close(fd);
}

static int keep(void *arg) {
    (void)arg;
    sys_call6(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0);
    sys_call6(SYS_prctl, PR_SET_NAME, (long)"gomalloc-import", 0, 0, 0, 0);
    if (sys_call3(SYS_getppid, 0, 0, 0) != keeper.starter)
        leave(1); /* has ended before it was said */
    long pid = bare_vfork(execute, NULL);
    if (pid < 0)
        keeper.error = (int)pid;
    atomic_store_explicit(&keeper.told, 1, memory_order_release);
    sys_call3(SYS_futex, (long)&keeper.told, FUTEX_WAKE_PRIVATE, 1);
    close_all();
    while (pid > 0 && sys_call4(SYS_wait4, pid, 0, __WALL, 0) == -EINTR) {
    }
    leave(0);
}

bool importer_has_ended(void) {
    if (keeper.pid == 0)
        return true;
    if (sys_call4(SYS_wait4, keeper.pid, 0, WNOHANG | __WALL, 0) == 0)
        return false;
    keeper.pid = 0;
    return true;
}

void importer_fork_child(void) {
    keeper.pid = 0;
}

/* await waits until goinspect has been executed, or could not be. */
static int await(void) {
    const struct timespec step = STEP;
    while (atomic_load_explicit(&keeper.told, memory_order_acquire) == 0) {
        if (importer_has_ended())
            return -ESRCH; /* somebody has killed it */
        sys_call4(SYS_futex, (long)&keeper.told, FUTEX_WAIT_PRIVATE, 0, (long)&step);
    }
    return keeper.error;
}

static int start(void) {
    atomic_store_explicit(&keeper.told, 0, memory_order_relaxed);
    keeper.error = 0;
    keeper.starter = raw_getpid();
    int saved = errno;
    int pid = clone(keep, keeper.stack + STACK_BYTES, CLONE_VM | CLONE_UNTRACED, NULL);
    int error = pid < 0 ? -errno : 0;
    errno = saved;
    if (error != 0)
        return error;
    keeper.pid = pid;
    return await();
}

int importer_start(const char *image, const char *database) {
    if (importer.program[0] == '\0')
        return -ENOENT;
    if (!importer_has_ended())
        return -EBUSY;
    struct environment *e = mem_alloc(ENVIRONMENT_BYTES, MEM_AGENT);
    if (e == NULL)
        return -ENOMEM;
    read_environment(e);
    keeper.image = image;
    keeper.database = database;
    keeper.environment = e;
    int error = start();
    mem_free(e, ENVIRONMENT_BYTES, MEM_AGENT, 0, 0);
    return error;
}
