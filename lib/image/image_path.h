/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The path of an image, from the template that an option gives.
 */
#ifndef GM_IMAGE_PATH_H
#define GM_IMAGE_PATH_H

#include "sys/fmt.h"

/* image_path_claim_root notes who was started with such an option, in the environment
 * (GOMALLOC_ROOT=PID), so that a descendant, forked or exec'd, does not overwrite its ancestor's
 * file.  From the constructor, if there is such an option; allocates (setenv). */
void image_path_claim_root(void);

#define IMAGE_PATH_ROOT "GOMALLOC_ROOT"

/* What a template's letters stand for, beside those that the process knows. */
struct image_path_values {
    uint64_t time_s; /* %t: since 1970 */
    uint64_t number; /* %n; 0: it has no meaning */
};

/* image_path writes the path that the template stands for: %p pid, %h host, %t time, %n number, %%
 * a percent sign.  A descendant whose template has no %p gets ".PID" before the suffix, except for
 * a database, which takes them all.  f->cut: it is too long. */
void image_path(struct fmt *f, const char *template, struct image_path_values v);

/* image_path_is_database tells whether the path ends in ".db". */
bool image_path_is_database(const struct fmt *f);

#endif
