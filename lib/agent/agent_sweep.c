/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Removing the names of sockets that nobody listens on.
 *
 * A process that is killed, or ends by _exit, leaves its name behind: each new agent tidies its
 * directory.  A socket that refuses a connection is dead, whatever has become of the process of
 * that number; one that accepts may belong to another pid namespace.  Processes that live here are
 * not asked, so as not to wake their agents.
 */
#include <errno.h>
#include <sys/socket.h>

#include "agent/agent_socket.h"
#include "sys/fmt.h"

#define MAX_ENTRIES 4096 /* looked at in one sweep */

/* What getdents64 writes. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

/* pid_of returns the number in "NUMBER.sock", 0 if the name is another. */
static uint64_t pid_of(const char *name) {
    uint64_t pid = 0;
    const char *p = name;
    for (; *p >= '0' && *p <= '9' && p - name < 10; p++)
        pid = pid * 10 + (uint64_t)(*p - '0');
    const char *suffix = ".sock";
    while (*p != '\0' && *p == *suffix) {
        p++;
        suffix++;
    }
    return *p == '\0' && *suffix == '\0' ? pid : 0;
}

static bool nobody_listens(const struct sockaddr_un *a) {
    int fd = (int)sys_call3(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    struct file_id id = file_id_of(fd);
    long error = sys_call3(SYS_connect, fd, (long)a, sizeof *a);
    raw_close_own(fd, id);
    return error == -ECONNREFUSED;
}

static void sweep_entry(const char *dir, const struct entry *e) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    uint64_t pid = pid_of(e->name);
    if (pid == 0 || sys_call3(SYS_kill, (long)pid, 0, 0) != -ESRCH)
        return;
    struct fmt f = fmt_on(a.sun_path, sizeof a.sun_path);
    fmt_str(&f, dir);
    fmt_char(&f, '/');
    fmt_str(&f, e->name);
    if (!f.cut && nobody_listens(&a))
        raw_unlink(a.sun_path);
}

void agent_socket_sweep(const char *dir) {
    char buf[4096] __attribute__((aligned(8)));
    int fd = raw_open(dir, O_RDONLY | O_DIRECTORY, 0);
    long n, entries = 0;
    if (fd < 0)
        return;
    struct file_id id = file_id_of(fd);
    while (entries < MAX_ENTRIES &&
           (n = sys_call3(SYS_getdents64, fd, (long)buf, sizeof buf)) > 0) {
        const struct entry *e;
        for (long at = 0; at < n; at += e->size, entries++) {
            e = (const struct entry *)(buf + at);
            sweep_entry(dir, e);
        }
    }
    raw_close_own(fd, id);
}
