/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Snapshots that the process takes of itself: when its resident set has grown, and when it comes
 * near the limit on its memory.
 */
#ifndef GM_AGENT_TRIGGER_H
#define GM_AGENT_TRIGGER_H

#include "image/image_path.h"

#define TRIGGER_MAX_KEEP   1000
#define TRIGGER_KEEP_UNSET UINT32_MAX /* 10 files; all snapshots in a database */

struct trigger_options {
    uint64_t rss;     /* bytes that the resident set has to grow by; 0: does not matter */
    uint32_t cgroup;  /* percent of the control group's limit; 0: does not matter */
    uint32_t keep;    /* files, or snapshots in a database, that stay; 0: all */
    bool fatal;       /* at a fatal signal: fatal.h */
    const char *path; /* template of the file's name; lasts */
};

/* trigger_configure: from the constructor. */
void trigger_configure(const struct trigger_options *o);

/* trigger_turn takes a snapshot if it is time for one; returns when it wants to be called again,
 * CLOCK_MONOTONIC.  For the agent's thread; own_table: which has descriptors of its own. */
uint64_t trigger_turn(uint64_t now_ns, bool own_table);

/* trigger_fork_child begins anew, in the forked child. */
void trigger_fork_child(void);

/* trigger_next_path writes the path of the next snapshot, which has a number of its own, and
 * returns that number. */
uint64_t trigger_next_path(struct fmt *f);

/* trigger_rotate removes the file that is one too many, now that the one of this number is there.
 */
void trigger_rotate(uint64_t number);

#endif
