/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a word stands that leads to an object: in another object, or in a root, and there: in which
 * thread's stack or register, and in the frame of which function.
 */
#ifndef GM_LEAK_WHY_PLACE_H
#define GM_LEAK_WHY_PLACE_H

#include "leak/roots.h"

#define WHY_REGISTER 8 /* bytes of a register's name */

struct why_place {
    bool is_object;
    enum root_kind kind; /* of a root */
    uintptr_t word;      /* address of the word; 0: none is meant */
    uintptr_t start;     /* of the object, or of the root's range */
    uintptr_t end;
    uint32_t tid; /* the thread whose stack, variables or register it is, 0: none or not known */
    char reg[WHY_REGISTER]; /* of ROOT_REGISTER, "" otherwise */
    uintptr_t tp; /* ROOT_STACK: the thread pointer, if the word is in reach of it; or 0 */
    uintptr_t pc; /* ROOT_STACK: in the function whose frame the word is in, 0: in none */
};

/* why_place_object is a word in an object. */
struct why_place why_place_object(uintptr_t object, size_t bytes, uintptr_t word);

/* why_place_root is a word in a root's range.  It looks for the frame, where threads are at rest.
 */
struct why_place why_place_root(const struct roots *r, const struct root_place *range,
                                uintptr_t word);

#endif
