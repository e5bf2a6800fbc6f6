/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The places in code that the stacks of an image go through: each distinct return address once,
 * with the module it lies in and, when somebody asks for them, the functions there.
 *
 * Codes are numbered from 1 in the order of their addresses.  Names are looked up on demand, since
 * a query that wants no names should not wait for debug information.
 */
#ifndef GOINSPECT_CODE_H
#define GOINSPECT_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"
#include "names/symbol.h"

struct code;

/* code_new indexes the frames of an image, which must outlive it; NULL if memory is short. */
struct code *code_new(const struct image *im);
void code_free(struct code *code);

const struct image *code_image(const struct code *code);

/* code_count returns how many codes there are. */
size_t code_count(const struct code *code);

/* code_of_node returns the code of node 1... of the stack trie. */
uint32_t code_of_node(const struct code *code, uint32_t node);

/* code_mapping returns the mapping that code id lies in, NULL = none. */
const struct gomalloc_mapping *code_mapping(const struct code *code, uint32_t id);

/* code_offset returns where its return address lies in the module's file; without a mapping the
 * address itself. */
uint64_t code_offset(const struct code *code, uint32_t id);

/* code_symbols finds the functions at code id, innermost first; see symbolizer_lookup. */
int code_symbols(struct code *code, uint32_t id, const struct symbol_frame **ret_frames,
                 size_t *ret_n);

/* code_in_allocator says whether a function at code id is malloc, operator new or a wrapper. */
bool code_in_allocator(const struct code *code, uint32_t id, const struct symbol_frame *frame);

/* code_caller returns the first node, from node outwards, where some function is not part of the
 * allocator; 0 if there is none. */
uint32_t code_caller(struct code *code, uint32_t node);

#endif
