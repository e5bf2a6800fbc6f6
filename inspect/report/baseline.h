/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Baselines: what a heap is compared with later, as a small text to be kept with a program's
 * sources.
 *
 *      {"gomalloc_baseline":1,"program":"demo","rate":1,"live_bytes":45456,...,
 *      "limits":{"max-growth":"5%"},
 *      "sites":[
 *      {"function":"load","location":"load.c:12","stack":["load","main"],"sizes":[[32,20,100,1]]},
 *      ...]}
 *
 * It is JSON, with a line for each call stack, so that two versions of it can be compared.  Stacks
 * are functions, innermost first, and not addresses: a baseline outlives the build it was made of.
 * Sizes are, for each size of slot: its bytes, the bytes asked for in the mean, recorded objects,
 * and how many each stands for.
 */
#ifndef GOINSPECT_BASELINE_H
#define GOINSPECT_BASELINE_H

#include "report/diff.h"

/* A limit that is kept in it. */
struct baseline_limit {
    const char *name; /* "max-growth" */
    const char *word; /* "5%"; NULL: none */
};

struct baseline {
    const char *path;
    char *text;
};

/* baseline_is tells whether the file at path is one, rather than an image or a database. */
bool baseline_is(const char *path);

/* baseline_read reads one.  STATUS_DONE or *failure, here and below. */
enum status baseline_read(const char *path, struct baseline *ret, struct failure *failure);
void baseline_free(struct baseline *b);

/* baseline_word returns the limit called name, to be freed, or NULL. */
char *baseline_word(const struct baseline *b, const char *name);

/* baseline_load makes it side A of d, which matches by function. */
enum status baseline_load(const struct baseline *b, struct diff *d, struct failure *failure);

/* baseline_write makes a file of side B of d, which matches by function and has no side A. */
enum status baseline_write(const char *path, struct diff *d, const struct baseline_limit *limits,
                           size_t nlimits, struct failure *failure);

#endif
