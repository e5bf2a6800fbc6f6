/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program whose leak check is disturbed, for leak_copy.bats:
 *
 *      copy_demo rest      has much to look through, so that the copy lives for a moment
 *      copy_demo filter    may make no process from now on, by a filter of system calls
 *      copy_demo memory    is refused one for want of memory, as where it may not be committed
 *      copy_demo limit     is refused one by a limit on processes
 *      copy_demo file      has no files in memory
 *      copy_demo withheld  keeps memory from its children that leads to the only object
 *      copy_demo wiped     has it wiped in its children
 *      copy_demo private   as withheld, and gives no core, as a server that has changed its user
 *      copy_demo sparse    has a terabyte mapped, of which three pages are touched; one of them
 *                          leads to the only object that is not lost
 *
 * It says "ready" and waits for signals, so that it ends if a call of its own is interrupted.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OBJECTS = 1500, WORDS = 8192 };

static uintptr_t **root;

static int make_much(void) {
    for (size_t i = 0; i < OBJECTS; i++) {
        uintptr_t **p = malloc(WORDS * sizeof *p);
        for (size_t w = 0; p != NULL && w < WORDS; w++)
            p[w] = (uintptr_t *)(root != NULL ? root : p);
        root = p;
    }
    return root != NULL;
}

/* forbid has a system call fail with that errno, in all threads: the agent's is among them. */
static int forbid(unsigned nr, int error) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
    };
    const struct sock_fprog filter = {.len = sizeof code / sizeof *code, .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0;
}

static int map_much(void) {
    size_t n = (size_t)1 << 40;
    char *p =
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return 0;
    p[0] = p[n - 1] = 1;
    *(void **)(p + n / 2) = malloc(1000);
    return 1;
}

/* map_withheld maps 12 pages that a child does not get, or gets wiped. */
static void **map_withheld(int advice) {
    enum { SIZE_OF_MAPPING = 12 << 12 };
    void **p =
        mmap(NULL, SIZE_OF_MAPPING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && madvise(p, SIZE_OF_MAPPING, advice) == 0 ? p : NULL;
}

static int keep_in(void **p) {
    if (p != NULL)
        p[5000] = malloc(1000);
    return p != NULL;
}

/* be_private changes the user when there is a socket, which is made by the first one.  It looks the
 * call up: a program that imports it gets the library's thread later. */
static int be_private(void) {
    int (*change)(uid_t, uid_t, uid_t);
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.sock", getenv("GOMALLOC_DIR"), (int)getpid());
    for (int i = 0; i < 6000 && access(path, F_OK) != 0; i++)
        usleep(10000);
    *(void **)&change = dlsym(RTLD_DEFAULT, "setresuid");
    return (geteuid() != 0 || change(65534, 65534, 65534) == 0) &&
           prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

int main(int argc, char **argv) {
    int ok = 1;
    if (argc != 2)
        return 64;
    if (strcmp(argv[1], "rest") == 0)
        ok = make_much();
    else if (strcmp(argv[1], "filter") == 0)
        ok = forbid(SYS_clone, EPERM);
    else if (strcmp(argv[1], "memory") == 0)
        ok = forbid(SYS_clone, ENOMEM);
    else if (strcmp(argv[1], "limit") == 0)
        ok = forbid(SYS_clone, EAGAIN);
    else if (strcmp(argv[1], "file") == 0)
        ok = forbid(SYS_memfd_create, EPERM);
    else if (strcmp(argv[1], "sparse") == 0)
        ok = map_much();
    else if (strcmp(argv[1], "withheld") == 0)
        ok = keep_in(map_withheld(MADV_DONTFORK));
    else if (strcmp(argv[1], "wiped") == 0)
        ok = keep_in(map_withheld(MADV_WIPEONFORK));
    else if (strcmp(argv[1], "private") == 0)
        ok = be_private() && keep_in(map_withheld(MADV_DONTFORK));
    if (!ok)
        return 77;
    printf("ready\n");
    fflush(stdout);
    return pause();
}
