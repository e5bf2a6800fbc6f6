/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How much memory the cgroup of a live process uses, and how much it may: the SQL functions
 * cgroup_used() and cgroup_limit().
 */
#ifndef GOINSPECT_CGROUP_H
#define GOINSPECT_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "db/db.h"

struct cgroup_memory {
    int64_t used;  /* bytes */
    int64_t limit; /* bytes; 0: there is none */
};

/* cgroup_read fills *ret with the figures of the cgroup nearest to its limit, of those that
 * /proc/PID/cgroup names and of all above it.  root is where the cgroup file system is mounted.
 * false: they can't be read. */
bool cgroup_read(const char *root, pid_t pid, struct cgroup_memory *ret);

/* cgroup_create makes the two SQL functions, in bytes; NULL where they can't be told, which is also
 * the case with pid 0.  $GOINSPECT_CGROUP is the root, /sys/fs/cgroup unless it is set. */
int cgroup_create(sqlite3 *db, pid_t pid);

#endif
