/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The way of an image into its file.
 *
 * Written, not mapped: a full disk is an error of pwrite, but SIGBUS for a mapping.  Before each
 * write the descriptor is asked whether it is still the file it was: a program that closes all
 * descriptors, and opens its own files under the same numbers, must not find our bytes in them.
 */
#include "image/image_out.h"

#include <errno.h>
#include <string.h>

#include "gomalloc/image.h"

void image_out_start(struct image_out *o, int fd, uint64_t pos) {
    o->fd = fd;
    o->error = 0;
    o->id = file_id_of(fd);
    o->pos = pos;
    o->n = 0;
}

static void write_all(struct image_out *o, const char *p, size_t n, uint64_t offset) {
    if (o->error == 0 && !file_id_same(o->id, file_id_of(o->fd)))
        o->error = -EBADF;
    while (n > 0 && o->error == 0) {
        long r = raw_pwrite(o->fd, p, n, offset);
        if (r == -EINTR)
            continue;
        if (r <= 0) {
            o->error = r == 0 ? -EIO : (int)r;
            break;
        }
        p += r;
        offset += (uint64_t)r;
        n -= (size_t)r;
    }
}

static void flush(struct image_out *o) {
    if (o->n == 0)
        return;
    write_all(o, o->buf, o->n, o->pos);
    o->pos += o->n;
    o->n = 0;
}

uint64_t image_out_begin(struct image_out *o) {
    o->section_sum = 0;
    return o->pos + o->n;
}

void image_out_put(struct image_out *o, const void *p, size_t n) {
    o->section_sum = gomalloc_checksum(o->section_sum, p, n);
    if (n > IMAGE_OUT_WRITE - o->n)
        flush(o);
    if (n > IMAGE_OUT_WRITE) {
        write_all(o, p, n, o->pos);
        o->pos += n;
        return;
    }
    memcpy(o->buf + o->n, p, n);
    o->n += n;
}

uint64_t image_out_finish(struct image_out *o) {
    flush(o);
    return o->pos;
}

void image_out_at(struct image_out *o, const void *p, size_t n, uint64_t offset) {
    write_all(o, p, n, offset);
}
