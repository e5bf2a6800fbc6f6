/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The process's mappings, line by line.
 *
 *   7f1c5a400000-7f1c5a428000 r--p 00000000 fe:01 1311 <spaces>/usr/lib/libc.so.6
 */
#include "sys/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "sys/rawcall.h"

bool maps_open(struct maps_reader *r) {
    return maps_open_file(r, "/proc/self/maps");
}

bool maps_open_file(struct maps_reader *r, const char *path) {
    r->have = r->done = 0;
    r->failed = false;
    r->fd = (int)sys_call4(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0);
    r->id = file_id_of(r->fd);
    if (r->id.ino == 0)
        r->fd = -1;
    r->failed = r->fd < 0;
    return r->fd >= 0;
}

void maps_close(struct maps_reader *r) {
    raw_close_own(r->fd, r->id);
    r->fd = -1;
}

/* fill reads on behind what has not been told yet; false: there is no more. */
static bool fill(struct maps_reader *r) {
    memmove(r->buf, r->buf + r->done, r->have - r->done);
    r->have -= r->done;
    r->done = 0;
    long n = -EBADF;
    do {
        if (file_id_same(r->id, file_id_of(r->fd)))
            n = sys_call3(SYS_read, r->fd, (long)(r->buf + r->have),
                          (long)(sizeof r->buf - r->have));
    } while (n == -EINTR);
    if (n < 0)
        r->failed = true;
    if (n <= 0)
        return false;
    r->have += (size_t)n;
    return true;
}

struct cursor {
    const char *p;
    const char *end;
};

/* take_number reads a number and what ends it: '-', ':' or ' '. */
static uint64_t take_number(struct cursor *c, unsigned base) {
    uint64_t v = 0;
    for (; c->p < c->end; c->p++) {
        unsigned digit = 16;
        if (*c->p >= '0' && *c->p <= '9')
            digit = (unsigned)(*c->p - '0');
        else if (*c->p >= 'a' && *c->p <= 'f')
            digit = (unsigned)(*c->p - 'a') + 10;
        if (digit >= base)
            break;
        v = v * base + digit;
    }
    c->p += c->p < c->end;
    return v;
}

static void take_flags(struct cursor *c, struct maps_line *l) {
    for (; c->p < c->end && *c->p != ' '; c->p++) {
        l->prot |= *c->p == 'r'   ? PROT_READ
                   : *c->p == 'w' ? PROT_WRITE
                   : *c->p == 'x' ? PROT_EXEC
                                  : 0u;
        l->shared |= *c->p == 's';
    }
    c->p += c->p < c->end;
}

struct maps_line maps_parse(const char *text, size_t n) {
    struct cursor c = {text, text + n};
    struct maps_line l = {0};
    l.start = take_number(&c, 16);
    l.end = take_number(&c, 16);
    take_flags(&c, &l);
    l.offset = take_number(&c, 16);
    take_number(&c, 16); /* the device */
    take_number(&c, 16);
    l.inode = take_number(&c, 10);
    while (c.p < c.end && *c.p == ' ')
        c.p++;
    l.path = c.p;
    l.path_len = (size_t)(c.end - c.p);
    return l;
}

bool maps_next_text(struct maps_reader *r, const char **ret, size_t *ret_n) {
    const char *nl;
    while ((nl = memchr(r->buf + r->done, '\n', r->have - r->done)) == NULL)
        if (!fill(r))
            return false;
    *ret = r->buf + r->done;
    *ret_n = (size_t)(nl - *ret);
    r->done += *ret_n + 1;
    return true;
}

bool maps_next(struct maps_reader *r, struct maps_line *ret) {
    const char *text;
    size_t n;
    bool more = maps_next_text(r, &text, &n);
    if (more)
        *ret = maps_parse(text, n);
    return more;
}

bool maps_find(struct maps_reader *r, uint64_t addr, struct maps_line *ret) {
    bool found = false;
    if (!maps_open(r))
        return false;
    while (!found && maps_next(r, ret))
        found = addr >= ret->start && addr < ret->end;
    maps_close(r);
    return found;
}

bool maps_path_is(const struct maps_line *l, const char *path) {
    return strlen(path) == l->path_len && memcmp(path, l->path, l->path_len) == 0;
}
