/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What words on stacks and in registers alone keep.
 *
 * A word on a stack that is in use may be left over from a call that has ended: nobody can tell it
 * from one that is needed, so it keeps what it points to, and may hide a leak.  So the mark is in
 * two steps: all other roots are followed to the end first, thread-local variables among them.
 * What stacks and registers add then is kept by nothing else; it is counted apart, and each word
 * that was the first to lead to some of it is told:
 *
 *      data, variables -> a -> b         kept
 *      word on a stack -> a              tells nothing: a is kept anyway
 *      word on a stack -> c -> d -> b    c and d are held, by that word
 */
#ifndef GM_LEAK_HELD_H
#define GM_LEAK_HELD_H

#include "leak/mark.h"
#include "leak/roots.h"
#include "leak/why_place.h"

#define HELD_MAX 16384 /* words that are told; more are counted only */

/* A word, and what had not been reached before it. */
struct held_word {
    uintptr_t object; /* that it points to */
    uint64_t objects; /* this one and what it leads to */
    uint64_t bytes;   /* given to them */
    struct why_place place;
};

/* All zero: nothing. */
struct held {
    uint64_t objects; /* in all */
    uint64_t bytes;
    struct held_word *all;
    size_t n;
    size_t taken; /* bytes of memory, not all used */
};

/* held_mark marks from all roots, stacks and registers last, to the end.  False: the roots could
 * not be read, or memory was short: there is nothing to free then. */
bool held_mark(struct mark *m, const struct roots *r, struct roots_report *ret_roots,
               struct held *ret);

void held_free(struct held *h);

#endif
