/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How much of a growth may be chance.
 *
 * An estimate is a sum over many objects, each of which was recorded or not on its own, so it is
 * near to normally distributed, and a growth of z standard errors is seen by chance in erfc(z /
 * sqrt 2) of all cases.  With a handful of samples, where it is not normal, the bound of 5 % is
 * reached less often than that: a site with one or two samples must lose or gain four of them.
 *
 * The variance comes from schema/views_diff.sql; only the square root and the tail are not there,
 * because a plain sqlite3 need not have such functions.
 */
#include <math.h>
#include <stddef.h>

#include "report/chance.h"

double chance_p(double growth, double variance) {
    return erfc(fabs(growth) / sqrt(2 * variance));
}

static void std_error(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    double variance = sqlite3_value_double(argv[0]);
    (void)argc;
    if (variance > 0)
        sqlite3_result_double(ctx, sqrt(variance));
}

static void p_value(sqlite3_context *ctx, int argc, sqlite3_value **argv) {
    double variance = sqlite3_value_double(argv[1]);
    (void)argc;
    if (variance > 0)
        sqlite3_result_double(ctx, chance_p(sqlite3_value_double(argv[0]), variance));
}

int chance_create(sqlite3 *db) {
    static const int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    int rc = sqlite3_create_function(db, "std_error", 1, flags, NULL, std_error, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function(db, "p_value", 2, flags, NULL, p_value, NULL, NULL);
    return rc;
}
