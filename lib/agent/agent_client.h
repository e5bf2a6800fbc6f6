/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections to the agent, and the protocol spoken on them (gomalloc/agent.h).
 */
#ifndef GM_AGENT_AGENT_CLIENT_H
#define GM_AGENT_AGENT_CLIENT_H

#include <poll.h>

#include "agent/agent_socket.h"
#include "gomalloc/agent.h"

#define AGENT_NCLIENTS 128 /* as many as may wait to be accepted */
#define AGENT_FEW      8   /* in a descriptor table that is not ours alone */

struct agent_client {
    int fd; /* -1: unused */
    struct file_id id;
    uint64_t since_ns; /* CLOCK_MONOTONIC: accepted, first byte of a request, or last reply */
    uint32_t have;     /* bytes of the request so far */
    bool served;       /* has had a reply: may be idle for longer */
    bool asking;       /* its request is being answered: others may be served meanwhile */
    struct gomalloc_request request;
};

struct agent_clients {
    struct agent_client client[AGENT_NCLIENTS];
    unsigned most;                     /* at once */
    bool control;                      /* verbs that change something are allowed */
    uint64_t resume_rate;              /* bytes: what START without an argument sets, 0 = default */
    uint64_t no_accept_ns;             /* CLOCK_MONOTONIC until which none is accepted: it failed */
    const struct agent_client *asking; /* whose request is being answered; NULL: nobody's */
    bool checking;                     /* a leak check is under way */
};

/* agent_clients_init makes the table empty. */
void agent_clients_init(struct agent_clients *c, bool control);

/* agent_clients_own_table says that descriptors are the thread's own: more clients are heard. */
void agent_clients_own_table(struct agent_clients *c);

/* agent_clients_poll fills at most AGENT_NCLIENTS + 1 entries, the listening socket (if more
 * clients are welcome) included, and returns how many.  *next_ns is lowered to when a client's time
 * is up. */
unsigned agent_clients_poll(struct agent_clients *c, const struct agent_socket *s,
                            struct pollfd *fds, uint64_t now_ns, uint64_t *next_ns);

/* agent_clients_serve accepts, reads and answers what poll(2) found in the n entries, and drops
 * who is too slow.  True: a request was served. */
bool agent_clients_serve(struct agent_clients *c, const struct agent_socket *s,
                         const struct pollfd *fds, unsigned n);

/* agent_client_left tells whether the client has closed the connection. */
bool agent_client_left(const struct agent_client *k);

/* agent_clients_forget closes the descriptors, if they are still ours: for a forked child. */
void agent_clients_forget(struct agent_clients *c);

#endif
