/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel's list of mappings.
 */
#include "image/smaps.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static const char *take_number(const char *p, unsigned base, uint64_t *ret) {
    *ret = 0;
    for (;; p++) {
        unsigned digit = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                         : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a') + 10
                                                  : 16;
        if (digit >= base)
            return *p != '\0' ? p + 1 : p; /* behind what ends it */
        *ret = *ret * base + digit;
    }
}

static const char *behind_blanks(const char *p) {
    while (*p == ' ')
        p++;
    return p;
}

void smaps_figure(const char *line, const char *name, uint64_t *ret) {
    size_t n = strlen(name);
    if (strncmp(line, name, n) != 0)
        return;
    uint64_t kib;
    take_number(behind_blanks(line + n), 10, &kib);
    *ret = kib << 10;
}

static void end_mapping(struct smaps *s) {
    if (s->mapping.end != 0)
        s->take(s->arg, &s->mapping);
    s->mapping.end = 0;
}

/* begin_mapping reads the first line of a mapping:
 * "7f1c5a400000-7f1c5a428000 r--p 00000000 fe:01 1311 <spaces>/usr/lib/libc.so.6" */
static void begin_mapping(struct smaps *s, const char *p) {
    struct smaps_mapping *m = &s->mapping;
    uint64_t ignored;
    *m = (struct smaps_mapping){0};
    p = take_number(p, 16, &m->start);
    p = take_number(p, 16, &m->end);
    for (; *p != '\0' && *p != ' '; p++) {
        m->prot |= *p == 'r' ? PROT_READ : *p == 'w' ? PROT_WRITE : *p == 'x' ? PROT_EXEC : 0u;
        m->shared |= *p == 's';
    }
    p = take_number(p + (*p == ' '), 16, &ignored);
    p = take_number(p, 16, &ignored);
    p = take_number(p, 16, &ignored);
    p = take_number(p, 10, &m->inode);
    p = behind_blanks(p);
    size_t n = strlen(p);
    memcpy(m->path, p, n < sizeof m->path - 1 ? n : sizeof m->path - 1);
}

/* Figures begin with a capital letter. */
static void take_line(struct smaps *s, const char *line) {
    if ((*line >= '0' && *line <= '9') || (*line >= 'a' && *line <= 'f')) {
        end_mapping(s);
        begin_mapping(s, line);
        return;
    }
    smaps_figure(line, "Rss:", &s->mapping.resident);
    smaps_figure(line, "Swap:", &s->mapping.swapped);
    smaps_figure(line, "AnonHugePages:", &s->mapping.huge);
}

/* take_lines takes the whole lines of the text, and keeps what is left. */
static void take_lines(struct smaps *s) {
    size_t done = 0;
    for (char *nl; (nl = memchr(s->text + done, '\n', s->have - done)) != NULL;) {
        *nl = '\0';
        take_line(s, s->text + done);
        done = (size_t)(nl - s->text) + 1;
    }
    if (done == 0 && s->have == sizeof s->text) /* no line is so long */
        done = s->have;
    memmove(s->text, s->text + done, s->have - done);
    s->have -= done;
}

bool smaps_read(struct smaps *s, const char *path) {
    int fd = raw_open(path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    struct file_id id = file_id_of(fd);
    long r = -EBADF;
    s->mapping.end = 0;
    s->have = 0;
    while (file_id_same(id, file_id_of(fd))) {
        r = raw_read(fd, s->text + s->have, sizeof s->text - s->have);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            break;
        s->have += (size_t)r;
        take_lines(s);
    }
    end_mapping(s);
    raw_close_own(fd, id);
    return r == 0;
}
