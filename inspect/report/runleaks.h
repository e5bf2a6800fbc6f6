/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The leaks of a program that goinspect has run, and of the processes that it has started, from the
 * images that they have left at their ends.
 */
#ifndef GOINSPECT_RUNLEAKS_H
#define GOINSPECT_RUNLEAKS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/say.h"
#include "report/suppress.h"

struct runleaks {
    struct suppress_files suppressions;
    char *directory; /* of our own, for images; NULL: none */
    char *preload;   /* LD_PRELOAD and GOMALLOC before the library was put there; NULL: not
                        set */
    char *options;
    int64_t begin_ns; /* CLOCK_REALTIME: what is older is not this program's */
};

/* runleaks_begin is called before the environment is changed.  *file is where the images are to go:
 * if it is NULL, it becomes a name in a new directory, to be freed.  STATUS_DONE or *failure. */
enum status runleaks_begin(struct runleaks *r, char **file, struct failure *failure);

/* runleaks_show prints on standard error what has leaked, by file, an absolute path, of the process
 * pid and of those that it has started.  STATUS_DONE, STATUS_FINDINGS, or STATUS_FAILURE after
 * having said why. */
enum status runleaks_show(const struct runleaks *r, const char *file, pid_t pid,
                          const char *program);

/* runleaks_end removes what runleaks_begin has made. */
void runleaks_end(struct runleaks *r);

#endif
