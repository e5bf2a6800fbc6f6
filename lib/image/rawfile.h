/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Files by raw system calls: no errno, no cancellation point, no lock.  All return the kernel's
 * answer, a negative errno on failure.
 */
#ifndef GM_IMAGE_RAWFILE_H
#define GM_IMAGE_RAWFILE_H

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "sys/file_id.h"
#include "sys/rawcall.h"

static inline int raw_open(const char *path, int flags, unsigned mode) {
    return (int)sys_call4(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode);
}

static inline void raw_close(int fd) {
    sys_call3(SYS_close, fd, 0, 0);
}

static inline long raw_read(int fd, void *buf, size_t n) {
    return sys_call3(SYS_read, fd, (long)buf, (long)n);
}

static inline long raw_pwrite(int fd, const void *buf, size_t n, uint64_t offset) {
    return sys_call4(SYS_pwrite64, fd, (long)buf, (long)n, (long)offset);
}

static inline int raw_fstat(int fd, struct stat *ret) {
    return (int)sys_call3(SYS_fstat, fd, (long)ret, 0);
}

static inline int raw_lstat(const char *path, struct stat *ret) {
    return (int)sys_call3(SYS_lstat, (long)path, (long)ret, 0);
}

static inline int raw_unlink(const char *path) {
    return (int)sys_call3(SYS_unlink, (long)path, 0, 0);
}

static inline int raw_rename(const char *from, const char *to) {
    return (int)sys_call3(SYS_rename, (long)from, (long)to, 0);
}

static inline int raw_getpid(void) {
    return (int)sys_call3(SYS_getpid, 0, 0, 0);
}

static inline uint64_t raw_clock_ns(clockid_t clock) {
    struct timespec t = {0};
    clock_gettime(clock, &t); /* cannot fail for the clocks used here */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* raw_read_file reads the file's first cap - 1 bytes and ends them with a zero byte; returns their
 * number. */
long raw_read_file(const char *path, char *buf, size_t cap);

/* raw_random fills n <= 256 bytes at p, from the kernel or, should it refuse, from the clock. */
void raw_random(void *p, size_t n);

#endif
