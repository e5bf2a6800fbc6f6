/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The agent: one thread that answers goinspect on a Unix socket (gomalloc/agent.h) and does the
 * heap's background work.
 *
 * Nothing here fails the program: without a socket, or without a thread, the program goes on as
 * before and a counter says so.
 */
#ifndef GM_AGENT_AGENT_H
#define GM_AGENT_AGENT_H

#include "sys/compiler.h"

struct agent_options {
    bool on;      /* make a socket; if not, the thread does the background work only */
    bool control; /* accept verbs that change something */
};

/* agent_init remembers the options and starts the thread, or leaves that to agent_poke: from the
 * constructor, once. */
void agent_init(const struct agent_options *o);

/* agent_fork_child forgets the parent's thread, socket and descriptors: for the only thread of a
 * forked child.  The thread is started again by agent_poke. */
void agent_fork_child(void);

/* agent_is_second_thread tells whether the agent's thread runs and the calling one is the program's
 * only other. */
bool agent_is_second_thread(void);

/* agent_poke starts the thread where that had to wait: in a forked child once it has lived for 10
 * ms (most children exec at once), in a delicate program once it has worked for 2 ms.  From a
 * malloc slow path with no lock held; may allocate.  One load if nothing is to be done. */
void agent_poke(void);

/* agent_meanwhile does the background work that is due, and serves other clients, until fd can be
 * read, for a tenth of a second at most: for the agent's thread while it waits for a leak check. */
void agent_meanwhile(int fd);

/* agent_exit removes the socket's name if it is this process's: from the destructor. */
void agent_exit(void);

#endif
