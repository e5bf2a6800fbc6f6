/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How near the process is to the limit on the memory of its control group.
 */
#ifndef GM_AGENT_MEMORY_LIMIT_H
#define GM_AGENT_MEMORY_LIMIT_H

#include "sys/compiler.h"

#define MEMORY_LIMIT_LEVELS 8 /* groups from the process's own outwards that are looked at */

/* A control group that has a limit. */
struct memory_limit_group {
    uint64_t limit;   /* bytes */
    char usage[4096]; /* path of the file that tells what is used of it */
};

struct memory_limit {
    unsigned n; /* groups with a limit; 0: there is none */
    struct memory_limit_group group[MEMORY_LIMIT_LEVELS];
};

/* memory_limit_find looks for the limits that hold for this process: of its own group, and of those
 * around it as far as they can be seen. */
void memory_limit_find(struct memory_limit *m);

/* memory_limit_find_in is the same for the groups that a text as in /proc/PID/cgroup names, in a
 * tree at root. */
void memory_limit_find_in(struct memory_limit *m, const char *groups, const char *root);

/* memory_limit_percent returns how much of the limit is used that is nearest; 0: there is none. */
unsigned memory_limit_percent(const struct memory_limit *m);

#endif
