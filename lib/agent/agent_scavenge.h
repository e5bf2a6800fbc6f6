/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Giving memory back when it is ordered, also what threads keep that do not come by.
 */
#ifndef GM_AGENT_SCAVENGE_H
#define GM_AGENT_SCAVENGE_H

#include "sys/compiler.h"

struct scavenged {
    size_t bytes;     /* given back to the kernel */
    uint32_t emptied; /* threads that were stopped, and whose caches were emptied */
    uint32_t left;    /* threads that were amid the library, or could not be stopped */
    int stop_error;   /* enum stop_error: not OK, and no thread was */
};

/* agent_scavenge gives back what can be had.  With threads: these are stopped for a moment, and
 * what they keep and do not use is given back, too.  From the library's thread, without a lock. */
struct scavenged agent_scavenge(bool threads);

#endif
