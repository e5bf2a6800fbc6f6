/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An array of records that grows.
 */
#include "image/image_table.h"

#include <string.h>

#include "sys/mem.h"

#define TABLE_MIN ((size_t)64 << 10)

void *image_table_room(struct image_table *t, size_t n) {
    if (t->p != NULL && n <= t->cap - t->len)
        return t->p + t->len;
    size_t cap = t->cap < TABLE_MIN ? TABLE_MIN : t->cap * 2;
    while (cap - t->len < n)
        cap *= 2;
    void *p = t->p == NULL ? mem_alloc(cap, MEM_AGENT) : mem_grow(t->p, t->cap, cap, MEM_AGENT);
    if (p == NULL)
        return NULL;
    t->p = p;
    t->cap = cap;
    return t->p + t->len;
}

void image_table_commit(struct image_table *t, size_t n) {
    t->len += n;
}

void image_table_cut(struct image_table *t, size_t len) {
    if (len == t->len)
        return;
    memset(t->p + len, 0, t->len - len);
    t->len = len;
}

void image_table_free(struct image_table *t) {
    if (t->p != NULL)
        mem_free(t->p, t->cap, MEM_AGENT, 0, 0);
    *t = (struct image_table){0};
}
