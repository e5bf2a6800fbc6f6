/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names that have been looked up before, a file for each build-id.
 */
#ifndef GOINSPECT_NAMECACHE_H
#define GOINSPECT_NAMECACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "names/symbol.h"

/* What a file is about. */
struct namecache_key {
    const uint8_t *build_id;
    size_t build_id_len;
    uint64_t stamp; /* debuginfo_stamp(): what the names were found in */
};

/* The names at one offset. */
struct namecache_entry {
    uint64_t offset;
    const struct symbol_frame *frames; /* their module, module_offset and inlined are not kept */
    size_t n;
};

/* Names of one module, ascending by offset. */
struct namecache {
    struct namecache_entry *entries;
    size_t n;
    bool lines; /* they were looked up in debug information, not just in a symbol table */
    void *memory, *frames; /* what the entries point into */
};

/* namecache_off has nothing read or written from now on. */
void namecache_off(void);

/* namecache_load reads what is known; false if that is nothing.  The caller frees it. */
bool namecache_load(const struct namecache_key *key, struct namecache *ret);
void namecache_free(struct namecache *c); /* one that is all zero is allowed */

/* namecache_save adds what c holds to the file.  That it can't be written is not worth a word. */
void namecache_save(const struct namecache_key *key, const struct namecache *c);

#endif
