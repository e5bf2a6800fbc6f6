/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A small reader of heap images for tests, written from the text of gomalloc/image.h alone: it
 * shares no code with the writer, nor with goinspect's reader.
 */
#ifndef GM_TESTS_IMAGE_CHECKER_H
#define GM_TESTS_IMAGE_CHECKER_H

#include <stdbool.h>
#include <stddef.h>

#include "gomalloc/image.h"

struct checked_image {
    char *bytes;
    size_t size;
    const struct gomalloc_image *header;
    const void *records[GOMALLOC_NSECTIONS]; /* NULL: the section is not there */
    size_t count[GOMALLOC_NSECTIONS];
};

/* check_image reads the whole file and fails the test if anything in it is not as the format says,
 * or contradicts something else in it. */
void check_image(int fd, struct checked_image *im);
void free_image(struct checked_image *im);

/* Sums over the image. */
struct image_sums {
    uint64_t objects, bytes;         /* live; bytes as given */
    uint64_t recorded, requested;    /* of these, with a site; bytes asked for */
    uint64_t span_pages, free_pages; /* from spans; from the chunks' bits */
    uint64_t grown_pages, cached_pages;
    uint64_t marked;
};
struct image_sums sum_image(const struct checked_image *im);

/* live_of_site counts the live objects of a site. */
uint64_t live_of_site(const struct checked_image *im, uint32_t site);

const char *image_text(const struct checked_image *im, uint32_t str);

/* image_counter returns a counter's value; it fails the test if there is not exactly one. */
uint64_t image_counter(const struct checked_image *im, const char *name);

#define RECORDS(im, id, type) ((const struct type *)(im)->records[GOMALLOC_SECTION_##id])
#define COUNT(im, id)         ((im)->count[GOMALLOC_SECTION_##id])

#endif
