/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Guard pages.
 *
 * A guard splits the mapping that it lies in: two mappings more, as two guards are never
 * neighbours. A process may have 65,530 (vm.max_map_count), and one that has used them up can't map
 * anything, so that the page heap could not grow: malloc would fail because of stacks.  Hence the
 * guards stop at 3/8 of the limit, 24,573, which is three quarters of the mappings.
 *
 * The accounting does not change: a guard belongs to a span in use and is Ready, like the page of
 * an object that was never written.  As it is given back to the kernel, it is not resident.
 */
#include "heap/mguard.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "sys/rawcall.h"

#define GUARDS_FOR(maps) ((maps) / 8 * 3)

static _Atomic int64_t nguards; /* one less for each that a thread lost in a fork was clearing */
static _Atomic int64_t most = GUARDS_FOR(65530); /* until it is met: then the kernel is asked */

static int64_t parse(const char *s, long n) {
    int64_t v = 0;
    for (long i = 0; i < n && s[i] >= '0' && s[i] <= '9'; i++)
        v = v * 10 + (s[i] - '0');
    return v;
}

static void ask_kernel(void) {
    char text[24];
    int fd = (int)sys_call3(SYS_open, (long)"/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    long n = sys_call3(SYS_read, fd, (long)text, sizeof text);
    sys_call3(SYS_close, fd, 0, 0);
    if (n > 0)
        atomic_store_explicit(&most, GUARDS_FOR(parse(text, n)), memory_order_relaxed);
}

static bool one_more(void) {
    int64_t n = atomic_fetch_add_explicit(&nguards, 1, memory_order_relaxed);
    if (n < atomic_load_explicit(&most, memory_order_relaxed))
        return true;
    ask_kernel();
    if (n < atomic_load_explicit(&most, memory_order_relaxed))
        return true;
    atomic_fetch_sub_explicit(&nguards, 1, memory_order_relaxed);
    return false;
}

bool mguard_set(uintptr_t base, size_t n) {
    if (!one_more())
        return false;
    if (sys_call3(SYS_mprotect, (long)base, (long)n, PROT_NONE) != 0) {
        atomic_fetch_sub_explicit(&nguards, 1, memory_order_relaxed);
        return false;
    }
    /* Refused if the program has locked its memory, and then they stay resident. */
    sys_call3(SYS_madvise, (long)base, (long)n, MADV_DONTNEED);
    return true;
}

bool mguard_clear(uintptr_t base, size_t n) {
    if (sys_call3(SYS_mprotect, (long)base, (long)n, PROT_READ | PROT_WRITE) != 0)
        return false;
    atomic_fetch_sub_explicit(&nguards, 1, memory_order_relaxed);
    return true;
}

uint64_t mguard_count(void) {
    int64_t n = atomic_load_explicit(&nguards, memory_order_relaxed);
    return n > 0 ? (uint64_t)n : 0;
}
