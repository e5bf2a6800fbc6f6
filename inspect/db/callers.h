/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The SQL function callers(stack_id): the next three functions outwards of the innermost that is
 * not the allocator's, "parse < load < main"; NULL if there are none.
 */
#ifndef GOINSPECT_CALLERS_H
#define GOINSPECT_CALLERS_H

#include "db/code.h"
#include "db/db.h"

/* callers_create makes the function.  code: of the image that the database is over, which must
 * outlive it; NULL = a snapshot file, which has tables.  Returns SQLite's status. */
int callers_create(sqlite3 *db, struct code *code);

#endif
