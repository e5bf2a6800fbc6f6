/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the agent does when asked.
 *
 * An image goes to the client as a memfd that is sealed, so that it can be mapped and read without
 * the fear that it shrinks.  Where a filter or an old kernel refuses such files, it is one without
 * a name in the socket's folder.
 */
#include "agent/agent_verbs.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/agent.h"
#include "agent/agent_leaks.h"
#include "agent/agent_scavenge.h"
#include "image/agent_stats.h"
#include "image/image_write.h"
#include "gomalloc/image.h"
#include "heap/mheap.h"
#include "leak/stop.h"
#include "prof/prof.h"
#include "sys/fmt.h"

#define NOEXEC_SEAL 0x8u /* MFD_NOEXEC_SEAL: since Linux 6.3, where it may be demanded */

void agent_refuse(struct gomalloc_reply *reply, enum gomalloc_status status, const char *message) {
    struct fmt f = fmt_on(reply->message, sizeof reply->message);
    reply->status = status;
    fmt_str(&f, message);
}

static int new_file(void) {
    const char *name = "gomalloc-image";
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = (int)sys_call3(SYS_memfd_create, (long)name, flags | NOEXEC_SEAL, 0);
    if (fd == -EINVAL)
        fd = (int)sys_call3(SYS_memfd_create, (long)name, flags, 0);
    return fd >= 0 || fd == -EMFILE ? fd : agent_socket_unnamed_file();
}

/* still_wanted serves others while a leak check is under way. */
static bool still_wanted(void *arg, int fd) {
    struct agent_clients *c = arg;
    agent_meanwhile(fd);
    return !agent_client_left(c->asking);
}

/* verb_image has an image made; why: an address, 0: it is not asked why that lives. */
static int verb_image(struct agent_clients *c, uint64_t sections, uint64_t why,
                      struct gomalloc_reply *reply) {
    char err[sizeof reply->message];
    bool leaks = why != 0 || image_has_leaks(sections);
    if (leaks && c->checking) {
        agent_refuse(reply, GOMALLOC_BUSY, "another leak check is under way: try again");
        return -1;
    }
    int fd = new_file();
    if (fd < 0) {
        agent_count(AGENT_ERRORS);
        agent_refuse(reply, GOMALLOC_NO_RESOURCES,
                     "no file for the image: neither by memfd_create nor in the socket's folder");
        return -1;
    }
    struct file_id id = file_id_of(fd);
    int error;
    if (leaks) {
        c->checking = true;
        error = agent_leak_image(fd, sections, why, still_wanted, c, err, sizeof err);
        c->checking = false;
    } else {
        error = image_write_fd(fd, sections, GOMALLOC_IMAGE_LIVE, err, sizeof err);
    }
    if (error != 0) {
        agent_count(AGENT_ERRORS);
        agent_refuse(reply, GOMALLOC_NO_RESOURCES, err);
        raw_close_own(fd, id);
        return -1;
    }
    sys_call3(SYS_fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    agent_count(AGENT_IMAGES);
    return fd;
}

/* set_rate may load the unwinder, which allocates: the mcache that this thread then has goes back,
 * as it will not allocate again soon. */
static uint64_t set_rate(struct agent_clients *c, uint64_t rate) {
    uint64_t old = prof_set_rate(rate);
    if (old != 0 && rate == 0)
        c->resume_rate = old;
    if (mcache_self != &mcache0)
        mcache_detach();
    return old;
}

static uint64_t rate_to_start(const struct agent_clients *c, uint64_t arg) {
    if (arg != 0)
        return arg;
    return c->resume_rate != 0 ? c->resume_rate : PROF_DEFAULT_RATE;
}

/* A leak check in place has the program stand still for as long as it takes. */
static bool verb_changes(const struct gomalloc_request *q) {
    return q->verb == GOMALLOC_VERB_RATE || q->verb == GOMALLOC_VERB_SCAVENGE ||
           q->verb == GOMALLOC_VERB_START ||
           ((q->verb == GOMALLOC_VERB_IMAGE || q->verb == GOMALLOC_VERB_WHY) &&
            (q->arg & GOMALLOC_ASK_LEAK_IN_PLACE) != 0);
}

/* scavenge says of how many threads' caches it has been. */
static void scavenge(uint64_t arg, struct gomalloc_reply *reply) {
    bool threads = (arg & GOMALLOC_SCAVENGE_THREADS) != 0;
    struct scavenged s = agent_scavenge(threads);
    struct fmt f = fmt_on(reply->message, sizeof reply->message);
    reply->value = s.bytes;
    if (!threads)
        return;
    if (s.stop_error != STOP_OK) {
        fmt_str(&f, "the threads could not be stopped, and keep what they had");
        return;
    }
    fmt_uint(&f, s.emptied);
    fmt_str(&f, s.emptied == 1 ? " thread's cache emptied" : " threads' caches emptied");
    if (s.left == 0)
        return;
    fmt_str(&f, ", ");
    fmt_uint(&f, s.left);
    fmt_str(&f, " left: perhaps amid malloc");
}

static int verb_why(struct agent_clients *c, uint64_t arg, struct gomalloc_reply *reply) {
    const uint64_t sections = UINT64_C(1) << GOMALLOC_SECTION_WHY | UINT64_C(1)
                                                                        << GOMALLOC_SECTION_MAPPING;
    uint64_t address = arg & ~GOMALLOC_ASK_LEAK;
    if (address != 0)
        return verb_image(c, sections | (arg & GOMALLOC_ASK_LEAK), address, reply);
    agent_count(AGENT_BAD_REQUESTS);
    agent_refuse(reply, GOMALLOC_BAD_REQUEST, "no address");
    return -1;
}

int agent_verb(struct agent_clients *c, const struct gomalloc_request *q,
               struct gomalloc_reply *reply) {
    if (verb_changes(q) && !c->control) {
        agent_count(AGENT_REFUSED);
        agent_refuse(reply, GOMALLOC_FORBIDDEN, "the process was started with control=off");
        return -1;
    }
    switch (q->verb) {
    case GOMALLOC_VERB_PING:
        reply->value = prof_rate();
        return -1;
    case GOMALLOC_VERB_IMAGE:
        return verb_image(c, q->arg, 0, reply);
    case GOMALLOC_VERB_WHY:
        return verb_why(c, q->arg, reply);
    case GOMALLOC_VERB_RATE:
        reply->value = set_rate(c, q->arg);
        return -1;
    case GOMALLOC_VERB_SCAVENGE:
        scavenge(q->arg, reply);
        return -1;
    case GOMALLOC_VERB_START:
        set_rate(c, rate_to_start(c, q->arg));
        reply->value = prof_rate();
        return -1;
    default:
        agent_count(AGENT_BAD_REQUESTS);
        agent_refuse(reply, GOMALLOC_BAD_REQUEST, "unknown verb");
        return -1;
    }
}
