/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The way of an image into its file: records in large writes, checksummed as they pass.
 */
#ifndef GM_IMAGE_OUT_H
#define GM_IMAGE_OUT_H

#include "image/rawfile.h"

#define IMAGE_OUT_BUFFER ((size_t)256 << 10)
/* Written at a time: what is touched of the buffer adds to the peak of a process that ends. */
#define IMAGE_OUT_WRITE ((size_t)32 << 10)

struct image_out {
    int fd;
    int error;                  /* 0 or the first negative errno; then nothing more is written */
    struct file_id id;          /* what fd was when we began */
    uint64_t pos;               /* file offset of buf */
    size_t n;                   /* bytes in buf */
    uint64_t section_sum;       /* checksum since image_out_begin */
    char buf[IMAGE_OUT_BUFFER]; /* IMAGE_OUT_WRITE of it; all of it is image_scratch */
};

/* image_out_start begins at an offset, leaving room for what image_out_at writes last. */
void image_out_start(struct image_out *o, int fd, uint64_t pos);

/* image_out_begin begins a section and returns its offset. */
uint64_t image_out_begin(struct image_out *o);

/* image_out_put appends n bytes, a multiple of 8. */
void image_out_put(struct image_out *o, const void *p, size_t n);

/* image_out_finish writes what is in the buffer; returns the end of the file. */
uint64_t image_out_finish(struct image_out *o);

/* image_out_at writes n bytes at an offset, at once. */
void image_out_at(struct image_out *o, const void *p, size_t n, uint64_t offset);

#endif
