/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which leaks are new since an earlier snapshot of the same process.
 *
 * If the snapshot has a leak check, those that it does not name; else those that were allocated
 * after it.  What is known of each is put into a function of SQL, leak_since(address): 0 = new,
 * 1 = not new, 2 = it has no age, so it can't be told.
 */
#ifndef GOINSPECT_LEAKSINCE_H
#define GOINSPECT_LEAKSINCE_H

#include "target/target.h"

/* Kept as long as the target is open. */
struct leak_since {
    const char *word; /* as the snapshot was named; NULL: there is none */
    bool checked;     /* it has a leak check */
};

/* leaksince_open looks at the snapshot that word names, FILE.db, FILE.db@NUMBER or FILE.gmi, and
 * gives target->db the function.  STATUS_DONE or *failure: it is no snapshot of the same process,
 * or not an earlier one. */
enum status leaksince_open(const struct target *target, const char *word, struct leak_since *ret,
                           struct failure *failure);

#endif
