/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A connection to the agent of one process.
 *
 * The other side is believed as little as a file from the network: it may be stopped, be another
 * program that took over a pid, answer nonsense, never answer, or send descriptors that nobody
 * asked for.  Every wait has an end, every reply is checked word by word, and what arrives beside
 * it is closed.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "target/client.h"
#include "target/place.h"
#include "base/progress.h"

#define PATIENCE       5.0 /* seconds for an answer; GOINSPECT_TIMEOUT */
#define YOUNG          2.0 /* seconds: the age until which a process may still make its socket */
#define IMAGE_PATIENCE 12  /* times as long for an image: a heap of many GiB takes a while */
#define LEAK_PATIENCE  120 /* and for one with a leak check: two seconds for each GiB, or so */
#define SLICE_MS       200 /* between two words about how long it takes */
#define MOST_FDS       8   /* descriptors received at once; all but the first are closed */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void sleep_briefly(void) {
    struct timespec t = {.tv_nsec = 10000000};
    nanosleep(&t, NULL);
}

static double patience_or(double usual) {
    const char *s = getenv("GOINSPECT_TIMEOUT");
    double seconds = s ? strtod(s, NULL) : 0;
    return seconds > 0 && seconds < 86400 ? seconds : usual;
}

static enum status fail_silent(const struct client *c, struct failure *failure) {
    struct proc now_it_is = c->proc;
    proc_read(c->proc.pid, &now_it_is);
    return fail(failure, STATUS_FAILURE,
                "process %d (%s) does not answer%s: try again, or set GOINSPECT_TIMEOUT to wait "
                "longer than %g s",
                (int)c->proc.pid, c->proc.comm,
                now_it_is.state == 'T' || now_it_is.state == 't' ? " because it is stopped" : "",
                c->patience);
}

/* fail_hung_up is for a connection that has broken: by what error says how it ended. */
static enum status fail_hung_up(const struct client *c, int error, struct failure *failure) {
    if (error == 0 || error == EPIPE || error == ECONNRESET)
        return fail(failure, STATUS_FAILURE,
                    "process %d (%s) hung up without an answer: it may have ended",
                    (int)c->proc.pid, c->proc.comm);
    return fail(failure, STATUS_FAILURE, "process %d (%s) hung up: %s", (int)c->proc.pid,
                c->proc.comm, strerror(error));
}

static enum status fail_garbled(const struct client *c, const char *what, struct failure *failure) {
    return fail(failure, STATUS_FAILURE,
                "process %d (%s) answered %s: what listens there is not gomalloc's agent",
                (int)c->proc.pid, c->proc.comm, what);
}

/* is_younger tells whether the socket was made less than this many seconds ago. */
static bool is_younger(const struct place *place, double seconds) {
    struct stat st;
    struct timespec t;
    if (fstatat(place->dir, place->name, &st, 0) != 0)
        return false;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)(t.tv_sec - st.st_ctim.tv_sec) + (double)(t.tv_nsec - st.st_ctim.tv_nsec) / 1e9 <
           seconds;
}

/* connect_patiently connects; -errno. */
static int connect_patiently(const struct client *c, const struct place *place) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    double deadline = now() + c->patience;
    /* by descriptor: the path may be longer than sun_path, and can't be exchanged meanwhile */
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", place->dir,
             place->name);
    while (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        /* Its queue is full, or an agent that has just begun has bound it and does not listen yet.
         */
        bool may_change =
            error == EAGAIN || (error == ECONNREFUSED && is_younger(place, c->patience));
        if (!may_change && error != EINTR)
            return -error;
        if (now() > deadline)
            return error == ECONNREFUSED ? -error : -ETIMEDOUT;
        sleep_briefly();
    }
    return 0;
}

/* check_peer makes sure that the process itself listens there. */
static enum status check_peer(const struct client *c, const struct place *place,
                              struct failure *failure) {
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return fail(failure, STATUS_FAILURE, "%s: %s", place->path, strerror(errno));
    if (peer.uid != c->proc.euid && peer.uid != c->proc.uid && peer.uid != 0)
        return fail(failure, STATUS_FORBIDDEN,
                    "%s: user %u listens there, not the process's own user %u", place->path,
                    (unsigned)peer.uid, (unsigned)c->proc.euid);
    if (peer.pid != 0 && peer.pid != c->proc.pid)
        return fail(failure, STATUS_NO_TARGET,
                    "%s is stale: process %d listens there, not %d; remove it", place->path,
                    (int)peer.pid, (int)c->proc.pid);
    return STATUS_DONE;
}

static enum status connect_client(struct client *c, const struct place *place,
                                  struct failure *failure) {
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        return fail(failure, STATUS_FAILURE, "socket: %s", strerror(errno));
    int error = connect_patiently(c, place);
    if (error == -ETIMEDOUT)
        return fail_silent(c, failure);
    if (error == -ECONNREFUSED || error == -ENOENT)
        return fail(failure, STATUS_NO_TARGET,
                    "process %d (%s) no longer listens on %s: the socket is stale (left over by "
                    "an exec, or by another process of that number)",
                    (int)c->proc.pid, c->proc.comm, place->path);
    if (error == -EACCES || error == -EPERM)
        return fail(failure, STATUS_FORBIDDEN, "%s: not permitted; try as its owner or root",
                    place->path);
    if (error)
        return fail(failure, STATUS_FAILURE, "%s: %s", place->path, strerror(-error));
    return check_peer(c, place, failure);
}

enum status client_open(pid_t pid, double patience, struct client *ret, struct failure *failure) {
    struct place place;
    *ret = (struct client){.fd = -1, .patience = patience_or(patience > 0 ? patience : PATIENCE)};
    int error = proc_read(pid, &ret->proc);
    if (error == -ESRCH)
        return fail(failure, STATUS_NO_TARGET,
                    "no process %d; \"goinspect ps\" lists those that can be asked", (int)pid);
    if (error)
        return fail(failure, STATUS_FAILURE, "/proc/%d/status: %s", (int)pid, strerror(-error));
    double young = ret->patience < YOUNG ? ret->patience : YOUNG;
    enum status status = place_find(&ret->proc, young, &place, failure);
    if (status != STATUS_DONE)
        return status;
    status = connect_client(ret, &place, failure);
    close(place.dir);
    if (status != STATUS_DONE)
        client_close(ret);
    return status;
}

void client_close(struct client *client) {
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

/* wait_for waits until the socket is ready; false when the deadline has passed. */
static bool wait_for(const struct client *c, short events, double deadline) {
    for (;;) {
        struct pollfd p = {.fd = c->fd, .events = events};
        double left = (deadline - now()) * 1000;
        int most = c->waiting ? SLICE_MS : INT_MAX;
        int n = poll(&p, 1, left <= 0 ? 0 : left < most ? (int)left + 1 : most);
        if (n > 0)
            return true;
        if ((n == 0 && left <= most) || (n < 0 && errno != EINTR))
            return false;
        if (c->waiting)
            progress_wait(c->waiting);
    }
}

static enum status send_request(struct client *c, const struct gomalloc_request *request,
                                double deadline, struct failure *failure) {
    const char *p = (const char *)request;
    for (size_t sent = 0; sent < sizeof(*request);) {
        ssize_t n = send(c->fd, p + sent, sizeof(*request) - sent, MSG_NOSIGNAL);
        if (n > 0)
            sent += (size_t)n;
        else if (errno != EAGAIN && errno != EINTR)
            return fail_hung_up(c, errno, failure);
        else if (errno == EAGAIN && !wait_for(c, POLLOUT, deadline))
            return fail_silent(c, failure);
    }
    return STATUS_DONE;
}

/* take_fds keeps the first descriptor that came in *fd and closes the others. */
static void take_fds(struct msghdr *message, int *fd) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int one;
            memcpy(&one, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (*fd < 0)
                *fd = one;
            else
                close(one);
        }
    }
}

static enum status receive_reply(struct client *c, struct gomalloc_reply *reply, int *fd,
                                 double deadline, struct failure *failure) {
    char *p = (char *)reply;
    for (size_t got = 0; got < sizeof(*reply);) {
        union {
            char bytes[CMSG_SPACE(MOST_FDS * sizeof(int))];
            struct cmsghdr align;
        } control;
        struct iovec iov = {p + got, sizeof(*reply) - got};
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control.bytes)};
        if (!wait_for(c, POLLIN, deadline))
            return fail_silent(c, failure);
        ssize_t n = recvmsg(c->fd, &message, MSG_CMSG_CLOEXEC);
        if (n > 0) {
            take_fds(&message, fd);
            got += (size_t)n;
        } else if (n == 0 && got > 0) {
            return fail_garbled(c, "less than a whole reply", failure);
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            return fail_hung_up(c, n == 0 ? 0 : errno, failure);
        }
    }
    return STATUS_DONE;
}

/* judge turns a reply into a status. */
static enum status judge(const struct client *c, struct gomalloc_reply *reply,
                         struct failure *failure) {
    reply->message[sizeof(reply->message) - 1] = '\0';
    if (reply->magic != GOMALLOC_AGENT_MAGIC)
        return fail_garbled(c, "nonsense", failure);
    if (reply->version != GOMALLOC_AGENT_VERSION || reply->status == GOMALLOC_BAD_VERSION)
        return fail(failure, STATUS_BAD_VERSION,
                    "process %d (%s) speaks version %u of the protocol, this goinspect version %u: "
                    "use the goinspect of its library",
                    (int)c->proc.pid, c->proc.comm, reply->version, GOMALLOC_AGENT_VERSION);
    if (reply->size != sizeof(*reply))
        return fail_garbled(c, "a reply of the wrong size", failure);
    const char *why = reply->message[0] ? reply->message : "no reason given";
    switch (reply->status) {
    case GOMALLOC_OK:
        return STATUS_DONE;
    case GOMALLOC_FORBIDDEN:
        return fail(failure, STATUS_FORBIDDEN, "process %d (%s) refused: %s", (int)c->proc.pid,
                    c->proc.comm, why);
    default:
        return fail(failure, STATUS_FAILURE, "process %d (%s) could not answer: %s",
                    (int)c->proc.pid, c->proc.comm, why);
    }
}

static enum status call_once(struct client *c, const struct gomalloc_request *request,
                             struct gomalloc_reply *reply, int *fd, double deadline,
                             struct failure *failure) {
    memset(reply, 0, sizeof(*reply));
    enum status status = send_request(c, request, deadline, failure);
    if (status == STATUS_DONE)
        status = receive_reply(c, reply, fd, deadline, failure);
    return status == STATUS_DONE ? judge(c, reply, failure) : status;
}

enum status client_call(struct client *client, enum gomalloc_verb verb, uint64_t arg,
                        struct gomalloc_reply *ret, int *ret_fd, struct failure *failure) {
    struct gomalloc_request request = {.magic = GOMALLOC_AGENT_MAGIC,
                                       .version = GOMALLOC_AGENT_VERSION,
                                       .size = sizeof(request),
                                       .verb = verb,
                                       .arg = arg};
    bool leaks =
        verb == GOMALLOC_VERB_WHY || (verb == GOMALLOC_VERB_IMAGE && (arg & CLIENT_LEAKS) != 0);
    double times = leaks ? LEAK_PATIENCE : ret_fd ? IMAGE_PATIENCE : 1;
    double deadline = now() + client->patience * times;
    client->waiting = !leaks                      ? NULL
                      : verb == GOMALLOC_VERB_WHY ? "following pointers"
                                                  : "checking for leaks";
    enum status status;
    int fd;
    for (;;) {
        fd = -1;
        status = call_once(client, &request, ret, &fd, deadline, failure);
        bool busy = status == STATUS_FAILURE && ret->magic == GOMALLOC_AGENT_MAGIC &&
                    ret->status == GOMALLOC_BUSY && now() < deadline;
        if (!busy)
            break;
        if (fd >= 0)
            close(fd);
        sleep_briefly();
    }
    if (leaks)
        progress_end();
    if (status == STATUS_DONE && ret_fd && fd < 0)
        status = fail_garbled(client, "without the image", failure);
    if (fd >= 0 && (status != STATUS_DONE || !ret_fd))
        close(fd);
    else if (ret_fd)
        *ret_fd = fd;
    return status;
}
