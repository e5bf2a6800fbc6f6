/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How much of a growth may be chance, where what is live was estimated from samples.
 */
#ifndef GOINSPECT_CHANCE_H
#define GOINSPECT_CHANCE_H

#include "db/db.h"

/* Below this a growth is called one; v1_diff.significant has the same bound. */
#define CHANCE_P 0.05

/* chance_p returns how often chance alone makes a growth, or a shrinking, at least as large as this
 * one, if its variance is that: two-sided, by the normal distribution.  variance > 0. */
double chance_p(double growth, double variance);

/* chance_create makes the SQL functions std_error(variance) and p_value(growth, variance); both are
 * NULL where the variance is 0 or NULL, as nothing is left to chance there.  Returns SQLite's
 * status. */
int chance_create(sqlite3 *db);

#endif
