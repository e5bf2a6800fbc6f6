/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the agent counts.
 */
#include "image/agent_stats.h"

const struct agent_stat_name agent_stat_names[AGENT_NSTATS] = {
#define AGENT_STAT_NAME(id, name, unit) [AGENT_##id] = {name, unit},
    AGENT_STATS(AGENT_STAT_NAME)
#undef AGENT_STAT_NAME
};

_Atomic uint64_t agent_stats[AGENT_NSTATS];
_Atomic uint32_t agent_thread_runs;
