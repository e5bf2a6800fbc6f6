/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The agent's listening socket and its name in the file system.
 *
 * The directory is $GOMALLOC_DIR and no other; or $XDG_RUNTIME_DIR/gomalloc if that can be had,
 * else /tmp/gomalloc-UID.  It must be a directory of our own that nobody else may enter: in /tmp
 * anybody could have made one of that name before us.
 *
 * An older PID.sock that nobody listens on is left over from a dead process (or from this one
 * before an exec) and is replaced; one that answers belongs to a process of the same number in
 * another pid namespace, and stays.
 */
#include "agent/agent_socket.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "image/agent_stats.h"
#include "sys/fmt.h"
#include "sys/lock.h"

#define BACKLOG 128

/* High descriptors are below this: select() takes no more, and a table of a million entries would
 * be copied at each fork. */
#define HIGH_FD_END 1024

/* From the environment; empty: not set. */
static char own_dir[PATH_MAX];  /* $GOMALLOC_DIR */
static char user_dir[PATH_MAX]; /* $XDG_RUNTIME_DIR */

/* Guards the name: taking it against removing it at exit. */
static struct mutex name_lock = MUTEX_INIT(LOCK_RANK_AGENT);
static bool exiting; /* no name is taken any more */

static void remember(char *dir, size_t cap, const char *name, bool may_be_relative) {
    const char *value = getenv(name);
    struct fmt f = fmt_on(dir, cap);
    if (value == NULL || value[0] == '\0' || (value[0] != '/' && !may_be_relative))
        return;
    if (value[0] != '/') {
        /* The program may change its directory before the name is removed. */
        long n = sys_call3(SYS_getcwd, (long)dir, (long)cap, 0);
        f.len = n > 0 ? (size_t)n - 1 : 0;
        fmt_char(&f, '/');
    }
    fmt_str(&f, value);
}

void agent_socket_remember_dir(void) {
    remember(own_dir, sizeof own_dir, "GOMALLOC_DIR", true);
    remember(user_dir, sizeof user_dir, "XDG_RUNTIME_DIR", false);
}

static uint32_t effective_user(void) {
    return (uint32_t)sys_call3(SYS_geteuid, 0, 0, 0);
}

/* private_dir tells whether path is a directory of ours that is closed to others, making it if it
 * is not there. */
static bool private_dir(const char *path) {
    struct stat st;
    if (sys_call3(SYS_mkdir, (long)path, 0700, 0) == 0)
        sys_call3(SYS_chmod, (long)path, 0700, 0); /* whatever the umask took away */
    return raw_lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == effective_user() &&
           (st.st_mode & 077) == 0;
}

/* owned_dir tells whether path is a directory of ours: not that of who started us by sudo. */
static bool owned_dir(const char *path) {
    struct stat st;
    return raw_lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == effective_user();
}

static bool choose_dir(struct fmt *f) {
    if (own_dir[0] != '\0') {
        fmt_str(f, own_dir);
        return !f->cut && private_dir(f->buf);
    }
    if (user_dir[0] != '\0' && owned_dir(user_dir)) {
        fmt_str(f, user_dir);
        fmt_str(f, "/gomalloc");
        if (!f->cut && private_dir(f->buf))
            return true;
    }
    *f = fmt_on(f->buf, f->cap);
    fmt_str(f, "/tmp/gomalloc-");
    fmt_uint(f, effective_user());
    return private_dir(f->buf);
}

static int new_socket(void) {
    return (int)sys_call3(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* set_path makes "DIR/PID.sock".  False: it is too long. */
static bool set_path(struct sockaddr_un *a, const struct fmt *dir) {
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    struct fmt f = fmt_on(a->sun_path, sizeof a->sun_path);
    fmt_mem(&f, dir->buf, dir->len);
    fmt_char(&f, '/');
    fmt_uint(&f, (uint64_t)raw_getpid());
    fmt_str(&f, ".sock");
    return !f.cut;
}

/* name_is_free tells whether nobody listens at the name, and nothing but a socket has it. */
static bool name_is_free(const struct sockaddr_un *a) {
    struct stat st;
    int r = raw_lstat(a->sun_path, &st);
    if (r != 0)
        return r == -ENOENT;
    if (!S_ISSOCK(st.st_mode))
        return false;
    int fd = new_socket();
    if (fd < 0)
        return false;
    struct file_id id = file_id_of(fd);
    long error = sys_call3(SYS_connect, fd, (long)a, sizeof *a);
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    if (error == 0)
        sys_call6(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, (long)&peer, (long)&size, 0);
    raw_close_own(fd, id);
    /* Our own: from before the program took our descriptor away. */
    return error == -ECONNREFUSED || (error == 0 && peer.pid == raw_getpid());
}

/* take_name gives the socket its name, and begins to listen. */
static bool take_name(struct agent_socket *s, int fd, const struct sockaddr_un *a) {
    bool ok = false;
    mutex_lock(&name_lock);
    if (!exiting && name_is_free(a)) {
        raw_unlink(a->sun_path);
        ok = sys_call3(SYS_bind, fd, (long)a, sizeof *a) == 0;
    }
    if (ok) {
        memcpy(s->path, a->sun_path, sizeof s->path);
        s->pid = raw_getpid();
        /* The directory is closed to others, and nobody can connect yet: the umask does not matter.
         */
        ok = sys_call3(SYS_chmod, (long)a->sun_path, 0600, 0) == 0 &&
             sys_call3(SYS_listen, fd, BACKLOG, 0) == 0;
        if (!ok)
            raw_unlink(a->sun_path);
    }
    mutex_unlock(&name_lock);
    return ok;
}

/* move_up puts the descriptor near the end of the table. */
static int move_up(int fd, struct file_id id) {
    struct rlimit limit = {0};
    sys_call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit);
    rlim_t end = limit.rlim_cur < HIGH_FD_END ? limit.rlim_cur : HIGH_FD_END;
    long high = end > 64 ? sys_call3(SYS_fcntl, fd, F_DUPFD_CLOEXEC, (long)end - 8) : -EINVAL;
    if (high < 0)
        return fd;
    raw_close_own(fd, id);
    return (int)high;
}

bool agent_socket_open(struct agent_socket *s, bool high) {
    char buf[sizeof s->path];
    struct fmt dir = fmt_on(buf, sizeof buf);
    struct sockaddr_un a;
    s->fd = -1;
    s->owner = effective_user();
    int fd = choose_dir(&dir) ? new_socket() : -1;
    s->id = file_id_of(fd);
    if (fd >= 0 && set_path(&a, &dir) && take_name(s, fd, &a)) {
        s->fd = high ? move_up(fd, s->id) : fd;
        agent_socket_sweep(dir.buf);
        return true;
    }
    if (fd >= 0)
        raw_close_own(fd, s->id);
    agent_count(AGENT_BIND_FAILED);
    return false;
}

int agent_socket_unnamed_file(void) {
    char buf[PATH_MAX];
    struct fmt dir = fmt_on(buf, sizeof buf);
    return choose_dir(&dir) ? raw_open(dir.buf, O_RDWR | O_TMPFILE | O_EXCL, 0600) : -ENOENT;
}

bool agent_socket_is_ours(const struct agent_socket *s) {
    return file_id_same(s->id, file_id_of(s->fd));
}

void agent_socket_unlink(struct agent_socket *s) {
    mutex_lock(&name_lock);
    exiting = true;
    if (s->pid != 0 && s->pid == raw_getpid())
        raw_unlink(s->path);
    s->pid = 0;
    mutex_unlock(&name_lock);
}

void agent_socket_forget(struct agent_socket *s) {
    mutex_reset(&name_lock);
    exiting = false;
    raw_close_own(s->fd, s->id);
    s->fd = -1;
    s->pid = 0;
}
