/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why an object lives: who points to it, and who to that, up to a root.
 *
 * A search in breadth from the roots, each object once, remembers for each object which other one
 * led to it.  That takes a table that the usual mark does without, and a queue where the mark has a
 * stack that stays in the processor's caches; so it is a search of its own, a few times slower, on
 * the mark's tables (mark.h).
 *
 * The roots are taken in three rounds, and a round begins when the one before has been followed to
 * its end:
 *
 *      data, the static thread-local variables     have names, as a rule
 *      of threads, what the program has named
 *      stacks and registers                        may be stale words
 *      memory that the program has mapped itself   nobody knows what it is
 *
 * So the chain that is found is the shortest one from a root of the first round that leads there.
 * After that the search goes on: it also counts all words that point to the object, and at its end
 * whatever nothing has led to has leaked.
 */
#ifndef GM_LEAK_WHY_H
#define GM_LEAK_WHY_H

#include "leak/leaks.h"
#include "leak/roots.h"
#include "leak/why_address.h"
#include "leak/why_referrer.h"

#define WHY_ENDS 512 /* of a chain that is longer, so many steps at each end are told */

/* A step of the chain: a root or an object, and the word in it that leads to the next step. */
struct why_step {
    uint64_t number;        /* from the root, which is 0, on */
    struct why_place place; /* of the word; in the last step, the object asked for: of nothing */
    uintptr_t value;        /* of the word, 0: not known */
};

struct why {
    uintptr_t asked;
    struct why_object object;
    uintptr_t head;  /* WHY_LEAKED: of the leak it is counted under; 0: memory was short */
    uint64_t length; /* steps of the chain in all; 0: none.  WHY_LEAKED: from its head */
    uint32_t nsteps;
    struct why_step steps[2 * WHY_ENDS];
    struct why_referrers referrers;
};

/* why_ask finds out about an address.  m is a mark that has begun, of which nothing is kept yet; at
 * the end it is as after mark_all, if the address is in a live object.  Leaks are looked for only
 * if the object has leaked.  False: memory was short, or the roots could not be read. */
bool why_ask(struct mark *m, const struct roots *r, uintptr_t address, struct why *ret,
             struct roots_report *ret_roots, struct leaks *ret_leaks);

#endif
