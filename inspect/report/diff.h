/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two heaps side by side, whatever they were read from: a database in memory in which the first is
 * snapshot 1, the second snapshot 2, and the views of schema/views_diff.sql say what has grown.
 *
 *      diff_open(&d, match)                    an empty one
 *      diff_add(&d, DIFF_A, target)            what goes in; or baseline_load()
 *      diff_add(&d, DIFF_B, target)
 *      diff_name(&d)                           names of what has grown
 *      view_show(line, &d.target, ...)         v1_diff, v1_diff_class, with std_error() and
 * p_value() diff_close(&d)
 */
#ifndef GOINSPECT_DIFF_H
#define GOINSPECT_DIFF_H

#include "target/target.h"

/* How call stacks are found again. */
enum diff_match {
    DIFF_BY_STACK,    /* by module and offset of each frame: one build */
    DIFF_BY_FUNCTION, /* by the names of the functions, inlined ones too: other builds of a program
                       */
    DIFF_BY_LINE      /* by names and lines */
};

enum diff_side { DIFF_A = 1, DIFF_B = 2 }; /* numbers of the snapshots */

struct diff {
    struct target target; /* to query; its db is the one in memory */
    enum diff_match match;
    const struct target *sides[3]; /* by enum diff_side, NULL: none was added */
    sqlite3_stmt *find;            /* (parent, frame) -> number of a call stack */
    sqlite3_stmt *insert;          /* of such a number */
};

/* diff_open makes an empty one.  STATUS_DONE or *failure, here and below. */
enum status diff_open(enum diff_match match, struct diff *ret, struct failure *failure);
void diff_close(struct diff *d);

/* diff_add reads a snapshot of a target, which must outlive d. */
enum status diff_add(struct diff *d, enum diff_side side, const struct target *target,
                     struct failure *failure);

/* diff_name finds the names of the call stacks that have grown or shrunk: v1_diff has rows for
 * these and no others. */
enum status diff_name(struct diff *d, struct failure *failure);

/* diff_builds_differ tells whether two targets have been recorded in different builds of a module,
 * so that offsets mean nothing. */
bool diff_builds_differ(const struct target *a, const struct target *b);

/* diff_integer and diff_real run a query on d; missing if it has no row, or NULL. */
int64_t diff_integer(const struct diff *d, const char *sql, int64_t missing);
double diff_real(const struct diff *d, const char *sql, double missing);

/* diff_exec runs statements on d.  STATUS_DONE or *failure. */
enum status diff_exec(const struct diff *d, const char *sql, struct failure *failure);

/* What follows is for the files diff*.c and baseline.c. */

/* diff_prepare compiles a statement of a database. */
enum status diff_prepare(sqlite3 *db, const char *word, const char *sql, sqlite3_stmt **ret,
                         struct failure *failure);

/* diff_number returns the number of the call stack that is a frame below a call stack: the same for
 * the same, on both sides.  0 is the empty one; -1: memory is short. */
int64_t diff_number(struct diff *d, int64_t parent, const char *frame);

/* diff_stacks numbers all call stacks of a target, into the table own_stack(stack_id, number). */
enum status diff_stacks(struct diff *d, const struct target *target, struct failure *failure);

#endif
