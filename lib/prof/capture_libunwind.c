/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Unwinding by libunwind's unw_backtrace: the only file that talks to libunwind.
 *
 * It is loaded by dlopen(RTLD_NOW | RTLD_LOCAL) and is never a DT_NEEDED: linked into a preloaded
 * library it would take over _Unwind_* in the whole process, and pthread_cancel would skip cleanup
 * handlers of plugins.
 *
 * What it does to a process (1.6.2, measured), and what is done about it:
 *
 *  - It opens a pipe and later reads, writes and closes those descriptor numbers, to find out
 *    whether an address can be read.  A program that closes all descriptors (daemons) would have
 *    its own files written to.  So the pipe is taken from it: its calls of pipe2, read and
 *    syscall/write are redirected (got.h) to functions below, which let it believe in a descriptor
 *    that does not exist and answer the question by a system call that needs none.  If the
 *    redirection can't be done, libunwind is not used.
 *  - It changes errno: saved and restored.
 *  - A cache of 260 KiB for each thread that captures, freed when the thread ends: disclosed by the
 *    counter recorder.unwinder_threads.
 *  - The first capture costs 0.2-0.8 ms, dlopen's share is more: done once at init.  The first of a
 *    thread costs 0.1 ms, and calls malloc once (thread-local storage): prof.c guards against that.
 *  - Misses of its cache take its mutexes and the loader's lock: never called with a lock of ours,
 *    and no more in the forked child of a process of several threads (prof.c).
 *  - Its cache is never invalidated: after dlclose() of a library, stacks through one loaded to the
 *    same addresses may be wrong.  Nothing can be done here; unw_flush_cache does not reach it.
 *  - A signal handler that allocates while its thread is in here is recorded without a stack.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gomalloc/image.h"
#include "prof/capture.h"
#include "unwind/got.h"
#include "unwind/own.h"
#include "prof/stack_table.h"
#include "unwind/stackmem.h"

#define LIBUNWIND "libunwind.so.8"
#define FAKE_FD   (-77) /* no descriptor, and not libunwind's own mark for "none", -1 */

static int (*backtrace_)(void **pcs, int max);

/* What libunwind is given instead of pipe2: both ends of nothing. */
static int no_pipe2(int fds[2], int flags) {
    (void)flags;
    fds[0] = fds[1] = FAKE_FD;
    return 0;
}

static int no_pipe(int fds[2]) {
    return no_pipe2(fds, 0);
}

/* Its read of the pipe: always empty. */
static ssize_t no_read(int fd, void *buf, size_t n) {
    if (fd != FAKE_FD)
        return read(fd, buf, n);
    errno = EAGAIN;
    return -1;
}

/* Its write of one byte at addr into the pipe: can addr be read?  Not across a page's end. */
static ssize_t probe(const void *addr) {
    bool readable = stackmem_readable((uintptr_t)addr & ~(uintptr_t)7);
    errno = readable ? 0 : EFAULT;
    return readable ? 1 : -1;
}

static ssize_t no_write(int fd, const void *buf, size_t n) {
    return fd == FAKE_FD ? probe(buf) : write(fd, buf, n);
}

/* libunwind 1.6 writes by syscall(SYS_write, ...). */
static long no_syscall(long nr, ...) {
    long a[6];
    va_list ap;
    va_start(ap, nr);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (nr == SYS_write && (int)a[0] == FAKE_FD)
        return probe((const void *)a[1]);
    return syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* take_pipe sees to it that libunwind never holds descriptors.  False: it might. */
static bool take_pipe(void *handle) {
    struct link_map *map;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
        return false;
    int pipe2s = got_replace(map, "pipe2", (void *)no_pipe2);
    if (pipe2s == 0)
        return got_replace(map, "pipe", (void *)no_pipe) == 0; /* a version that needs no pipe */
    int reads = got_replace(map, "read", (void *)no_read);
    int writes = got_replace(map, "write", (void *)no_write);
    int syscalls = got_replace(map, "syscall", (void *)no_syscall);
    return pipe2s > 0 && reads > 0 && writes >= 0 && syscalls >= 0 && writes + syscalls > 0;
}

static unsigned unwind(uint64_t *pcs, unsigned max) {
    int saved = errno;
    int n = backtrace_((void **)pcs, (int)max);
    errno = saved;
    return n > 0 ? (unsigned)n : 0;
}

/* warm lets it do its own initialisation now, where it can do no harm. */
static bool warm(void) {
    uint64_t pcs[64];
    unsigned n = 0;
    for (int i = 0; i < 3; i++)
        n = unwind(pcs, 64);
    return n > 1;
}

static bool libunwind_init(void) {
    static bool ok; /* it may be wanted as unwinder and to verify */
    int saved = errno;
    if (ok)
        return true;
    void *handle = dlopen(LIBUNWIND, RTLD_NOW | RTLD_LOCAL);
    if (handle != NULL) {
        *(void **)&backtrace_ = dlsym(handle, "unw_backtrace");
        ok = backtrace_ != NULL && take_pipe(handle) && warm();
    }
    errno = saved;
    return ok;
}

static bool libunwind_init_thread(struct capture_self *t) {
    (void)t; /* it sees to that itself */
    return true;
}

/* credible returns how many of the frames, from the innermost, are addresses that can exist in a
 * process: at another one libunwind has lost its way. */
static gm_noinline unsigned credible(const uint64_t *pcs, unsigned n) {
    unsigned i = 0;
    while (i < n && pcs[i] != 0 && pcs[i] >> STACK_PC_BITS == 0)
        i++;
    return i;
}

static void libunwind_capture(struct capture_self *t, uint64_t fp, struct capture_stack *ret) {
    uint64_t *buf = t->pcs;
    (void)fp; /* it finds its own */
    *ret = (struct capture_stack){.pcs = t->pcs};
    unsigned n = unwind(buf, capture_room());
    unsigned own = 0;
    while (own < n && own_code(buf[own]))
        own++;
    n -= own;
    buf += own;
    if (n > capture_depth()) {
        n = capture_depth();
        ret->flags = GOMALLOC_SITE_TRUNCATED;
    }
    uint64_t all = 0;
    for (unsigned i = 0; i < n; i++)
        all |= buf[i];
    if (gm_unlikely(all >> STACK_PC_BITS != 0 || (n != 0 && buf[n - 1] == 0))) {
        n = credible(buf, n);
        ret->flags = GOMALLOC_SITE_STOPPED;
    }
    ret->pcs = buf;
    ret->n = n;
}

const struct capture_backend capture_libunwind = {
    .name = "libunwind",
    .init = libunwind_init,
    .init_thread = libunwind_init_thread,
    .capture = libunwind_capture,
    .fork_safe = false,
    .at_thread_end = false,
};
