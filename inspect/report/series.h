/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The same thing again and again, until its process has ended or a signal says that it is enough.
 */
#ifndef GOINSPECT_SERIES_H
#define GOINSPECT_SERIES_H

#include <stdint.h>
#include <sys/types.h>

#include "base/say.h"

/* What is done at each step. */
struct series {
    int64_t every_ns; /* from the beginning of one step to that of the next */
    const char *file; /* where it goes to, for people */
    void *arg;
    /* step does it; `line` (of `size` bytes) is to hold what it has done, for people. */
    enum status (*step)(void *arg, char *line, size_t size, struct failure *failure);
};

/* series_parse reads a time between two steps: "30s", "5m", "1h", "0.5"; at least 0.1 s, at most a
 * year; 0: it is none. */
int64_t series_parse(const char *word);

/* series_run does steps as long as process pid lives.  A step that fails is said, and the next one
 * follows; the first one ends the series.  STATUS_DONE; STATUS_FAILURE: some step has failed; or
 * *failure, if it was the first one. */
enum status series_run(const struct series *series, pid_t pid, struct failure *failure);

#endif
