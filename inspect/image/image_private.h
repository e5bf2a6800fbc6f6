/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What image.c (reading), image_check.c (believing) and image_walk.c (looking things up) share.
 */
#ifndef GOINSPECT_IMAGE_PRIVATE_H
#define GOINSPECT_IMAGE_PRIVATE_H

#include "image/image.h"

struct image_records {
    bool present;        /* the directory has the section */
    const void *records; /* of this program's record type; into image.bytes or owned */
    void *owned;         /* copy made because the record size differs or a record was corrected */
    size_t count;
    uint32_t *order; /* numbers of the records by ascending key; NULL: they stand in that order */
};

struct image {
    unsigned char *bytes; /* private copy of the file, an anonymous mapping */
    size_t size;
    struct gomalloc_image header; /* in this program's layout */
    struct image_records sections[GOMALLOC_NSECTIONS];
};

/* The sizes of this program's record types. */
extern const size_t image_record_sizes[GOMALLOC_NSECTIONS];

/* image_check checks and corrects the records of all sections (the directory has been checked).
 * 0, IMAGE_DAMAGED with a text in err, or -ENOMEM. */
int image_check(struct image *im, char *err, size_t errlen);

/* image_check_heap checks those of the allocator's structures, of which nothing is corrected. */
int image_check_heap(struct image *im, char *err, size_t errlen);

/* image_check_escape checks verdicts and history, once the sites are known to be sound. */
int image_check_escape(struct image *im, char *err, size_t errlen);

/* image_check_leak checks a leak check, once the sites are known to be sound. */
int image_check_leak(struct image *im, char *err, size_t errlen);

/* image_own returns the records of a section in memory that may be changed, NULL if memory is
 * short. */
void *image_own(struct image *im, enum gomalloc_section_id id);

/* image_ordered returns the number of the record that is at place rank by ascending key. */
static inline size_t image_ordered(const struct image_records *r, size_t rank) {
    return r->order ? r->order[rank] : rank;
}

#endif
