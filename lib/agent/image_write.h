/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writing a heap image (gomalloc/image.h) of this process.
 *
 * Any thread may write one at any time, several at once: each writer has buffers of its own and
 * takes the heap's locks in short pieces.
 */
#ifndef GM_AGENT_IMAGE_WRITE_H
#define GM_AGENT_IMAGE_WRITE_H

#include "sys/compiler.h"

/* image_write_fd writes an image to fd, an empty regular file or memfd open for writing.
 * sections: mask of 1 << enum gomalloc_section_id, 0 = all; what the chosen ones refer to comes
 * with them.  flags: GOMALLOC_IMAGE_*; PARTIAL, LIVE and CUT are added where they apply.  0, or a
 * negative errno with one line in err. */
int image_write_fd(int fd, uint64_t sections, uint64_t flags, char *err, size_t errlen);

/* image_write_file writes a whole image to path by way of a temporary file beside it.  0, or a
 * negative errno with one line in err; then nothing is left under path that was not there. */
int image_write_file(const char *path, uint64_t flags, char *err, size_t errlen);

#endif
