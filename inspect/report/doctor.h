/* SPDX-License-Identifier: BSD-3-Clause
 *
 * goinspect doctor: what is worth saying about a heap.
 *
 * A rule is a query, the least that is worth a word, and a sentence with gaps for the figures.  The
 * rules of one family of causes are one table, in doctor_FAMILY.c.  What the query yields is all
 * that the sentence says: so whoever doubts it runs the query.
 *
 * The query.  It has no row if there is nothing to say.  Its first row has the column `bytes`: what
 * could come back, and the finding's place in the order; then the figures of the sentence.  All
 * rows, a few, may be listed: see `row`.  If they have a column row_bytes, they are in its order,
 * and those with less than a twentieth of the first row's are left out.  :snapshot is bound.
 *
 * The texts.  {name} is a column of the row, written as its name says: bytes and NAME_bytes as
 * "1.5 MiB", NAME_s as a time, NAME_percent as "37 %", tid as "12031", other whole numbers as
 * "12,031", and text as it is.  {name|is|are} is one of the two words: the first if the column
 * is 1.  [ ... ] is left out if a column in it is NULL.  {rows} is the list of rows, {target} what
 * the user called the target, {process} the same if it is a process, else "PID".
 */
#ifndef GOINSPECT_DOCTOR_H
#define GOINSPECT_DOCTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "target/target.h"

/* The order of findings; within one by bytes. */
enum doctor_rank {
    DOCTOR_URGENT, /* the process may be killed soon */
    DOCTOR_MEMORY, /* bytes */
    DOCTOR_RECORD, /* what is recorded is not enough to tell */
    DOCTOR_ADVICE  /* time rather than bytes */
};

/* What a rule reads, a set of 1 << need: without it the rule says nothing, and the doctor says that
 * it did not look. */
enum doctor_need {
    NEED_SPANS,
    NEED_RESIDENT,
    NEED_LEAKS,
    NEED_HISTORY,
    NEED_PINS,
    NEED_SITES,
    NEED_CACHES,
    NEED_ESCAPE,
    NEED_CGROUP,
    NEED_NUMBER
};
#define NEED(what) (1u << NEED_##what)

struct doctor_rule {
    const char *kind; /* stable name of the finding */
    enum doctor_rank rank;
    unsigned needs;       /* NEED() */
    int64_t least_bytes;  /* worth a word are so many bytes, */
    double least_percent; /* and so much of the resident set */
    const char *query;
    const char *sentence;
    const char *row; /* of {rows}; NULL: there is none */
    const char *advice;
};

struct doctor_family {
    const struct doctor_rule *rules;
    size_t n;
};

extern const struct doctor_family doctor_leaks, doctor_fragments, doctor_kept, doctor_process,
    doctor_recorder, doctor_advice;

/* The name of the site g.site_id in a query: function, and location if that is not the same. */
#define DOCTOR_SITE_NAME                                                                           \
    "CASE WHEN g.site_id = 0 THEN '(not recorded)'\n"                                              \
    "            WHEN k.stack_id = 0 THEN '(no stack)'\n"                                          \
    "            ELSE coalesce(n.function, n.location) END AS function,\n"                         \
    "       CASE WHEN n.function IS NOT NULL THEN n.location END AS location"
#define DOCTOR_SITE_JOIN                                                                           \
    "CROSS JOIN site k ON k.snapshot_id = g.snapshot_id AND k.site_id = g.site_id\n"               \
    "CROSS JOIN stack_name n ON n.stack_id = k.stack_id\n"

#define KIB INT64_C(1024)
#define MIB (INT64_C(1024) * KIB)

struct doctor_finding {
    const struct doctor_rule *rule;
    int64_t bytes;
    double percent; /* of the resident set; 0: not known */
    char *sentence; /* may hold anything that a name holds: not clean */
    char *advice;
};

struct doctor_report {
    struct doctor_finding *findings; /* worst first */
    size_t n;
    size_t nsmall;              /* findings that are not worth a word, and left out */
    unsigned seen;              /* NEED(): what could be looked at */
    char *missing[NEED_NUMBER]; /* what to do to have it looked at; NULL: it was */
    char *unread;               /* kinds of which the target, an old file, can't tell; NULL: none */
};

/* doctor_examine applies all rules; all: also to what is not worth a word.  STATUS_DONE and *ret,
 * which doctor_report_free takes, or *failure. */
enum status doctor_examine(const struct target *target, bool all, struct doctor_report *ret,
                           struct failure *failure);
void doctor_report_free(struct doctor_report *report);

/* doctor_examine_leaks adds to a report what another image of the same process, one with a leak
 * check, says of leaks: that one is of a copy of the process, which can't tell what is resident. */
enum status doctor_examine_leaks(const struct target *target, bool all,
                                 struct doctor_report *report, struct failure *failure);

/* doctor_needs fills report->seen and ->missing.  doctor_need_name is half a sentence for each:
 * "leaks". */
void doctor_needs(const struct target *target, struct doctor_report *report);
const char *doctor_need_name(enum doctor_need need);

/* doctor_text fills the gaps of a text from the row at which stmt stands; rows is the list.
 * Returns it, to be freed. */
char *doctor_text(const struct target *target, sqlite3_stmt *stmt, const char *text,
                  const char *rows);

#endif
