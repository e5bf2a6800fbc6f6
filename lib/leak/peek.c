/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory of this process that may not be there.
 *
 * Where a filter of system calls refuses process_vm_readv, it is read as a file: else a leak check
 * would read nothing, and call all that lives a leak.
 */
#include "leak/peek.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

#include "sys/file_id.h"
#include "sys/rawcall.h"

static long read_file(void *to, uintptr_t from, size_t n) {
    long fd =
        sys_call4(SYS_openat, AT_FDCWD, (long)"/proc/thread-self/mem", O_RDONLY | O_CLOEXEC, 0);
    struct file_id id = file_id_of((int)fd);
    if (fd < 0)
        return fd;
    long r = sys_call4(SYS_pread64, fd, (long)to, (long)n, (long)from);
    raw_close_own((int)fd, id);
    return r;
}

size_t peek(void *to, uintptr_t from, size_t n) {
    struct iovec local = {to, n};
    struct iovec remote = {(void *)from, n};
    long pid = sys_call3(SYS_getpid, 0, 0, 0);
    long r = sys_call6(SYS_process_vm_readv, pid, (long)&local, 1, (long)&remote, 1, 0);
    if (r == -EPERM || r == -ENOSYS)
        r = read_file(to, from, n);
    return r > 0 ? (size_t)r : 0;
}
