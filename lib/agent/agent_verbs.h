/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the agent does when asked.
 */
#ifndef GM_AGENT_AGENT_VERBS_H
#define GM_AGENT_AGENT_VERBS_H

#include "agent/agent_client.h"

/* agent_verb serves the request and fills the reply; returns a descriptor to go with it, which the
 * caller closes, or -1. */
int agent_verb(struct agent_clients *c, const struct gomalloc_request *q,
               struct gomalloc_reply *reply);

/* agent_refuse makes the reply an error with a line for people. */
void agent_refuse(struct gomalloc_reply *reply, enum gomalloc_status status, const char *message);

#endif
