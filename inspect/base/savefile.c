/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing a file so that its name stands for the whole of it or for nothing, and that a program
 * which is killed meanwhile leaves nothing beside it: a file without a name in the same directory,
 * fsync, and a name for it.  If there is a file of that name, by way of PATH.tmp~, which is whole
 * while it exists, and which the next writer takes over.  Where the file system or /proc has no
 * part in this, a temporary name is used all the time.
 *
 * A device or a pipe (/dev/stdout, /dev/null) is written to as it is, not replaced; of a symbolic
 * link it is the file behind it that is replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/savefile.h"
#include "base/say.h"

#define NOT_POSSIBLE 1 /* beside 0 and negative errnos */

static int write_bytes(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

/* write_all waits until they are on disk. */
static int write_all(int fd, const char *p, size_t n) {
    int error = write_bytes(fd, p, n);
    return error || fsync(fd) == 0 ? error : -errno;
}

/* open_dir opens the folder that the path is in. */
static int open_dir(const char *path, int flags, mode_t mode) {
    char *copy = must_dup(path);
    int fd = open(dirname(copy), flags | O_CLOEXEC, mode);
    free(copy);
    return fd;
}

static int link_fd(int fd, const char *path) {
    char name[64];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

/* replace puts it in the place of a file; another writer may do so at the same time. */
static int replace(int fd, const char *path) {
    char *temporary = must_format("%s.tmp~", path);
    unlink(temporary);
    int error = link_fd(fd, temporary);
    if (error && error != -EEXIST)
        error = NOT_POSSIBLE;
    else
        error = rename(temporary, path) == 0 || errno == ENOENT ? 0 : -errno;
    if (error && error != NOT_POSSIBLE)
        unlink(temporary); /* path is a folder, for one */
    free(temporary);
    return error;
}

static int write_unnamed(const char *path, const void *bytes, size_t size, mode_t mode) {
    int fd = open_dir(path, O_WRONLY | O_TMPFILE, mode);
    if (fd < 0)
        return NOT_POSSIBLE;
    int error = write_all(fd, bytes, size);
    if (!error && (error = link_fd(fd, path)) != 0)
        error = error == -EEXIST ? replace(fd, path) : NOT_POSSIBLE;
    close(fd);
    return error;
}

static int write_named(const char *path, const void *bytes, size_t size, mode_t mode) {
    char *temporary = must_format("%s.tmp-%d", path, (int)getpid());
    unlink(temporary); /* of a process of that number that did not get to its end */
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    int error = fd < 0 ? -errno : write_all(fd, bytes, size);
    if (fd >= 0 && close(fd) != 0 && !error)
        error = -errno;
    if (!error && rename(temporary, path) != 0)
        error = -errno;
    if (error && fd >= 0)
        unlink(temporary);
    free(temporary);
    return error;
}

/* write_special writes to what is there and is neither a file nor a folder: no disk to wait for. */
static int write_special(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    int error = fd < 0 ? -errno : write_bytes(fd, bytes, size);
    if (fd >= 0 && close(fd) != 0 && !error)
        error = -errno;
    return error;
}

static int save_file(const char *path, const void *bytes, size_t size, mode_t mode) {
    int error = write_unnamed(path, bytes, size, mode);
    if (error == NOT_POSSIBLE)
        error = write_named(path, bytes, size, mode);
    int dir = error ? -1 : open_dir(path, O_RDONLY | O_DIRECTORY, 0);
    if (dir >= 0) {
        (void)fsync(dir); /* not every file system can */
        close(dir);
    }
    return error;
}

static int save(const char *path, const void *bytes, size_t size, mode_t mode) {
    struct stat st;
    bool there = stat(path, &st) == 0;
    if (!there && errno != ENOENT) /* a link, too, that the kernel does not let us follow */
        return -errno;
    if (there && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return write_special(path, bytes, size);
    bool link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    char *behind = link ? realpath(path, NULL) : NULL;
    int error = save_file(behind ? behind : path, bytes, size, mode);
    free(behind);
    return error;
}

int savefile(const char *path, const void *bytes, size_t size) {
    return save(path, bytes, size, 0600); /* a heap may hold secrets, as a core file may */
}

int savefile_own(const char *path, const void *bytes, size_t size) {
    return save_file(path, bytes, size, 0600);
}

int savefile_text(const char *path, const char *text, size_t size) {
    return save(path, text, size, 0666);
}

char savefile_kind(const char *path) {
    const char *dot = strrchr(path, '.');
    if (dot && strcmp(dot, ".gmi") == 0)
        return 'g';
    return dot && strcmp(dot, ".db") == 0 ? 'd' : 0;
}
