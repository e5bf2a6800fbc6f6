/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The agent's listening socket and its name in the file system.
 */
#ifndef GM_AGENT_AGENT_SOCKET_H
#define GM_AGENT_AGENT_SOCKET_H

#include <sys/un.h>

#include "image/rawfile.h"

struct agent_socket {
    int fd;                                               /* -1: none */
    struct file_id id;                                    /* what fd is */
    uint32_t owner;                                       /* effective user when it was bound */
    int pid;                                              /* whose name it is, 0 = no name */
    char path[sizeof((struct sockaddr_un *)0)->sun_path]; /* the name */
};

/* agent_socket_remember_dir reads the environment: from the constructor, when nobody else writes
 * it. */
void agent_socket_remember_dir(void);

/* agent_socket_open binds, listens and takes the name, replacing that of a dead process.  high: put
 * the descriptor where programs have none of their own.  False: no socket, s->fd = -1. */
bool agent_socket_open(struct agent_socket *s, bool high);

/* agent_socket_sweep removes the names in dir that no living process listens on. */
void agent_socket_sweep(const char *dir);

/* agent_socket_unnamed_file opens a file without a name in the socket's folder; a negative errno:
 * there can be none. */
int agent_socket_unnamed_file(void);

/* agent_socket_is_ours tells whether the descriptor is still the socket. */
bool agent_socket_is_ours(const struct agent_socket *s);

/* agent_socket_unlink removes the name if it is this process's, and sees to it that no name is
 * taken later: for exit, from any thread. */
void agent_socket_unlink(struct agent_socket *s);

/* agent_socket_forget makes a forked child's copy empty, closing the descriptor if it is ours. */
void agent_socket_forget(struct agent_socket *s);

#endif
