/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A sorted array of a module's functions, or of its variables.
 */
#ifndef GOINSPECT_SYMTAB_H
#define GOINSPECT_SYMTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symtab_entry {
    uint64_t address;
    uint64_t size;    /* 0 = not known: up to the next one */
    const char *name; /* not owned */
    unsigned rank;    /* of several names of one address the lowest is taken */
};

struct symtab {
    struct symtab_entry *entries;
    size_t n, room;
};

/* symtab_add adds one; symtab_sort makes the array ready to be searched. */
void symtab_add(struct symtab *t, const struct symtab_entry *entry);
void symtab_sort(struct symtab *t);

/* symtab_entry_at returns what holds address, or NULL. */
const struct symtab_entry *symtab_entry_at(const struct symtab *t, uint64_t address);

/* symtab_find returns the name of the function that holds address, or NULL. */
const char *symtab_find(const struct symtab *t, uint64_t address);

void symtab_free(struct symtab *t);

#endif
