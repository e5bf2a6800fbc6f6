/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing a file so that its name stands for the whole of it or for nothing: a temporary file in
 * the same directory, fsync, rename.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "savefile.h"
#include "say.h"

static int write_all(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

static int save(const char *path, const void *bytes, size_t size, mode_t mode) {
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

int savefile(const char *path, const void *bytes, size_t size) {
    return save(path, bytes, size, 0600); /* a heap may hold secrets, as a core file may */
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
