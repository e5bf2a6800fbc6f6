/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An image in a file: whole, or not there.
 *
 * It is written into a file without a name in the same directory (O_TMPFILE), brought to the disk,
 * and given its name, by way of another one if there is a file of that name already.  So a full
 * disk, a bound on file sizes, a crash or SIGKILL leaves what was there before, and nothing beside
 * it: PATH.tmp~ exists for a moment only, is a whole image then, and is used by the next writer.
 * Where the file system has no such files, or /proc is not there to link them, a temporary name is
 * used all the time, which SIGKILL leaves behind.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "image/image_write.h"
#include "image/rawfile.h"
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

/* dir_of writes the folder that the path is in. */
static void dir_of(const char *path, struct fmt *f) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        fmt_char(f, '.');
    else
        fmt_mem(f, path, (size_t)(slash - path) + (slash == path));
}

/* sync_dir_of brings the new name to the disk, as far as the file system does that. */
static void sync_dir_of(const char *path) {
    char dir[PATH_MAX];
    struct fmt f = fmt_on(dir, sizeof dir);
    dir_of(path, &f);
    int fd = raw_open(dir, O_RDONLY | O_DIRECTORY, 0);
    struct file_id id = file_id_of(fd);
    if (fd < 0)
        return;
    sys_call3(SYS_fsync, fd, 0, 0);
    raw_close_own(fd, id);
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
    char *err;
    size_t errlen;
};

/* fill writes the image into fd, and brings it to the disk. */
static int fill(int fd, const char *path, const struct content *c) {
    int error = c->write(c->arg, fd, c->err, c->errlen);
    if (error != 0)
        return fail(error, "cannot write", path, c->err, c->errlen);
    error = (int)sys_call3(SYS_fsync, fd, 0, 0);
    return error == 0 ? 0 : fail(error, "cannot write", path, c->err, c->errlen);
}

/* ---- without a name ------------------------------------------------------------------------ */

#define NOT_POSSIBLE 1 /* beside 0 and negative errnos */

static int open_unnamed(const char *path) {
    char dir[PATH_MAX];
    struct fmt f = fmt_on(dir, sizeof dir);
    dir_of(path, &f);
    return raw_open(dir, O_WRONLY | O_TMPFILE, 0600);
}

static int link_fd(int fd, const char *path) {
    char link[64];
    struct fmt f = fmt_on(link, sizeof link);
    fmt_str(&f, "/proc/thread-self/fd/"); /* this thread may have descriptors of its own */
    fmt_uint(&f, (uint64_t)fd);
    return (int)sys_call6(SYS_linkat, AT_FDCWD, (long)link, AT_FDCWD, (long)path, AT_SYMLINK_FOLLOW,
                          0);
}

/* replace puts it in the place of the file that is there.  Another writer may be about to do the
 * same by way of the same name: then what is there in the end is his whole image, or ours. */
static int replace(int fd, const char *path) {
    char temp[PATH_MAX];
    struct fmt f = fmt_on(temp, sizeof temp);
    fmt_str(&f, path);
    fmt_str(&f, ".tmp~");
    if (f.cut)
        return NOT_POSSIBLE;
    raw_unlink(temp);
    int error = link_fd(fd, temp);
    if (error != 0 && error != -EEXIST)
        return NOT_POSSIBLE;
    error = raw_rename(temp, path);
    return error == -ENOENT ? 0 : error;
}

static int name_it(int fd, const char *path, const struct content *c) {
    int error = link_fd(fd, path);
    if (error == -EEXIST)
        error = replace(fd, path);
    else if (error != 0)
        return NOT_POSSIBLE;
    return error < 0 ? fail(error, "cannot rename to", path, c->err, c->errlen) : error;
}

static int write_unnamed(const char *path, const struct content *c) {
    int fd = open_unnamed(path);
    if (fd < 0)
        return NOT_POSSIBLE;
    struct file_id id = file_id_of(fd);
    int error = fill(fd, path, c);
    if (error == 0)
        error = name_it(fd, path, c);
    raw_close_own(fd, id);
    return error;
}

/* ---- with a temporary name ----------------------------------------------------------------- */

static int write_temp(const char *temp, const struct content *c) {
    int fd = raw_open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail(fd, "cannot create", temp, c->err, c->errlen);
    struct file_id id = file_id_of(fd);
    int error = fill(fd, temp, c);
    raw_close_own(fd, id);
    return error;
}

static int write_named(const char *path, const struct content *c) {
    char temp[PATH_MAX];
    if (!temp_name(path, temp, sizeof temp))
        return fail(-ENAMETOOLONG, "cannot write", path, c->err, c->errlen);
    int error = write_temp(temp, c);
    if (error == 0 && (error = raw_rename(temp, path)) != 0)
        fail(error, "cannot rename to", path, c->err, c->errlen);
    if (error != 0 && error != -EEXIST)
        raw_unlink(temp);
    return error;
}

int image_write_file_by(const char *path, int (*write)(void *arg, int fd, char *err, size_t errlen),
                        void *arg, char *err, size_t errlen) {
    const struct content c = {write, arg, err, errlen};
    if (path[0] == '\0')
        return fail(-ENOENT, "cannot write", path, err, errlen);
    if (!may_replace(path))
        return fail(-EEXIST, "not a regular file:", path, err, errlen);
    struct size_signal s = block_size_signal();
    int error = write_unnamed(path, &c);
    if (error == NOT_POSSIBLE)
        error = write_named(path, &c);
    if (error == 0)
        sync_dir_of(path);
    unblock_size_signal(s);
    return error;
}

struct sections {
    uint64_t mask;
    uint64_t flags;
};

static int write_sections(void *arg, int fd, char *err, size_t errlen) {
    const struct sections *s = arg;
    return image_write_fd(fd, s->mask, s->flags, err, errlen);
}

int image_write_file_of(const char *path, uint64_t sections, uint64_t flags, char *err,
                        size_t errlen) {
    struct sections s = {sections, flags};
    return image_write_file_by(path, write_sections, &s, err, errlen);
}

int image_write_file(const char *path, uint64_t flags, char *err, size_t errlen) {
    return image_write_file_of(path, 0, flags, err, errlen);
}
