/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is inlined where.  A function is a tree of blocks: lexical ones, and inlined functions.
 * Addresses come in order, so the same blocks are asked about again and again, and to decode one's
 * ranges costs far more than to compare them: so the blocks in a block are collected when an
 * address in it is first asked for, and kept as long as the unit is worked on.
 */
#include <dwarf.h>
#include <stdlib.h>

#include "names/blocks.h"
#include "base/say.h"

#define MOST_NESTED 256

/* new_block returns the number of a new one. */
static uint32_t new_block(struct blocks *b) {
    if (b->n == 0)
        b->n = 1; /* 0 stands for none */
    if (b->n >= b->room) {
        b->room = b->room ? b->room * 2 : 256;
        b->items = must_realloc(b->items, b->room, sizeof(*b->items));
    }
    b->items[b->n] = (struct block){.opened = false};
    return (uint32_t)b->n++;
}

static bool is_block(int tag) {
    return tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine ||
           tag == DW_TAG_try_block || tag == DW_TAG_catch_block;
}

/* open_block collects the blocks directly in block n, whose entry is die. */
static void open_block(struct blocks *b, uint32_t n, Dwarf_Die *die) {
    struct ranges inner = {.items = NULL};
    Dwarf_Die child;
    if (dwarf_child(die, &child) == 0)
        do {
            if (is_block(dwarf_tag(&child)))
                ranges_add(&inner, &child, 0);
        } while (*b->left > 0 && (*b->left)-- > 0 && dwarf_siblingof(&child, &child) == 0);
    ranges_sort(&inner);
    b->items[n].inner = inner;
    b->items[n].opened = true;
}

size_t blocks_chain(struct blocks *b, struct range *function, Dwarf_Addr address, Dwarf_Die *chain,
                    size_t max) {
    struct range *at = function;
    size_t n = 0;
    chain[n++] = function->die;
    for (int level = 0; level < MOST_NESTED; level++) {
        if (at->number == 0)
            at->number = new_block(b);
        if (!b->items[at->number].opened)
            open_block(b, at->number, &at->die);
        at = ranges_find(&b->items[at->number].inner, address);
        if (!at)
            break;
        if (dwarf_tag(&at->die) == DW_TAG_inlined_subroutine && n < max)
            chain[n++] = at->die;
    }
    return n;
}

void blocks_reset(struct blocks *b) {
    for (size_t i = 1; i < b->n; i++)
        ranges_free(&b->items[i].inner);
    b->n = 0;
}

void blocks_free(struct blocks *b) {
    blocks_reset(b);
    free(b->items);
    *b = (struct blocks){.items = NULL};
}
