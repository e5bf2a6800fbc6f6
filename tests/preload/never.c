/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a recorder in malloc must never do to a program, one at a time: see never.bats, which runs
 * this under the library and under recorders that do.  Ends with 0 if it was not done.
 *
 * never loader new | warm   waits for the loader's lock, which another thread holds: with stacks
 *                           that nobody has seen, or that have been captured before
 * never fork                waits in a child for a thread that is no more, and held that lock
 * never errno               changes errno
 * never descriptors         prints how many descriptors there are
 * never cancel PLUGIN       takes over _Unwind_*: clean-up handlers are not run
 * never memory              prints KiB that 40 threads have grown by, each
 * never reload A B          takes a library for the one that was there before: allocates 99 bytes
 *                           from plugins that take turns at one address
 *
 * PATIENCE is for how many seconds it waits before it says that it hangs.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/replay_cases.h"
#include "check.h"

#define NOINLINE __attribute__((noinline))

/* A volatile pointer: the compiler drops no call. */
static void *volatile object;

static unsigned patience(void) {
    const char *text = getenv("PATIENCE");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 60;
}

static NOINLINE void allocate(void) {
    object = malloc(40);
    __asm__ volatile("" ::: "memory"); /* no tail call */
}

static NOINLINE void deeper(unsigned n) {
    if (n == 0)
        allocate();
    else
        deeper(n - 1);
    __asm__ volatile("" ::: "memory");
}

/* Return addresses that no capture has seen until they are called. */
#define FRESH(name, n)                                                                             \
    static NOINLINE void name(void) {                                                              \
        deeper(n);                                                                                 \
        __asm__ volatile("" ::: "memory");                                                         \
    }
FRESH(fresh_in_thread, 3)
FRESH(fresh_in_child, 4)
FRESH(fresh_for_errno, 5) /* not the same: they would be merged */

/* A thread that is within the loader's lock, and allocates there, until told to leave. */
static atomic_bool within, leave;

static int stay(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)info, (void)size, (void)unused;
    allocate();
    atomic_store(&within, true);
    while (!atomic_load(&leave))
        usleep(1000);
    allocate();
    return 1;
}

static void *hold_the_loader(void *unused) {
    dl_iterate_phdr(stay, unused);
    return NULL;
}

static void begin_to_hold(void) {
    pthread_t t;
    CHECK(pthread_create(&t, NULL, hold_the_loader, NULL) == 0);
    while (!atomic_load(&within))
        usleep(1000);
}

static atomic_int turn; /* of the thread: 0 = warms up, 1 = waits, 2 = goes on, 3 = is done */

static void *allocate_in_turn(void *is_new) {
    for (int i = 0; i < 3; i++) {
        if (i == 1) {
            atomic_store(&turn, 1);
            while (atomic_load(&turn) == 1)
                usleep(1000);
        }
        if (is_new == NULL || i == 1)
            is_new == NULL ? deeper(20) : fresh_in_thread();
    }
    atomic_store(&turn, 3);
    return NULL;
}

static int loader(void *is_new) {
    pthread_t t;
    CHECK(pthread_create(&t, NULL, allocate_in_turn, is_new) == 0);
    while (atomic_load(&turn) == 0)
        usleep(1000);
    begin_to_hold();
    atomic_store(&turn, 2);
    for (unsigned i = 0; i < patience() * 100 && atomic_load(&turn) != 3; i++)
        usleep(10000);
    bool done = atomic_load(&turn) == 3;
    atomic_store(&leave, true);
    CHECK(pthread_join(t, NULL) == 0);
    return !done;
}

static int forked(void) {
    begin_to_hold();
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        fresh_in_child();
        exit(0); /* and leaves its image */
    }
    int status = 1;
    for (unsigned i = 0; i < patience() * 100 && waitpid(pid, &status, WNOHANG) == 0; i++)
        usleep(10000);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        kill(pid, SIGKILL); /* libunwind waits with all signals blocked */
        waitpid(pid, NULL, 0);
        _exit(1);
    }
    atomic_store(&leave, true);
    return 0;
}

/* The stack leads to memory that is not there: it takes a system call that fails to know. */
static int errno_changed(void) {
    char *gone = mmap(NULL, 1 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(gone != MAP_FAILED);
    for (int i = 0; i < 3; i++) {
        errno = 77;
        case_wrong_frame(i == 0 ? fresh_for_errno : allocate, gone + (1 << 19));
        if (errno != 77)
            return 1;
    }
    return 0;
}

static unsigned descriptors(void) {
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    CHECK(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static int has_descriptors(void) {
    fresh_in_thread();
    printf("%u\n", descriptors());
    return 0;
}

/* What a cancelled thread has to clean up: its own, and a plugin's. */
static atomic_int cleaned;
static void (*plugin_wait)(void (*clean)(void));

static void clean(void) {
    atomic_fetch_add(&cleaned, 1);
}

static void clean_own(void *unused) {
    (void)unused;
    clean();
}

static void *wait_to_be_cancelled(void *unused) {
    pthread_cleanup_push(clean_own, unused);
    fresh_in_thread();
    plugin_wait(clean);
    pthread_cleanup_pop(1);
    return NULL;
}

static int cancelled(const char *plugin) {
    void *handle = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    CHECK(handle != NULL);
    *(void **)&plugin_wait = dlsym(handle, "plugin_wait");
    CHECK(plugin_wait != NULL);
    for (int i = 0; i < 5; i++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, wait_to_be_cancelled, NULL) == 0);
        usleep(1000);
        CHECK(pthread_cancel(t) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    return atomic_load(&cleaned) != 10;
}

enum { THREADS = 40 };
static pthread_barrier_t all_there, go;

static void *stay_alive(void *unused) {
    for (unsigned depth = 0; depth < 200; depth += 10)
        deeper(depth);
    pthread_barrier_wait(&all_there);
    pthread_barrier_wait(&go);
    return unused;
}

static int memory(void) {
    pthread_t t[THREADS];
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* or a stack may be of two MiB at once */
    pthread_barrier_init(&all_there, NULL, THREADS + 1);
    pthread_barrier_init(&go, NULL, THREADS + 1);
    for (unsigned depth = 0; depth < 200; depth += 10)
        deeper(depth);
    long before = status_kib("VmRSS:");
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&t[i], NULL, stay_alive, NULL) == 0);
    pthread_barrier_wait(&all_there);
    printf("%ld\n", (status_kib("VmRSS:") - before) / THREADS);
    pthread_barrier_wait(&go);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    return 0;
}

static void allocate_in_plugin(void) {
    object = malloc(99);
    __asm__ volatile("" ::: "memory");
}

static int reload(const char *a, const char *b) {
    const char *const paths[2] = {a, b};
    for (int i = 0; i < 20; i++) {
        void *handle = dlopen(paths[i % 2], RTLD_NOW | RTLD_LOCAL);
        CHECK(handle != NULL);
        union {
            void *symbol;
            void (*call)(void (*)(void));
        } f = {dlsym(handle, "reload_call")};
        CHECK(f.symbol != NULL);
        f.call(allocate_in_plugin);
        CHECK(dlclose(handle) == 0);
    }
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc >= 2);
    const char *what = argv[1];
    if (strcmp(what, "loader") == 0)
        return loader(strcmp(argv[2], "new") == 0 ? &within : NULL);
    if (strcmp(what, "fork") == 0)
        return forked();
    if (strcmp(what, "errno") == 0)
        return errno_changed();
    if (strcmp(what, "descriptors") == 0)
        return has_descriptors();
    if (strcmp(what, "cancel") == 0)
        return cancelled(argv[2]);
    if (strcmp(what, "memory") == 0)
        return memory();
    CHECK(strcmp(what, "reload") == 0 && argc == 4);
    return reload(argv[2], argv[3]);
}
