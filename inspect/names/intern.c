/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Strings that are kept once each: of the names in a profile most are the name of a file or of a
 * function that has been seen before.
 */
#include <stdlib.h>
#include <string.h>

#include "names/intern.h"
#include "base/say.h"

#define BLOCK 65536 /* bytes; a longer string has a block to itself */

static size_t hash(const char *s) {
    uint64_t h = 0xcbf29ce484222325; /* FNV-1a */
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3;
    return (size_t)(h ^ h >> 32);
}

static const char **find(const struct intern *t, const char *s) {
    size_t at = hash(s) & (t->room - 1);
    while (t->slots[at] && strcmp(t->slots[at], s) != 0)
        at = (at + 1) & (t->room - 1);
    return &t->slots[at];
}

static void grow(struct intern *t) {
    struct intern old = *t;
    t->room = t->room ? t->room * 2 : 1024;
    t->slots = must_calloc(t->room, sizeof(*t->slots));
    for (size_t i = 0; i < old.room; i++)
        if (old.slots[i])
            *find(t, old.slots[i]) = old.slots[i];
    free(old.slots);
}

static const char *copy(struct intern *t, const char *s) {
    size_t size = strlen(s) + 1;
    if (t->nblocks == 0 || t->used + size > BLOCK) {
        t->blocks = must_realloc(t->blocks, t->nblocks + 1, sizeof(*t->blocks));
        t->blocks[t->nblocks++] = must_calloc(size > BLOCK ? size : BLOCK, 1);
        t->used = 0;
    }
    char *place = t->blocks[t->nblocks - 1] + t->used;
    memcpy(place, s, size);
    t->used += size;
    return place;
}

const char *intern_string(struct intern *t, const char *s) {
    if (!s)
        return NULL;
    if (t->n * 2 >= t->room)
        grow(t);
    const char **slot = find(t, s);
    if (!*slot) {
        *slot = copy(t, s);
        t->n++;
    }
    return *slot;
}

void intern_free(struct intern *t) {
    for (size_t i = 0; i < t->nblocks; i++)
        free(t->blocks[i]);
    free(t->blocks);
    free(t->slots);
    *t = (struct intern){.slots = NULL};
}
