/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opening images that a maker holds, good ones and broken ones.
 */
#ifndef TESTS_MADE_IMAGE_H
#define TESTS_MADE_IMAGE_H

#include "image/image.h"
#include "maker.h"

/* made_image_open opens it; returns what image_open_memory does. */
int made_image_open(struct maker *m, struct image **ret);

/* made_image_good opens one that is sound. */
struct image *made_image_good(struct maker *m);

/* made_image_refuse wants one that is damaged, which is said in a line; frees the maker. */
void made_image_refuse(struct maker *m, const char *name);

/* A way to break an image by a record that no library can have written. */
struct breakage {
    const char *name;
    void (*make)(struct maker *m);
};

/* For lists of the form X(name, SECTION, type, number of the record, what is changed in *r). */
#define BREAK(name, id, type, nth, change)                                                         \
    static void break_##name(struct maker *m) {                                                    \
        struct type *r = maker_record(m, GOMALLOC_SECTION_##id, nth);                              \
        change;                                                                                    \
    }
#define BREAKAGE(name, id, type, nth, change) {#name, break_##name},

/* made_image_refuse_all breaks an image that `begin` makes in each of the ways. */
void made_image_refuse_all(const struct breakage *ways, size_t n, void (*begin)(struct maker *m));

#endif
