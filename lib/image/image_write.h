/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing a heap image (gomalloc/image.h) of this process.
 *
 * Any thread may write one at any time, several at once: each writer has buffers of its own and
 * takes the heap's locks in short pieces.
 */
#ifndef GM_IMAGE_WRITE_H
#define GM_IMAGE_WRITE_H

#include "sys/compiler.h"

/* image_write_fd writes an image to fd, an empty regular file or memfd open for writing.
 * sections: mask of 1 << enum gomalloc_section_id, 0 = all; what the chosen ones refer to comes
 * with them.  flags: GOMALLOC_IMAGE_*; PARTIAL, LIVE and CUT are added where they apply.  0, or a
 * negative errno with one line in err. */
int image_write_fd(int fd, uint64_t sections, uint64_t flags, char *err, size_t errlen);

/* The same in steps, for an image that a copy of the process writes: image_open gathers what only
 * the process itself can tell (NULL: no memory); image_finish gathers the rest and writes it, with
 * the findings of a leak check or NULL; image_free.  Sections of a leak check are only written with
 * its findings. */
struct image_writer;
struct leak_findings;
struct image_writer *image_open(uint64_t sections, uint64_t flags);
int image_finish(struct image_writer *w, int fd, const struct leak_findings *leaks, char *err,
                 size_t errlen);
void image_free(struct image_writer *w);

/* image_has_leaks tells whether the mask asks for a leak check. */
bool image_has_leaks(uint64_t sections);

/* image_write_file writes a whole image to path by way of a temporary file beside it.  0, or a
 * negative errno with one line in err; then nothing is left under path that was not there. */
int image_write_file(const char *path, uint64_t flags, char *err, size_t errlen);

/* image_write_file_of is the same with these sections, as for image_write_fd. */
int image_write_file_of(const char *path, uint64_t sections, uint64_t flags, char *err,
                        size_t errlen);

/* image_write_file_by is the same where write(arg, fd, err, errlen) does what image_write_fd does.
 */
int image_write_file_by(const char *path, int (*write)(void *arg, int fd, char *err, size_t errlen),
                        void *arg, char *err, size_t errlen);

#endif
