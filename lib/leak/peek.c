/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory of this process that may not be there.
 */
#include "leak/peek.h"

#include <sys/uio.h>

#include "sys/rawcall.h"

size_t peek(void *to, uintptr_t from, size_t n) {
    struct iovec local = {to, n};
    struct iovec remote = {(void *)from, n};
    long pid = sys_call3(SYS_getpid, 0, 0, 0);
    long r = sys_call6(SYS_process_vm_readv, pid, (long)&local, 1, (long)&remote, 1, 0);
    return r > 0 ? (size_t)r : 0;
}
