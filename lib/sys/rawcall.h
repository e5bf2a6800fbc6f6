/* SPDX-License-Identifier: BSD-3-Clause
 *
 * System calls that leave errno alone.
 *
 * malloc and free must not change errno, and libc's wrappers do.  These return the kernel's
 * answer: a result, or a negative errno.
 */
#ifndef GM_SYS_RAWCALL_H
#define GM_SYS_RAWCALL_H

#include <sys/syscall.h>

#include "sys/compiler.h"

#if !defined(__x86_64__)
#error "gomalloc is for x86-64 Linux"
#endif

static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}

static inline long sys_call4(long nr, long a, long b, long c, long d) {
    return sys_call6(nr, a, b, c, d, 0, 0);
}

static inline long sys_call3(long nr, long a, long b, long c) {
    return sys_call6(nr, a, b, c, 0, 0, 0);
}

/* An mmap result: errors are the last page of the address space. */
static inline bool sys_is_error(long r) {
    return (unsigned long)r > (unsigned long)-4096L;
}

#endif
