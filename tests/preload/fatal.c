/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program that is ended by a signal, in the way that its argument tells; for fatal.bats.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *kept[100];
static volatile int *volatile nowhere;
static volatile int zero;
static void (*volatile no_function)(void);

static int inner(void) {
    return *nowhere;
}

static int outer(void) {
    return inner() + 1;
}

static int deeper(int n) {
    volatile char room[4096];
    room[0] = (char)n;
    return deeper(n + 1) + room[0];
}

static void *thread_segv(void *arg) {
    kept[0] = malloc(10);
    outer();
    return arg;
}

static void *thread_overflow(void *arg) {
    kept[0] = malloc(10);
    deeper(0);
    return arg;
}

static void in_thread(void *(*run)(void *)) {
    pthread_t t;
    pthread_create(&t, NULL, run, NULL);
    pthread_join(t, NULL);
}

static pthread_barrier_t together;

static void *wait_and_crash(void *arg) {
    kept[0] = malloc(10);
    pthread_barrier_wait(&together);
    outer();
    return arg;
}

/* All at once: one writes, and the others wait for it. */
static void many_threads(void) {
    pthread_t t;
    pthread_barrier_init(&together, NULL, 8);
    for (int i = 0; i < 8; i++)
        pthread_create(&t, NULL, wait_and_crash, NULL);
    pause();
}

static void *churn(void *arg) {
    for (void *p[64] = {0};;)
        for (size_t i = 0; i < 64; i++) {
            free(p[i]);
            p[i] = malloc(i * 1000);
        }
    return arg;
}

/* Other threads go on allocating meanwhile. */
static void busy(void) {
    pthread_t t;
    for (int i = 0; i < 4; i++)
        pthread_create(&t, NULL, churn, NULL);
    usleep(50000);
    outer();
}

static void own_handler(int sig) {
    (void)!write(1, "own\n", 4);
    signal(sig, SIG_DFL);
}

static struct sigaction before;

static void passing_handler(int sig) {
    (void)!write(1, "own\n", 4);
    sigaction(sig, &before, NULL);
}

static void double_free(void) {
    kept[1] = kept[0];
    free(kept[0]);
    free(kept[1]);
}

static void beyond_file(void) {
    FILE *f = tmpfile();
    char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(f), 0);
    kept[0] = (void *)(size_t)*p;
}

static void in_child(void) {
    int status;
    if (fork() == 0) {
        kept[0] = malloc(10);
        outer();
    }
    wait(&status);
    printf("child %d\n", WTERMSIG(status));
}

/* Where the memory for a copy of the process is not to be had. */
static void no_copy(void) {
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NPROC, &none);
    (void)!setgid(65534);
    (void)!setuid(65534);
    outer();
}

static void ignored(void) {
    signal(SIGSEGV, SIG_DFL);
    outer();
}

static pthread_t first;

static void *shoot(void *arg) {
    struct timespec t = {.tv_nsec = (clock() * 7919L + getpid() * 104729L) % 3000000};
    nanosleep(&t, NULL);
    pthread_kill(first, SIGSEGV);
    return arg;
}

/* The signal comes anywhere in the allocator, where its locks are mostly held. */
static void inside(void) {
    pthread_t t;
    first = pthread_self();
    pthread_create(&t, NULL, shoot, NULL);
    for (;;) {
        for (size_t i = 0; i < 50; i++)
            kept[i] = malloc((i * 37 % 50 + 1) << 16);
        for (size_t i = 0; i < 50; i++)
            free(kept[i]);
    }
}

static pid_t self;

/* A handler that leaves a file if it runs in another process than the program's. */
static void note_stranger(int sig) {
    (void)sig;
    if (getpid() != self)
        close(creat("stranger", 0600));
}

static void *signal_group(void *arg) {
    for (;;)
        kill(0, SIGUSR1);
    return arg;
}

/* The whole group gets a signal that the program handles, again and again. */
static void begin_group_signals(void) {
    pthread_t t;
    self = getpid();
    setpgid(0, 0);
    signal(SIGUSR1, note_stranger);
    pthread_create(&t, NULL, signal_group, NULL);
}

static void group_signals(void) {
    begin_group_signals();
    outer();
}

static void group_signals_crime(void) {
    begin_group_signals();
    double_free();
}

/* Where a filter lets no signal be sent with what came with it. */
static void filtered(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_tgsigqueueinfo, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    kill(getpid(), SIGBUS);
}

static const struct crime {
    const char *name;
    void (*run)(void);
} crimes[] = {{"abort", abort},
              {"double_free", double_free},
              {"beyond_file", beyond_file},
              {"many_threads", many_threads},
              {"busy", busy},
              {"in_child", in_child},
              {"no_copy", no_copy},
              {"inside", inside},
              {"filtered", filtered},
              {"group_signals", group_signals},
              {"group_signals_crime", group_signals_crime},
              {"default", ignored}};

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    const struct sigaction passing = {.sa_handler = passing_handler};
    for (size_t i = 0; i < 100; i++)
        kept[i] = malloc(1000);
    for (size_t i = 0; i < sizeof crimes / sizeof crimes[0]; i++)
        if (strcmp(how, crimes[i].name) == 0)
            crimes[i].run();
    if (strcmp(how, "segv") == 0)
        return outer();
    if (strcmp(how, "call") == 0)
        no_function();
    if (strcmp(how, "overflow") == 0)
        return deeper(0);
    if (strcmp(how, "divide") == 0)
        return 7 / zero;
    if (strcmp(how, "trap") == 0)
        __asm__ volatile("int3");
    if (strcmp(how, "illegal") == 0)
        __asm__ volatile("ud2");
    if (strcmp(how, "sent") == 0)
        kill(getpid(), SIGBUS);
    if (strcmp(how, "thread_segv") == 0)
        in_thread(thread_segv);
    if (strcmp(how, "thread_overflow") == 0)
        in_thread(thread_overflow);
    if (strcmp(how, "own") == 0) {
        signal(SIGSEGV, own_handler);
        return outer();
    }
    if (strcmp(how, "passing") == 0) {
        sigaction(SIGSEGV, &passing, &before);
        return outer();
    }
    if (strcmp(how, "own_abort") == 0) {
        signal(SIGABRT, own_handler);
        double_free();
    }
    return 0;
}
