/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An image in a file: whole, or not there.
 *
 * It is written under a name of its own in the same directory, brought to the disk, and renamed.  A
 * full disk, a bound on file sizes or a crash leaves what was there before.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "agent/image_write.h"
#include "agent/rawfile.h"
#include "sys/fmt.h"

static int fail(int error, const char *what, const char *path, char *err, size_t errlen) {
    struct fmt f = fmt_on(err, errlen);
    const char *why = strerrordesc_np(-error);
    fmt_str(&f, what);
    fmt_char(&f, ' ');
    fmt_str(&f, path);
    fmt_str(&f, ": ");
    fmt_str(&f, why != NULL ? why : "unknown error");
    return error;
}

/* A write beyond RLIMIT_FSIZE is answered with a signal that ends the program.  Ours must not: it
 * is blocked meanwhile, and taken away if it came. */
struct size_signal {
    uint64_t old; /* mask */
    bool pending; /* already, before */
};

static const uint64_t size_signal_set = UINT64_C(1) << (SIGXFSZ - 1);

static bool size_signal_pending(void) {
    uint64_t pending = 0;
    sys_call3(SYS_rt_sigpending, (long)&pending, sizeof pending, 0);
    return (pending & size_signal_set) != 0;
}

static struct size_signal block_size_signal(void) {
    struct size_signal s = {.pending = size_signal_pending()};
    sys_call4(SYS_rt_sigprocmask, SIG_BLOCK, (long)&size_signal_set, (long)&s.old, sizeof s.old);
    return s;
}

static void unblock_size_signal(struct size_signal s) {
    struct timespec now = {0};
    if (!s.pending && size_signal_pending())
        sys_call4(SYS_rt_sigtimedwait, (long)&size_signal_set, 0, (long)&now, sizeof s.old);
    sys_call4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&s.old, 0, sizeof s.old);
}

/* temp_name makes "PATH.PID.RANDOM.tmp". */
static bool temp_name(const char *path, char *buf, size_t cap) {
    uint32_t number;
    raw_random(&number, sizeof number);
    struct fmt f = fmt_on(buf, cap);
    fmt_str(&f, path);
    fmt_char(&f, '.');
    fmt_uint(&f, (uint64_t)raw_getpid());
    fmt_char(&f, '.');
    fmt_uint(&f, number);
    fmt_str(&f, ".tmp");
    return !f.cut;
}

/* sync_dir_of brings the new name to the disk, as far as the file system does that. */
static void sync_dir_of(const char *path) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    struct fmt f = fmt_on(dir, sizeof dir);
    if (slash == NULL)
        fmt_char(&f, '.');
    else
        fmt_mem(&f, path, (size_t)(slash - path) + (slash == path));
    int fd = raw_open(dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return;
    sys_call3(SYS_fsync, fd, 0, 0);
    raw_close(fd);
}

/* may_replace tells whether path is a regular file or free: not a device or a directory, which
 * rename would put the image in the place of. */
static bool may_replace(const char *path) {
    struct stat st;
    return sys_call3(SYS_stat, (long)path, (long)&st, 0) != 0 || S_ISREG(st.st_mode);
}

/* What is to be written, and where a failure is told. */
struct content {
    int (*write)(void *arg, int fd, char *err, size_t errlen); /* as image_write_fd */
    void *arg;
};

static int write_temp(const char *temp, const struct content *c, char *err, size_t errlen) {
    int fd = raw_open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(fd, "cannot create", temp, err, errlen);
    int error = c->write(c->arg, fd, err, errlen);
    if (error != 0)
        fail(error, "cannot write", temp, err, errlen);
    if (error == 0 && (error = (int)sys_call3(SYS_fsync, fd, 0, 0)) != 0)
        fail(error, "cannot write", temp, err, errlen);
    raw_close(fd);
    return error;
}

int image_write_file_by(const char *path,
                        int (*write)(void *arg, int fd, char *err, size_t errlen), void *arg,
                        char *err, size_t errlen) {
    const struct content c = {write, arg};
    char temp[PATH_MAX];
    if (path[0] == '\0' || !temp_name(path, temp, sizeof temp))
        return fail(path[0] == '\0' ? -ENOENT : -ENAMETOOLONG, "cannot write", path, err, errlen);
    if (!may_replace(path))
        return fail(-EEXIST, "not a regular file:", path, err, errlen);
    struct size_signal s = block_size_signal();
    int error = write_temp(temp, &c, err, errlen);
    if (error == 0 && (error = raw_rename(temp, path)) != 0)
        fail(error, "cannot rename to", path, err, errlen);
    if (error != 0 && error != -EEXIST)
        raw_unlink(temp);
    else
        sync_dir_of(path);
    unblock_size_signal(s);
    return error;
}

static int write_all(void *arg, int fd, char *err, size_t errlen) {
    return image_write_fd(fd, 0, *(const uint64_t *)arg, err, errlen);
}

int image_write_file(const char *path, uint64_t flags, char *err, size_t errlen) {
    return image_write_file_by(path, write_all, &flags, err, errlen);
}
