/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the agent counts, for section "counter".  X(id, name, unit)
 */
#ifndef GM_IMAGE_AGENT_STATS_H
#define GM_IMAGE_AGENT_STATS_H

#include <stdatomic.h>

#include "sys/compiler.h"

#define AGENT_STATS(X)                                                                             \
    X(CONNECTIONS, "agent.connections", "calls")                                                   \
    X(REQUESTS, "agent.requests", "calls")                                                         \
    X(IMAGES, "agent.images", "calls")                                                             \
    X(REFUSED, "agent.refused", "calls")             /* a peer, or a request, not permitted */     \
    X(BAD_REQUESTS, "agent.bad_requests", "calls")   /* not a request of ours */                   \
    X(TIMEOUTS, "agent.timeouts", "calls")           /* clients dropped as too slow */             \
    X(ERRORS, "agent.errors", "calls")               /* images that could not be made or sent */   \
    X(BIND_FAILED, "agent.bind_failed", "calls")     /* no socket: see the directory */            \
    X(SOCKET_LOST, "agent.socket_lost", "calls")     /* the program closed our descriptor */       \
    X(THREAD_FAILED, "agent.thread_failed", "calls") /* the kernel refused a thread */             \
    X(SHARED_TABLE, "agent.shared_descriptors", "calls") /* no descriptor table of our own */      \
    X(WAKEUPS, "agent.wakeups", "calls")                                                           \
    X(TRIGGERED, "trigger.snapshots", "calls")       /* taken by trigger= */                       \
    X(TRIGGER_FAILED, "trigger.failed", "calls")     /* that could not be written */               \
    X(TRIGGER_NO_LIMIT, "trigger.no_limit", "calls") /* looked for a limit on memory in vain */

enum agent_stat {
#define AGENT_STAT_ID(id, name, unit) AGENT_##id,
    AGENT_STATS(AGENT_STAT_ID)
#undef AGENT_STAT_ID
        AGENT_NSTATS
};

struct agent_stat_name {
    const char *name;
    const char *unit;
};
extern const struct agent_stat_name agent_stat_names[AGENT_NSTATS];
extern _Atomic uint64_t agent_stats[AGENT_NSTATS];

/* 1 while the agent's thread exists in this process. */
extern _Atomic uint32_t agent_thread_runs;

static inline void agent_count(enum agent_stat id) {
    atomic_fetch_add_explicit(&agent_stats[id], 1, memory_order_relaxed);
}

#endif
