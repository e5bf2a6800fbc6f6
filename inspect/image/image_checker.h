/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files image_check*.c, which believe an image or do not, share.
 */
#ifndef GOINSPECT_IMAGE_CHECKER_H
#define GOINSPECT_IMAGE_CHECKER_H

#include "image/image_private.h"

struct checker {
    struct image *im;
    char *err; /* gets the reason for a refusal */
    size_t errlen;
};

/* damaged notes what is wrong and returns IMAGE_DAMAGED. */
__attribute__((format(printf, 2, 3))) int damaged(struct checker *c, const char *fmt, ...);

static inline const void *records(const struct checker *c, enum gomalloc_section_id id,
                                  size_t *ret_n) {
    return image_section(c->im, id, ret_n);
}

/* lacks says whether a section is absent and may be. */
static inline bool lacks(const struct checker *c, enum gomalloc_section_id id) {
    return !c->im->sections[id].present && (c->im->header.flags & GOMALLOC_IMAGE_PARTIAL);
}

#define IMAGE_MOST (INT64_MAX / 16) /* of bytes or objects: sums of them are no trouble */

/* image_knows_site tells whether there is such a site, or need not be. */
bool image_knows_site(const struct checker *c, uint32_t site);

/* image_check_why believes the answer to WHY, or does not. */
int image_check_why(struct checker *c);

/* image_check_crash believes a crash, or does not. */
int image_check_crash(struct checker *c);

#endif
