/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The answer to why an object lives, as rows of a query: the object, the steps of the chain that
 * leads to it, and who points to it directly.
 */
#ifndef GOINSPECT_WHY_H
#define GOINSPECT_WHY_H

#include "target/target.h"

/*
 * why_source returns a subquery, to be freed, for the image of a target that was opened by
 * target_open_why.  Its columns, beside those of leak_site_name:
 *
 *      snapshot_id, ord    rows are in this order
 *      role                'object', 'chain' or 'referrer'
 *      step                number in the chain, from the root, 0
 *      words               that a referrer stands for
 *      kind                of the object 'reachable', 'ignored', 'direct leak' or 'indirect leak';
 * else 'object', or the kind of root leaked              1: nothing leads to the referrer either
 *      address             of the object; of the root's word
 *      at                  where in the object the word that leads on stands; in the object asked
 *                          for, the byte asked for; NULL: a root, or the chain's end
 *      size, requested     bytes given, asked for
 *      age_s               s
 *      place               of a root: what it is, for people
 *      tid, thread         of a stack, register or thread-local variable
 */
char *why_source(const struct target *target);

/* why_answer returns the record that says what was found; NULL: there is none. */
const struct gomalloc_why *why_answer(const struct target *target);

/* why_no_object fills *failure: there is no object at the address that was asked about. */
enum status why_no_object(const struct target *target, struct failure *failure);

#endif
