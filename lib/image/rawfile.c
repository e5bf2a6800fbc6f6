/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Files by raw system calls.
 */
#include "image/rawfile.h"

#include <errno.h>

long raw_read_file(const char *path, char *buf, size_t cap) {
    buf[0] = '\0';
    int fd = raw_open(path, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    struct file_id id = file_id_of(fd);
    size_t n = 0;
    long r = 0;
    while (n < cap - 1 && file_id_same(id, file_id_of(fd))) {
        r = raw_read(fd, buf + n, cap - 1 - n);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    raw_close_own(fd, id);
    buf[n] = '\0';
    return r < 0 ? r : (long)n;
}

void raw_random(void *p, size_t n) {
    if (sys_call3(SYS_getrandom, (long)p, (long)n, 0) == (long)n)
        return;
    /* Unique is all that is asked for: the clock and the thread are. */
    uint64_t x = raw_clock_ns(CLOCK_MONOTONIC) ^ (uint64_t)sys_call3(SYS_gettid, 0, 0, 0) << 40;
    for (size_t i = 0; i < n; i++) {
        x = x * 0x5851f42d4c957f2du + 0x14057b7ef767814fu;
        ((unsigned char *)p)[i] = (unsigned char)(x >> 56);
    }
}
