/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A connection to the agent of one process (the protocol: gomalloc/agent.h).
 */
#ifndef GOINSPECT_CLIENT_H
#define GOINSPECT_CLIENT_H

#include <stdint.h>

#include "gomalloc/agent.h"
#include "gomalloc/image.h"
#include "target/proc.h"
#include "base/say.h"

struct client {
    int fd;
    struct proc proc;
    double patience;     /* seconds to wait for one answer */
    const char *waiting; /* for what, if that may take long: said on a terminal; NULL: it may not */
};

/* Sections of a leak check: they are asked for with patience, and by name only. */
#define CLIENT_LEAKS                                                                               \
    (UINT64_C(1) << GOMALLOC_SECTION_LEAK | UINT64_C(1) << GOMALLOC_SECTION_LEAK_CHECK |           \
     UINT64_C(1) << GOMALLOC_SECTION_ROOT | UINT64_C(1) << GOMALLOC_SECTION_HELD)

/* Sections of an answer to WHY. */
#define CLIENT_WHY                                                                                 \
    (UINT64_C(1) << GOMALLOC_SECTION_WHY | UINT64_C(1) << GOMALLOC_SECTION_WHY_STEP |              \
     UINT64_C(1) << GOMALLOC_SECTION_REFERRER)

/* All other sections, with the one that is only made when asked for by name. */
#define CLIENT_RESIDENT (((UINT64_C(1) << GOMALLOC_NSECTIONS) - 1) & ~CLIENT_LEAKS & ~CLIENT_WHY)

/* client_open connects to the agent of process pid.  STATUS_DONE, or *failure.  patience: seconds,
 * unless $GOINSPECT_TIMEOUT says other; 0 = 5. */
enum status client_open(pid_t pid, double patience, struct client *ret, struct failure *failure);

/*
 * client_call sends one request and waits for its reply.  With ret_fd, the reply must carry a
 * descriptor, which the caller closes.  STATUS_DONE with *ret, or *failure.
 */
enum status client_call(struct client *client, enum gomalloc_verb verb, uint64_t arg,
                        struct gomalloc_reply *ret, int *ret_fd, struct failure *failure);

void client_close(struct client *client);

#endif
