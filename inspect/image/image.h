/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The reader of heap images: the only file format code of goinspect.
 *
 * image_open() believes nothing: it copies the file into private memory first (the file may be a
 * memfd that a hostile process truncates meanwhile, and a mapping of it would end in SIGBUS), then
 * checks every checksum, length, offset, index and cross reference.  Whoever holds a struct image
 * may therefore follow any index in it without a check of his own:
 *
 *      - every ..._str is an offset of a NUL-terminated string;
 *      - frame.parent < the frame's own number, so a walk outwards ends;
 *      - site.frame <= number of frames;
 *      - a span's bitmap words and slot records exist, its objects lie inside of it, spans do not
 *        overlap, and span.live is the number of bits in its bitmap;
 *      - the slot of a live object names a site that exists, and its slack <= elem_size.
 *
 * The format itself is drawn in gomalloc/image.h.
 */
#ifndef GOINSPECT_IMAGE_H
#define GOINSPECT_IMAGE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gomalloc/image.h"

struct image;

#define GOMALLOC_IMAGE_PAGE 8192u /* bytes of a heap page, in every version */

/* What image_open and the db_* functions return beside 0 and other negative errno values. */
#define IMAGE_DAMAGED   (-EBADMSG)         /* cut short, changed, or nonsense: exit status 2 */
#define IMAGE_VERSION   (-EPROTONOSUPPORT) /* whole, but of another version: exit status 5 */
#define IMAGE_NOT_IMAGE (-ENOEXEC)         /* does not begin like an image: exit status 2 */

/*
 * image_open reads the image in the file at path and checks it.  0, or a negative errno (see
 * above) with one line for people in err, which names the path.
 */
int image_open(const char *path, struct image **ret, char *err, size_t errlen);

/* image_open_fd does it for an open descriptor (read from its start by pread; not closed).  name
 * is what messages call it. */
int image_open_fd(int fd, const char *name, struct image **ret, char *err, size_t errlen);

/* image_open_memory takes a copy of size bytes at data: for tests and the fuzzer. */
int image_open_memory(const void *data, size_t size, struct image **ret, char *err, size_t errlen);

void image_close(struct image *im); /* NULL is allowed */

/* image_header returns the header. */
const struct gomalloc_image *image_header(const struct image *im);

/* image_bytes returns the whole file as it was read, image_size its length: to save it. */
const void *image_bytes(const struct image *im);
size_t image_size(const struct image *im);

/* image_has says whether the image has a section (a partial image may lack some). */
bool image_has(const struct image *im, enum gomalloc_section_id id);

/*
 * image_section returns the records of a section as an array of this program's record type
 * (longer records cut, shorter ones extended by zero) and their number; NULL and 0 if it is absent.
 */
const void *image_section(const struct image *im, enum gomalloc_section_id id, size_t *ret_count);

/* image_process returns the process record; all zero if the section is absent. */
const struct gomalloc_process *image_process(const struct image *im);

/* image_string returns the string at offset off; "" if the image has no strings. */
const char *image_string(const struct image *im, uint32_t off);

/*
 * image_find returns the number (from 0) of the record whose key column is key, or SIZE_MAX.
 * Keys: thread.mcache, size_class.size_class, arena.base, span.base, chunk.base, site.site,
 * mapping.start.
 */
size_t image_find(const struct image *im, enum gomalloc_section_id id, uint64_t key);

/* image_mapping_at returns the mapping that holds address, image_span_at the span; or NULL. */
const struct gomalloc_mapping *image_mapping_at(const struct image *im, uint64_t address);
const struct gomalloc_span *image_span_at(const struct image *im, uint64_t address);

/* One live object. */
struct image_object {
    const struct gomalloc_span *span;
    uint32_t slot;
    uint32_t site;        /* 0 = not recorded */
    uint64_t address;     /* of its first byte */
    bool requested_known; /* requested is meaningful */
    uint64_t requested;   /* bytes asked for */
    uint64_t rate;        /* under which it was recorded */
};

/* A walk over the live objects of an image in the order of their addresses. */
struct image_object_iter {
    const struct image *im;
    size_t rank;      /* of the next span, spans ordered by base */
    size_t limit;     /* rank of the first span not to visit */
    uint32_t slot;    /* next one to look at in it */
    const char *what; /* it is for; told with passed and total to who watches */
    size_t passed;    /* objects */
    size_t total;     /* 0: nobody watches */
};

/* image_object_begin starts a walk over all objects, image_object_begin_span over one span's;
 * image_object_begin_watched one that takes long where there are many, for `what`. */
void image_object_begin(const struct image *im, struct image_object_iter *it);
void image_object_begin_watched(const struct image *im, const char *what,
                                struct image_object_iter *it);
void image_object_begin_span(const struct image *im, struct image_object_iter *it, size_t span);

/* image_object_next fills ret with the next object; false at the end. */
bool image_object_next(struct image_object_iter *it, struct image_object *ret);

/* image_watch has show called as what takes long goes on, until it is called with NULL;
 * image_passed is for those who walk over something else than objects. */
void image_watch(void (*show)(const char *what, size_t done, size_t total));
void image_passed(const char *what, size_t done, size_t total);

/* image_object_at fills ret with the live object that holds address; false if none does. */
bool image_object_at(const struct image *im, uint64_t address, struct image_object *ret);

#endif
