/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A sorted array of a module's functions, for modules without debug information.
 *
 * libdwfl's own search is linear: 182 us a lookup in libpython, where this takes 0.1 us.
 */
#include <stdlib.h>

#include "base/say.h"
#include "names/symtab.h"

#define MOST_STEPS_BACK                                                                            \
    16 /* entries before the nearest that are looked at for an enclosing one                       \
        */

void symtab_add(struct symtab *t, const struct symtab_entry *entry) {
    if (t->n == t->room) {
        t->room = t->room ? t->room * 2 : 256;
        t->entries = must_realloc(t->entries, t->room, sizeof(*t->entries));
    }
    t->entries[t->n++] = *entry;
}

static int compare(const void *x, const void *y) {
    const struct symtab_entry *a = x, *b = y;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

void symtab_sort(struct symtab *t) {
    size_t n = 0;
    if (t->n)
        qsort(t->entries, t->n, sizeof(*t->entries), compare);
    for (size_t i = 0; i < t->n; i++) /* one name for each address */
        if (n == 0 || t->entries[n - 1].address != t->entries[i].address)
            t->entries[n++] = t->entries[i];
    t->n = n;
}

static bool holds(const struct symtab *t, size_t i, uint64_t address) {
    const struct symtab_entry *e = &t->entries[i];
    if (e->size)
        return address - e->address < e->size;
    return i + 1 < t->n && address < t->entries[i + 1].address;
}

const struct symtab_entry *symtab_entry_at(const struct symtab *t, uint64_t address) {
    size_t low = 0, high = t->n;
    while (low < high) { /* the first entry above address */
        size_t middle = low + (high - low) / 2;
        if (t->entries[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t back = 0; back < MOST_STEPS_BACK && back < low; back++)
        if (holds(t, low - 1 - back, address))
            return &t->entries[low - 1 - back];
    return NULL;
}

const char *symtab_find(const struct symtab *t, uint64_t address) {
    const struct symtab_entry *e = symtab_entry_at(t, address);
    return e ? e->name : NULL;
}

void symtab_free(struct symtab *t) {
    free(t->entries);
    *t = (struct symtab){.entries = NULL};
}
