/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections to the agent.
 *
 * A client is believed as little as anybody: it has two seconds for a request, any bytes may come,
 * and a reply that does not fit into its socket's buffer ends the connection.  As many are heard at
 * once as the kernel's queue has room for, so that a whole request is not behind halves of others;
 * only in the program's own descriptor table few are.  If there are more still, one that has been
 * idle gives way to them, or one that has stopped amid a request.  While one waits for a leak
 * check, the others are served all the same (agent_meanwhile).
 */
#include "agent/agent_client.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "image/agent_stats.h"
#include "agent/agent_verbs.h"
#include "prof/prof.h"

#define REQUEST_NS   UINT64_C(2000000000)  /* to send a request */
#define IDLE_NS      UINT64_C(60000000000) /* between two requests */
#define GIVE_WAY_NS  UINT64_C(100000000)   /* idle for so long: may be dropped for another */
#define NO_ACCEPT_NS UINT64_C(1000000000)  /* after descriptors ran out */

void agent_clients_init(struct agent_clients *c, bool control) {
    memset(c, 0, sizeof *c);
    for (unsigned i = 0; i < AGENT_NCLIENTS; i++)
        c->client[i].fd = -1;
    c->most = AGENT_FEW;
    c->control = control;
    c->resume_rate = prof_rate();
}

/* Of the descriptors that the process may have, images need some. */
void agent_clients_own_table(struct agent_clients *c) {
    struct rlimit limit = {.rlim_cur = 0};
    sys_call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit);
    c->most = limit.rlim_cur / 2 < AGENT_NCLIENTS ? (unsigned)limit.rlim_cur / 2 : AGENT_NCLIENTS;
    c->most = c->most < AGENT_FEW ? AGENT_FEW : c->most;
}

/* is_ours tells whether the descriptor is still the connection: the program may have closed it. */
static bool is_ours(const struct agent_client *k) {
    return file_id_same(k->id, file_id_of(k->fd));
}

static void drop(struct agent_client *k) {
    raw_close_own(k->fd, k->id);
    k->fd = -1;
}

void agent_clients_forget(struct agent_clients *c) {
    for (unsigned i = 0; i < AGENT_NCLIENTS; i++)
        drop(&c->client[i]);
}

bool agent_client_left(const struct agent_client *k) {
    struct pollfd p = {.fd = k->fd}; /* a hang-up is told unasked */
    if (!is_ours(k))
        return true;
    return sys_call3(SYS_poll, (long)&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

/* ---- replies ------------------------------------------------------------------------------ */

/* send_reply sends it, with fd if that is not -1; false: it did not go. */
static bool send_reply(int to, const struct gomalloc_reply *reply, int fd) {
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec iov = {(void *)(uintptr_t)reply, sizeof *reply};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sys_call3(SYS_sendmsg, to, (long)&msg, MSG_NOSIGNAL | MSG_DONTWAIT) ==
           (long)sizeof *reply;
}

static void init_reply(struct gomalloc_reply *r) {
    *r = (struct gomalloc_reply){
        .magic = GOMALLOC_AGENT_MAGIC,
        .version = GOMALLOC_AGENT_VERSION,
        .size = sizeof *r,
    };
}

/* ---- requests ----------------------------------------------------------------------------- */

/* answer serves a whole request.  False: the connection ends. */
static bool answer(struct agent_clients *c, struct agent_client *k) {
    const struct gomalloc_request *q = &k->request;
    struct gomalloc_reply reply;
    int fd = -1;
    init_reply(&reply);
    bool ours = q->magic == GOMALLOC_AGENT_MAGIC && q->size == sizeof *q;
    if (ours && q->version == GOMALLOC_AGENT_VERSION) {
        agent_count(AGENT_REQUESTS);
        const struct agent_client *before = c->asking;
        c->asking = k;
        fd = agent_verb(c, q, &reply);
        c->asking = before;
    } else {
        /* What follows on this connection cannot be told apart from requests. */
        agent_count(AGENT_BAD_REQUESTS);
        agent_refuse(&reply, ours ? GOMALLOC_BAD_VERSION : GOMALLOC_BAD_REQUEST,
                     ours ? "this version of the protocol is not spoken" : "not a request");
    }
    struct file_id id = file_id_of(fd);
    bool sent = is_ours(k) && send_reply(k->fd, &reply, fd);
    raw_close_own(fd, id);
    if (!sent)
        agent_count(AGENT_ERRORS);
    return sent && ours && q->version == GOMALLOC_AGENT_VERSION;
}

/* receive takes what has come of a request.  True: one was answered. */
static bool receive(struct agent_clients *c, struct agent_client *k) {
    if (!is_ours(k)) {
        k->fd = -1;
        return false;
    }
    /* Descriptors that come along are closed by the kernel: we give it no room for them. */
    long n = sys_call6(SYS_recvfrom, k->fd, (long)((char *)&k->request + k->have),
                       (long)(sizeof k->request - k->have), MSG_DONTWAIT, 0, 0);
    if (n == -EAGAIN || n == -EINTR)
        return false;
    if (n <= 0) {
        drop(k);
        return false;
    }
    if (k->have == 0)
        k->since_ns = raw_clock_ns(CLOCK_MONOTONIC);
    k->have += (uint32_t)n;
    if (k->have < sizeof k->request)
        return false;
    k->asking = true;
    bool stays = answer(c, k);
    k->asking = false;
    if (!stays)
        drop(k);
    k->have = 0;
    k->served = true;
    k->since_ns = raw_clock_ns(CLOCK_MONOTONIC);
    return true;
}

/* ---- connections -------------------------------------------------------------------------- */

static bool idle(const struct agent_client *k) {
    return k->served && k->have == 0;
}

/* gives_way tells of a client that is idle, or has stopped amid a request. */
static bool gives_way(const struct agent_client *k, uint64_t now_ns) {
    return !k->asking && (idle(k) || k->have != 0) && now_ns - k->since_ns >= GIVE_WAY_NS;
}

/* slot_for_new returns a free slot, or that of the client which should give way first. */
static struct agent_client *slot_for_new(struct agent_clients *c, uint64_t now_ns) {
    struct agent_client *best = NULL;
    for (unsigned i = 0; i < c->most; i++) {
        struct agent_client *k = &c->client[i];
        if (k->fd < 0)
            return k;
        if (gives_way(k, now_ns) && (best == NULL || k->since_ns < best->since_ns))
            best = k;
    }
    return best;
}

static bool peer_is_permitted(int fd, uint32_t owner) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return sys_call6(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, (long)&peer, (long)&size, 0) ==
               0 &&
           (peer.uid == owner || peer.uid == 0);
}

/* accept_one returns whether there may be more. */
static bool accept_one(struct agent_clients *c, const struct agent_socket *s, uint64_t now_ns) {
    struct agent_client *k = slot_for_new(c, now_ns);
    if (k == NULL || !agent_socket_is_ours(s))
        return false;
    int fd = (int)sys_call4(SYS_accept4, s->fd, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED)
        c->no_accept_ns = now_ns + NO_ACCEPT_NS; /* or poll would find it again and again */
    if (fd < 0)
        return false;
    struct file_id id = file_id_of(fd);
    agent_count(AGENT_CONNECTIONS);
    if (!peer_is_permitted(fd, s->owner)) {
        struct gomalloc_reply reply;
        init_reply(&reply);
        agent_count(AGENT_REFUSED);
        agent_refuse(&reply, GOMALLOC_FORBIDDEN, "only the process's owner and root may ask");
        send_reply(fd, &reply, -1);
        raw_close_own(fd, id);
        return true;
    }
    drop(k);
    *k = (struct agent_client){.fd = fd, .id = id, .since_ns = now_ns};
    return true;
}

static uint64_t deadline_of(const struct agent_client *k) {
    return k->since_ns + (idle(k) ? IDLE_NS : REQUEST_NS);
}

static void lower(uint64_t *t, uint64_t to) {
    if (to < *t)
        *t = to;
}

unsigned agent_clients_poll(struct agent_clients *c, const struct agent_socket *s,
                            struct pollfd *fds, uint64_t now_ns, uint64_t *next_ns) {
    unsigned n = 0;
    bool room = false;
    for (unsigned i = 0; i < c->most; i++) {
        const struct agent_client *k = &c->client[i];
        room |= k->fd < 0;
        if (k->fd < 0 || k->asking)
            continue;
        fds[n++] = (struct pollfd){.fd = k->fd, .events = POLLIN};
        lower(next_ns, deadline_of(k));
    }
    bool paused = now_ns < c->no_accept_ns;
    if (s->fd < 0)
        return n;
    if (!paused && slot_for_new(c, now_ns) != NULL)
        fds[n++] = (struct pollfd){.fd = s->fd, .events = POLLIN};
    else if (paused)
        lower(next_ns, c->no_accept_ns);
    else if (!room)
        lower(next_ns, now_ns + GIVE_WAY_NS);
    return n;
}

bool agent_clients_serve(struct agent_clients *c, const struct agent_socket *s,
                         const struct pollfd *fds, unsigned n) {
    bool served = false, welcome = false;
    for (unsigned i = 0; i < n; i++) {
        if (fds[i].revents == 0)
            continue;
        welcome |= fds[i].fd == s->fd;
        for (unsigned j = 0; j < c->most; j++)
            if (c->client[j].fd == fds[i].fd && fds[i].fd != s->fd && !c->client[j].asking)
                served |= receive(c, &c->client[j]);
    }
    uint64_t now_ns = raw_clock_ns(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < c->most; i++) {
        struct agent_client *k = &c->client[i];
        if (k->fd >= 0 && !k->asking && now_ns >= deadline_of(k)) {
            agent_count(AGENT_TIMEOUTS);
            drop(k);
        }
    }
    for (unsigned i = 0; welcome && i < c->most; i++)
        welcome = accept_one(c, s, now_ns);
    return served;
}
