/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A leak check by the library's agent, asked for by the process itself; or by LeakSanitizer.
 */
#include "pause.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "gomalloc/agent.h"
#include "gomalloc/image.h"

#ifdef PAUSE_LSAN
#include <sanitizer/lsan_interface.h>

bool pause_check(struct pause_said *ret) {
    *ret = (struct pause_said){0};
    return __lsan_do_recoverable_leak_check() == 0;
}
#else

static bool fail(const char *what) {
    perror(what);
    return false;
}

/* Asks on the connection; returns the image's descriptor, -1: none. */
static int ask(int to) {
    const struct gomalloc_request q = {.magic = GOMALLOC_AGENT_MAGIC,
                                       .version = GOMALLOC_AGENT_VERSION,
                                       .size = sizeof q,
                                       .verb = GOMALLOC_VERB_IMAGE,
                                       .arg = UINT64_C(1) << GOMALLOC_SECTION_LEAK |
                                              UINT64_C(1) << GOMALLOC_SECTION_LEAK_CHECK};
    struct gomalloc_reply r = {0};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {&r, sizeof r};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof control.bytes};
    int fd = -1;
    if (send(to, &q, sizeof q, 0) != sizeof q || recvmsg(to, &msg, MSG_WAITALL) != sizeof r)
        return fail("pause: agent") - 1;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c == NULL)
        fprintf(stderr, "pause: the agent refuses: %s\n", r.message);
    else
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

static bool read_image(const char *image, struct pause_said *ret) {
    const struct gomalloc_image *h = (const void *)image;
    const struct gomalloc_section *dir = (const void *)(h + 1);
    struct gomalloc_leak_check check;
    for (uint32_t i = 0; i < h->nsections; i++) {
        if (strcmp(dir[i].name, "leak_check") != 0 || dir[i].count != 1)
            continue;
        memcpy(&check, image + dir[i].offset, sizeof check);
        *ret = (struct pause_said){.longest = check.longest_ns,
                                   .stopping = check.stopping_ns,
                                   .copying = check.copying_ns,
                                   .mark = check.mark_ns,
                                   .group = check.group_ns,
                                   .lost = check.live_objects - check.reached_objects};
        return true;
    }
    fprintf(stderr, "pause: the image holds no leak check\n");
    return false;
}

static bool read_fd(int fd, struct pause_said *ret) {
    struct stat st;
    if (fd < 0)
        return false;
    if (fstat(fd, &st) != 0)
        return fail("pause: image");
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p == MAP_FAILED)
        return fail("pause: image");
    bool ok = read_image(p, ret);
    munmap(p, (size_t)st.st_size);
    return ok;
}

bool pause_check(struct pause_said *ret) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *dir = getenv("GOMALLOC_DIR");
    snprintf(a.sun_path, sizeof a.sun_path, "%s/%d.sock", dir != NULL ? dir : ".", (int)getpid());
    if (fd < 0 || connect(fd, (const struct sockaddr *)&a, sizeof a) != 0)
        return fail(a.sun_path);
    bool ok = read_fd(ask(fd), ret);
    close(fd);
    return ok;
}
#endif
