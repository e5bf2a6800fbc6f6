/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a leak check of a target says beside the leaks: whether there was one, which leaks are not
 * to be shown, and what is said of it all on standard error.
 */
#ifndef GOINSPECT_LEAKCHECK_H
#define GOINSPECT_LEAKCHECK_H

#include "report/leaksince.h"
#include "report/suppress.h"
#include "target/target.h"

/* Which leaks are meant. */
struct leak_filter {
    int64_t older_than;                  /* seconds; 0: of any age, also unknown */
    const struct suppressions *accepted; /* NULL: none */
    struct leak_since since;
    char *sites; /* of these: "1,5,6", as SQL has it; by leakcheck_filter, to be freed */
};

struct leak_totals {
    int64_t direct, direct_bytes, indirect, indirect_bytes;
};

/* leakcheck_there checks that the target has a leak check: STATUS_DONE or *failure, which says how
 * to have one made. */
enum status leakcheck_there(const struct target *target, struct failure *failure);

/* leakcheck_filter finds the sites whose leaks are accepted. */
enum status leakcheck_filter(const struct target *target, struct leak_filter *filter,
                             struct failure *failure);

/* Where SQL has a leak's head. */
struct leak_columns {
    const char *address;
    const char *site;
    const char *born; /* NULL: there is a column head_age_s instead */
};

/* leakcheck_condition returns SQL, to be freed: whether a leak's head is meant. */
char *leakcheck_condition(const struct leak_filter *filter, const struct leak_columns *head);

/* leakcheck_totals sums up the leaks that are meant. */
enum status leakcheck_totals(const struct target *target, const struct leak_filter *filter,
                             struct leak_totals *ret, struct failure *failure);

/* leakcheck_say says on standard error what was found, what is not shown, what stacks alone keep
 * (held: that was listed), what the check cost and what it could not see. */
void leakcheck_say(const struct target *target, const struct leak_filter *filter,
                   const struct leak_totals *shown, bool held);

/* leakcheck_say_cost says just what the check cost and what it could not see. */
void leakcheck_say_cost(const struct target *target);

#endif
