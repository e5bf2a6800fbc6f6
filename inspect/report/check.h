/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Limits held against a heap: one figure a limit, and what is said if it is exceeded.
 */
#ifndef GOINSPECT_CHECK_H
#define GOINSPECT_CHECK_H

#include "report/diff.h"
#include "report/leakcheck.h"
#include "report/limit.h"

enum check_id {
    CHECK_LEAKS,       /* leaked objects, direct and indirect, after suppressions */
    CHECK_GROWTH,      /* live bytes given, or live objects, beyond the baseline's */
    CHECK_SITE_GROWTH, /* the same of one call site, as bytes asked for */
    CHECK_FRAG,        /* memory of the heap that is given to nobody */
    CHECK_LIVE,        /* live bytes given, or live objects */
    CHECK_RSS,         /* resident set of the process */
    NCHECKS
};

/* A kind of limit. */
struct check_kind {
    const char *name; /* of the option and in reports: "max-leaks" */
    unsigned allowed; /* units, a mask of enum limit_unit */
    unsigned plain;   /* the unit of a number without one, 0: it must have one */
    bool wants_baseline;
};

extern const struct check_kind check_kinds[NCHECKS];

/* What a limit came to. */
struct check_result {
    enum check_id id;
    struct limit limit;
    double value; /* in limit.unit */
    bool exceeded;
    char *message; /* a sentence */
    char *details; /* what contributes most, a line each; NULL = nothing to say */
    char *next;    /* a command that shows more */
};

/* What is checked. */
struct check {
    const struct target *target;
    const struct limit *limits; /* NCHECKS; those without a word are not there */
    const struct leak_filter *filter;
    const struct diff *diff; /* the baseline is its side A; NULL: there is none */
    const char *baseline;    /* its name */
};

/* check_run fills results, those that exceed their limits first and by most, and sets *ret_n.
 * STATUS_DONE or *failure; then there are no results. */
enum status check_run(const struct check *check, struct check_result results[NCHECKS],
                      size_t *ret_n, struct failure *failure);
void check_free(struct check_result *results, size_t n);

#endif
