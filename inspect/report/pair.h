/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The two heaps that a command line asks to compare.
 */
#ifndef GOINSPECT_PAIR_H
#define GOINSPECT_PAIR_H

#include <stdio.h>

#include "target/target.h"

/* What a heap is a heap of. */
struct pair_moment {
    char comm[64];
    char process[128]; /* another one for each process */
    char exe[256];
    int64_t pid, captured_ns, start_ns, rate;
};

struct pair {
    struct target a, b;
    struct pair_moment moments[2]; /* of a and b */
};

/* pair_open opens both; second NULL: first is a FILE.db, or FILE.db@N, and is compared with its own
 * latest snapshot.  STATUS_DONE or *failure. */
enum status pair_open(const char *first, const char *second, struct pair *ret,
                      struct failure *failure);
void pair_close(struct pair *pair);

/* pair_print writes what is compared, for people. */
void pair_print(const struct pair *pair, FILE *out);

/* pair_say says on standard error if two processes are compared.  by_name: call stacks are matched
 * by names, as the builds differ. */
void pair_say(const struct pair *pair, bool by_name);

#endif
