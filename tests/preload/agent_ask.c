/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A client of the agent for tests, good and bad:
 *
 *   agent_ask SOCKET VERB [ARG [FILE]]  one request; prints "STATUS VALUE MESSAGE" (statuses by
 *                                       number); the image goes to FILE
 *   agent_ask SOCKET wait               waits until the agent answers, a minute at most
 *   agent_ask SOCKET stops PID FIFO FILE  writes a line to FIFO; then asks it to stop its threads,
 *                                       again and again, until the process is gone; connects anew
 *                                       where it must; makes FILE when first answered; "N answered"
 *   agent_ask SOCKET many N             N connections at once, each asked in turn; "N answered"
 *   agent_ask SOCKET raw HEX            these bytes; prints the reply's status, or "closed"
 *   agent_ask SOCKET random N           N connections with random bytes, then a good one
 *   agent_ask SOCKET slow               half a request; prints "dropped" when the agent hangs up
 *   agent_ask SOCKET halves N           N connections with half a request each, then a good one;
 *                                       prints "answered" if that is before half of them are
 *                                       dropped, in one of ten attempts
 *   agent_ask SOCKET silent N           N connections that say nothing, then a good request
 *   agent_ask SOCKET deaf               asks until its replies no longer fit; prints "dropped"
 */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "check.h"
#include "gomalloc/agent.h"

#define PATIENCE_MS 60000

static int try_connect(const char *path) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    CHECK(strlen(path) < sizeof a.sun_path);
    strcpy(a.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static int connect_to(const char *path) {
    int fd = try_connect(path);
    if (fd < 0) {
        printf("no connection: %s\n", strerror(errno));
        exit(3);
    }
    return fd;
}

static struct gomalloc_request request(uint32_t verb, uint64_t arg) {
    return (struct gomalloc_request){.magic = GOMALLOC_AGENT_MAGIC,
                                     .version = GOMALLOC_AGENT_VERSION,
                                     .size = sizeof(struct gomalloc_request),
                                     .verb = verb,
                                     .arg = arg};
}

/* receive_reply returns false if the agent hung up; *ret_fd is -1 if no descriptor came. */
static bool receive_reply(int fd, struct gomalloc_reply *reply, int *ret_fd) {
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec iov = {reply, sizeof *reply};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    *ret_fd = -1;
    CHECK(poll(&p, 1, PATIENCE_MS) == 1);
    ssize_t n = recvmsg(fd, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return false;
    CHECK(n == sizeof *reply && reply->magic == GOMALLOC_AGENT_MAGIC &&
          reply->version == GOMALLOC_AGENT_VERSION && reply->size == sizeof *reply);
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c != NULL)
        memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
    return true;
}

static bool answers(int fd) {
    struct gomalloc_request q = request(GOMALLOC_VERB_PING, 0);
    struct gomalloc_reply reply;
    int none;
    return send(fd, &q, sizeof q, MSG_NOSIGNAL) == sizeof q && receive_reply(fd, &reply, &none) &&
           reply.status == GOMALLOC_OK && none == -1;
}

/* save copies an image that must be sealed against everything that could fool its reader. */
static void save(int fd, const char *file) {
    struct stat st;
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    CHECK((fcntl(fd, F_GET_SEALS) & seals) == seals);
    CHECK(fstat(fd, &st) == 0);
    char *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(p != MAP_FAILED);
    int to = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(to >= 0 && write(to, p, (size_t)st.st_size) == st.st_size);
    close(to);
}

static int ask(const char *path, uint32_t verb, uint64_t arg, const char *file) {
    struct gomalloc_request q = request(verb, arg);
    struct gomalloc_reply reply;
    int image, fd = connect_to(path);
    (void)!send(fd, &q, sizeof q, MSG_NOSIGNAL); /* who may not ask is answered unasked */
    if (!receive_reply(fd, &reply, &image)) {
        puts("closed");
        return 1;
    }
    printf("%u %llu %s\n", reply.status, (unsigned long long)reply.value, reply.message);
    CHECK((image >= 0) == (verb == GOMALLOC_VERB_IMAGE && reply.status == GOMALLOC_OK));
    if (image >= 0)
        save(image, file);
    return reply.status != GOMALLOC_OK;
}

static int wait_for(const char *path) {
    for (int i = 0; i < PATIENCE_MS / 20; i++) {
        int fd = try_connect(path);
        if (fd >= 0 && answers(fd))
            return 0;
        if (fd >= 0)
            close(fd);
        usleep(20000);
    }
    puts("no answer");
    return 1;
}

static int stops(const char *path, pid_t pid, const char *fifo, const char *file) {
    struct gomalloc_request q = request(GOMALLOC_VERB_SCAVENGE, GOMALLOC_SCAVENGE_THREADS);
    struct gomalloc_reply reply;
    int image, answered = 0;
    int go = open(fifo, O_WRONLY | O_CLOEXEC);
    CHECK(go >= 0 && write(go, "\n", 1) == 1 && close(go) == 0);
    while (kill(pid, 0) == 0) {
        int fd = try_connect(path);
        if (fd < 0) {
            usleep(200);
            continue;
        }
        while (send(fd, &q, sizeof q, MSG_NOSIGNAL) == sizeof q &&
               receive_reply(fd, &reply, &image))
            if (answered++ == 0)
                CHECK(close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) == 0);
        close(fd);
    }
    printf("%d answered\n", answered);
    return answered == 0;
}

static int many(const char *path, int n) {
    int *fd = calloc((size_t)n, sizeof *fd), answered = 0;
    CHECK(fd != NULL);
    for (int i = 0; i < n; i++)
        fd[i] = connect_to(path);
    for (int i = 0; i < n; i++) {
        answered += answers(fd[i]);
        close(fd[i]);
    }
    printf("%d answered\n", answered);
    free(fd);
    return answered != n;
}

static int raw(const char *path, const char *hex) {
    unsigned char bytes[256];
    size_t n = strlen(hex) / 2;
    struct gomalloc_reply reply;
    int none, fd = connect_to(path);
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    CHECK(send(fd, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
    if (!receive_reply(fd, &reply, &none)) {
        puts("closed");
        return 0;
    }
    printf("%u\n", reply.status);
    return receive_reply(fd, &reply, &none); /* and then it hangs up */
}

static int send_random(const char *path, int n) {
    uint32_t seed = 12345;
    for (int i = 0; i < n; i++) {
        unsigned char bytes[512];
        size_t len = random_next(&seed) % sizeof bytes;
        for (size_t k = 0; k < len; k++)
            bytes[k] = (unsigned char)random_next(&seed);
        if (i % 3 == 0 && len >= sizeof(struct gomalloc_request)) {
            struct gomalloc_request q = request(random_next(&seed) % 16 + 100, 0);
            memcpy(bytes, &q, sizeof q);
        }
        int fd = connect_to(path);
        (void)!send(fd, bytes, len, MSG_NOSIGNAL);
        close(fd);
    }
    int fd = connect_to(path);
    puts(answers(fd) ? "answers" : "is dead");
    return 0;
}

static int hang_up(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char byte;
    puts(poll(&p, 1, PATIENCE_MS) == 1 && recv(fd, &byte, 1, 0) <= 0 ? "dropped" : "still there");
    return 0;
}

static int slow(const char *path) {
    struct gomalloc_request q = request(GOMALLOC_VERB_PING, 0);
    int fd = connect_to(path);
    CHECK(send(fd, &q, sizeof q / 2, MSG_NOSIGNAL) == sizeof q / 2);
    return hang_up(fd);
}

static int silent(const char *path, int n) {
    for (int i = 0; i < n; i++)
        connect_to(path);
    int fd = connect_to(path);
    puts(answers(fd) ? "answers" : "is dead");
    return 0;
}

/* ask_beside tells whether a request is answered while most of n halves are still waited for. */
static bool ask_beside(const char *path, int n) {
    struct gomalloc_request q = request(GOMALLOC_VERB_PING, 0);
    int fds[1000], there = 0;
    char c;
    for (int i = 0; i < n; i++) {
        fds[i] = connect_to(path);
        CHECK(send(fds[i], &q, sizeof q / 2, MSG_NOSIGNAL) == (ssize_t)sizeof q / 2);
    }
    int fd = connect_to(path);
    CHECK(answers(fd));
    close(fd);
    for (int i = 0; i < n; i++) {
        there += recv(fds[i], &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
        close(fds[i]);
    }
    return there > n / 2;
}

static int halves(const char *path, int n) {
    CHECK(n <= 1000);
    for (int i = 0; i < 10; i++)
        if (ask_beside(path, n)) {
            puts("answered");
            return 0;
        }
    puts("behind them");
    return 0;
}

static int deaf(const char *path) {
    struct gomalloc_request q = request(GOMALLOC_VERB_PING, 0);
    int fd = connect_to(path);
    for (int i = 0; i < 1000000; i++)
        if (send(fd, &q, sizeof q, MSG_NOSIGNAL) < 0) {
            puts("dropped");
            return 0;
        }
    puts("still there");
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(argc >= 3);
    const char *path = argv[1], *verb = argv[2], *arg = argc > 3 ? argv[3] : "0";
    if (strcmp(verb, "wait") == 0)
        return wait_for(path);
    if (strcmp(verb, "stops") == 0)
        return stops(path, atoi(arg), argc > 4 ? argv[4] : "", argc > 5 ? argv[5] : "");
    if (strcmp(verb, "many") == 0)
        return many(path, atoi(arg));
    if (strcmp(verb, "raw") == 0)
        return raw(path, arg);
    if (strcmp(verb, "random") == 0)
        return send_random(path, atoi(arg));
    if (strcmp(verb, "slow") == 0)
        return slow(path);
    if (strcmp(verb, "halves") == 0)
        return halves(path, atoi(arg));
    if (strcmp(verb, "silent") == 0)
        return silent(path, atoi(arg));
    if (strcmp(verb, "deaf") == 0)
        return deaf(path);
    return ask(path, (uint32_t)atoi(verb), strtoull(arg, NULL, 10), argc > 4 ? argv[4] : "");
}
