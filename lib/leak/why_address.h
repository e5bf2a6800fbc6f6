/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What an address is to the heap: in which object, or why in none.
 */
#ifndef GM_LEAK_WHY_ADDRESS_H
#define GM_LEAK_WHY_ADDRESS_H

#include "sys/compiler.h"

enum why_state {
    WHY_REACHABLE, /* so far: in a live object */
    WHY_LEAKED,    /* by a search: nothing leads to it */
    WHY_IGNORED,   /* by a search: nothing but objects that the program ignores (ignore.h) */
    WHY_OUTSIDE,   /* the address is not in the heap */
    WHY_OWN,       /* it is in memory of the library itself */
    WHY_NO_SPAN,   /* in a free page */
    WHY_STACK,     /* in a stack of gomalloc_stack_alloc */
    WHY_NO_SLOT,   /* in what is left over at a span's end */
    WHY_FREE       /* in a free slot */
};

struct why_object {
    enum why_state state;
    bool tiny;       /* a block of the tiny allocator's, of several objects perhaps */
    uintptr_t start; /* of the object, or of the free slot, 0: there is none */
    size_t bytes;    /* given */
};

/* why_address finds out.  The heap is at rest. */
struct why_object why_address(uintptr_t address);

#endif
