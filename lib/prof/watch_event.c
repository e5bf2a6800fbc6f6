/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A hardware watchpoint in the kernel.
 *
 * A write that hits it traps, and the kernel puts a record of eight bytes, a header and nothing
 * else, into the event's ring before the program goes on; so the ring's head, which the mapping
 * shows, is eight times the number of hits.  The mapping is read-only: then the kernel does not
 * wait for a reader, and the program can't write there.  After the number of hits that it was armed
 * for the event disables itself; that is why a spent watch, which looks like a silent one, must be
 * told from it by its count.
 *
 * A filter of system calls (seccomp) may kill who makes one that it does not know.  So with any
 * filter in force there are no watches; and as a thread may put one upon all the others at any
 * time, this is looked up before each event, in a file that was opened at the start: what is needed
 * for that is to be allowed to read.
 */
#include "prof/watch_event.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "sys/rawcall.h"

#define RING_BYTES   8192 /* a page that tells, and a page of records */
#define RECORD_BYTES 8    /* a header: sample_type is 0 */
#define TEST_HITS    2

static_assert(sizeof(struct perf_event_header) == RECORD_BYTES, "what a hit adds to the ring");

/* Of the library's own thread. */
static int status_fd = -1; /* /proc/thread-self/status */
static enum { UNTESTED, WORKS, REFUSED } tested;

void watch_event_start(void) {
    status_fd = (int)sys_call4(SYS_openat, AT_FDCWD, (long)"/proc/thread-self/status",
                               O_RDONLY | O_CLOEXEC, 0);
}

/* no_filter tells whether this thread is known to have no filter of system calls. */
static bool no_filter(void) {
    char text[4096];
    long n = status_fd < 0 ? -1 : sys_call4(SYS_pread64, status_fd, (long)text, sizeof text - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return memmem(text, (size_t)n, "\nSeccomp:\t0\n", 12) != NULL;
}

static int open_event(uint32_t tid, uint64_t addr) {
    struct perf_event_attr attr = {
        .type = PERF_TYPE_BREAKPOINT,
        .size = sizeof attr,
        .sample_period = 1,
        .disabled = 1,
        .exclude_kernel = 1,
        .exclude_hv = 1,
        .bp_type = HW_BREAKPOINT_W,
        .bp_addr = addr,
        .bp_len = HW_BREAKPOINT_LEN_8,
    };
    if (!no_filter())
        return -EPERM;
    return (int)sys_call6(SYS_perf_event_open, (long)&attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC, 0);
}

static bool in_process(uint32_t tid) {
    return sys_call3(SYS_tgkill, sys_call3(SYS_getpid, 0, 0, 0), tid, 0) == 0;
}

/* The number may be that of a thread of another process by now: it is looked at after the event
 * was opened, and the event is enabled only then. */
int watch_event_arm(uint32_t tid, uint64_t addr, uint32_t hits,
                    const volatile struct perf_event_mmap_page **ret) {
    if (!in_process(tid))
        return -ESRCH;
    int fd = open_event(tid, addr);
    if (fd < 0)
        return fd;
    int error = in_process(tid) ? 0 : -ESRCH;
    long ring = 0;
    if (error == 0) {
        ring = sys_call6(SYS_mmap, 0, RING_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        error = sys_is_error(ring) ? -ENOMEM : 0;
    }
    if (error == 0) {
        *ret = (const volatile struct perf_event_mmap_page *)ring;
        error = (int)sys_call3(SYS_ioctl, fd, PERF_EVENT_IOC_REFRESH, hits);
        if (error != 0)
            watch_event_close(*ret);
    }
    sys_call3(SYS_close, fd, 0, 0);
    return error;
}

void watch_event_close(const volatile struct perf_event_mmap_page *ring) {
    sys_call3(SYS_munmap, (long)ring, RING_BYTES, 0);
}

uint32_t watch_event_hits(const volatile struct perf_event_mmap_page *ring) {
    return (uint32_t)(ring->data_head / RECORD_BYTES);
}

/* try_one watches a word of this function's own, and writes to it. */
static gm_noinline bool try_one(void) {
    const volatile struct perf_event_mmap_page *ring;
    volatile uint64_t word __attribute__((aligned(8))) = 0;
    bool ok = true;
    if (watch_event_arm((uint32_t)sys_call3(SYS_gettid, 0, 0, 0), (uintptr_t)&word, TEST_HITS,
                        &ring) != 0)
        return false;
    for (uint32_t i = 0; i < TEST_HITS; i++) {
        ok &= watch_event_hits(ring) == i;
        word = i;
    }
    ok &= watch_event_hits(ring) == TEST_HITS;
    watch_event_close(ring);
    return ok;
}

bool watch_event_tested(void) {
    if (tested == UNTESTED)
        tested = try_one() ? WORKS : REFUSED;
    return tested == WORKS;
}
