/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the kernel tells of a thread.
 */
#include "leak/task.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "leak/stop_signal.h"
#include "sys/rawcall.h"

/* Flags of a task: linux/sched.h, PF_EXITING and PF_IO_WORKER. */
#define EXITING   0x04
#define IO_WORKER 0x10

long task_read(int dir, uint32_t tid, const char *file, char *text, size_t cap) {
    char path[32], *p = path + sizeof path - strlen(file) - 1;
    memcpy(p, file, strlen(file) + 1);
    for (; tid != 0; tid /= 10)
        *--p = (char)('0' + tid % 10);
    int fd = (int)sys_call4(SYS_openat, dir, (long)p, O_RDONLY | O_CLOEXEC, 0);
    long n = fd;
    if (fd >= 0) {
        n = sys_call3(SYS_read, fd, (long)text, (long)cap - 1);
        sys_call3(SYS_close, fd, 0, 0);
    }
    text[n > 0 && fd >= 0 ? n : 0] = '\0';
    return n;
}

/* takes_none tells of threads that take no signals: who is ending, and need not be scheduled for
 * long, and the kernel's own for io_uring, which it lists among the program's, and which have
 * nothing of the program's.  `p` is at the state, and the flags are the seventh field from there.
 */
static bool takes_none(const char *p) {
    uint32_t flags = 0;
    for (int i = 0; i < 6 && p != NULL; i++)
        p = strchr(p + 1, ' ');
    for (p = p != NULL ? p + 1 : ""; *p >= '0' && *p <= '9'; p++)
        flags = flags * 10 + (uint32_t)(*p - '0');
    return (flags & (EXITING | IO_WORKER)) != 0;
}

/* The file has "123 (name) S ...". */
char task_state(int dir, uint32_t tid) {
    char text[256];
    if (sys_call3(SYS_tgkill, sys_call3(SYS_getpid, 0, 0, 0), tid, 0) == -ESRCH)
        return 'Z';
    long n = task_read(dir, tid, "/stat", text, sizeof text);
    if (n == -ENOENT || n == -ESRCH)
        return 'Z';
    const char *p = strrchr(text, ')');
    if (p == NULL || p[1] == '\0')
        return ' ';
    return p[2] == 'X' || takes_none(p + 2) ? 'Z' : p[2];
}

uint64_t task_hex(const char *s) {
    uint64_t v = 0;
    for (s += s[0] == '0' && s[1] == 'x' ? 2 : 0;; s++) {
        unsigned c = (unsigned char)*s;
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (c >= 'a' && c <= 'f')
            v = v << 4 | (c - 'a' + 10);
        else
            return v;
    }
}

bool task_blocks(int dir, uint32_t tid) {
    static const char key[] = "\nSigBlk:\t";
    char text[4096];
    long n = task_read(dir, tid, "/status", text, sizeof text);
    const char *mask = n > 0 ? memmem(text, (size_t)n, key, sizeof key - 1) : NULL;
    return mask == NULL || (task_hex(mask + sizeof key - 1) >> (STOP_SIGNAL - 1) & 1) != 0;
}
