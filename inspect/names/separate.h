/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where the debug information of a stripped file is.
 */
#ifndef GOINSPECT_SEPARATE_H
#define GOINSPECT_SEPARATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "names/elffile.h"

#define SEPARATE_MOST 8

/* Where it may be, the best place first. */
struct separate {
    char *paths[SEPARATE_MOST];
    size_t n;
    size_t nby_id; /* the first ones are named after the build-id */
};

/* separate_places fills *ret for the file that was mapped from path below root. */
void separate_places(const struct elffile *f, const char *path, const char *root,
                     struct separate *ret);
void separate_free(struct separate *s);

/* separate_open opens the first file that is the debug file of f: of the same build-id, or, where
 * one of them has none, of the debuglink's checksum.  false if there is none. */
bool separate_open(const struct separate *s, const struct elffile *f, struct elffile *ret);

/* separate_open_alt opens the file that dwz has moved into what debug files have in common.  link
 * is what the debug file calls it; root as above. */
bool separate_open_alt(const struct elffile *debug, const char *link, const uint8_t *build_id,
                       size_t build_id_len, const char *root, struct elffile *ret);

/* separate_stamp is another number if any of the places has another file than it had. */
uint64_t separate_stamp(const struct separate *s);

#endif
