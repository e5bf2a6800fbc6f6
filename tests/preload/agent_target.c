/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program for the agent to live in.  It says "PID ready" and goes on allocating until its
 * standard input ends; then it looks after its own descriptors and exits: 0 if all is well.
 *
 *   agent_target [MODE...]
 *     closefrom   closes all descriptors from 3 on and puts listening sockets of its own at the
 *                 numbers that were the library's, on which nobody but itself may act
 *     fork        goes on in a forked child, too; says "PID child"
 *     daemon      goes on in a grandchild, as daemon(3) has it; says "PID ready" there
 *     quiet       allocates nothing while it waits
 *     grow        leaves the process no free descriptor, and keeps what it allocates
 *     shared      first, and once: executes itself where the kernel refuses a thread a descriptor
 *                 table of its own
 */
#include <linux/audit.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "check.h"

enum { NFDS = 1024 };

static ino_t own_inode[NFDS];

/* The low numbers, where programs have theirs, and the high ones, where the library's may be; not
 * all, because a process without a free number cannot be asked. */
static bool is_own_number(int fd) {
    return (fd >= 3 && fd < 200) || fd >= 900;
}

static void forbid_own_tables(void) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLOSE_RANGE_UNSHARE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof code[0], code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static int listening_socket(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sa_family_t family = AF_UNIX; /* a bare family: the kernel finds a name */
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&family, sizeof family) == 0);
    CHECK(listen(fd, 8) == 0);
    return fd;
}

static void take_all_numbers(void) {
    struct stat st;
    closefrom(3);
    for (int i = 3; i < NFDS; i++) {
        if (!is_own_number(i))
            continue;
        int fd = listening_socket();
        if (fd != i)
            CHECK(dup2(fd, i) == i && close(fd) == 0);
        CHECK(fstat(i, &st) == 0);
        own_inode[i] = st.st_ino;
    }
}

/* The numbers are what they were, and each still listens with nothing taken from its queue. */
static void check_own_numbers(void) {
    struct stat st;
    for (int i = 3; i < NFDS; i++) {
        int listens = 0;
        socklen_t size = sizeof listens;
        if (!is_own_number(i))
            continue;
        CHECK(fstat(i, &st) == 0 && st.st_ino == own_inode[i]);
        CHECK(getsockopt(i, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens == 1);
    }
}

/* A span comes and goes each time, which is what the library calls activity. */
static void allocate(void) {
    free(malloc(100000));
    void *p[200];
    for (int i = 0; i < 200; i++)
        CHECK((p[i] = malloc(3000)) != NULL);
    for (int i = 0; i < 200; i++)
        free(p[i]);
}

/* 0, 1 and 2 are in use and stay so.  The lowest free number would not do: the library's thread may
 * have one below that just now, which is free when it is done. */
static void leave_no_descriptor(void) {
    const struct rlimit none = {3, 3};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(dup(0) < 0);
}

/* 1 MiB more, 1000 times at most. */
static void grow(void) {
    enum { MOST = 1000, SIZE = 1 << 20 };
    static char *kept[MOST];
    static int n;
    if (n == MOST)
        return;
    CHECK((kept[n] = malloc(SIZE)) != NULL);
    memset(kept[n++], 1, SIZE);
}

static void (*idle)(void) = allocate; /* done again and again */

static void live(bool quiet) {
    struct pollfd p = {.fd = 0, .events = POLLIN};
    char byte;
    while (poll(&p, 1, quiet ? -1 : 20) == 0 || read(0, &byte, 1) > 0)
        idle();
}

static void say(const char *what) {
    char line[64];
    int n = snprintf(line, sizeof line, "%d %s\n", (int)getpid(), what);
    CHECK(write(1, line, (size_t)n) == n);
}

int main(int argc, char **argv) {
    bool quiet = false, took = false;
    pid_t child = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "shared") == 0) {
            forbid_own_tables();
            argv[i] = argv[0];
            execv("/proc/self/exe", &argv[i]);
            CHECK(!"exec");
        } else if (strcmp(argv[i], "closefrom") == 0) {
            take_all_numbers();
            took = true;
        } else if (strcmp(argv[i], "fork") == 0) {
            CHECK((child = fork()) >= 0);
            if (child == 0) {
                say("child");
                live(false);
                return 0;
            }
        } else if (strcmp(argv[i], "daemon") == 0) {
            if (fork() != 0)
                _exit(0);
            setsid();
            if (fork() != 0)
                _exit(0);
        } else if (strcmp(argv[i], "grow") == 0) {
            leave_no_descriptor();
            idle = grow;
        } else if (strcmp(argv[i], "quiet") == 0) {
            quiet = true;
        }
    }
    say("ready");
    live(quiet);
    if (took)
        check_own_numbers();
    if (child != 0) {
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    return 0;
}
