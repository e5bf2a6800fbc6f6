/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An array of records that grows: memory straight from the kernel, moved by it if need be.
 */
#ifndef GM_IMAGE_TABLE_H
#define GM_IMAGE_TABLE_H

#include "sys/compiler.h"

/* All zero: empty. */
struct image_table {
    char *p;
    size_t len; /* bytes in use */
    size_t cap; /* bytes of memory */
};

/* image_table_room returns the place behind the last byte, with at least n zeroed bytes there; NULL
 * if there is no memory.  image_table_commit makes n of them part of the table. */
void *image_table_room(struct image_table *t, size_t n);
void image_table_commit(struct image_table *t, size_t n);

/* image_table_cut makes the table len bytes long, fewer than it has. */
void image_table_cut(struct image_table *t, size_t len);

void image_table_free(struct image_table *t);

#endif
