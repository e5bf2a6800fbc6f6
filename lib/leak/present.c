/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which pages are there.
 */
#include "leak/present.h"

#include <fcntl.h>

#include "sys/rawcall.h"

#define PAGE_SHIFT 12
#define PAGE       ((uintptr_t)1 << PAGE_SHIFT)
#define SWAPPED    ((uint64_t)1 << 62) /* linux/Documentation/admin-guide/mm/pagemap.rst */
#define PRESENT    ((uint64_t)1 << 63)
#define OF_FILE    ((uint64_t)1 << 61) /* or of shared memory */

void present_open(struct present *p) {
    p->start = p->end = 0;
    p->changed = false;
    p->fd =
        (int)sys_call4(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
}

void present_close(struct present *p) {
    if (p->fd >= 0)
        sys_call3(SYS_close, p->fd, 0, 0);
    p->fd = -1;
}

/* ask has the entries tell of the page at addr and those behind it.  False: the kernel is silent.
 */
static bool ask(struct present *p, uintptr_t addr) {
    if (addr >= p->start && addr < p->end)
        return true;
    if (p->fd < 0)
        return false;
    uintptr_t start = addr & ~(PAGE - 1);
    long n = sys_call4(SYS_pread64, p->fd, (long)p->entries, sizeof p->entries,
                       (long)(start >> PAGE_SHIFT << 3));
    if (n < (long)sizeof p->entries[0])
        return false;
    p->start = start;
    p->end = start + ((uintptr_t)n / sizeof p->entries[0] << PAGE_SHIFT);
    return true;
}

static bool is_there(const struct present *p, uintptr_t addr) {
    uint64_t entry = p->entries[(addr - p->start) >> PAGE_SHIFT];
    return (entry & (PRESENT | SWAPPED)) != 0 && !(p->changed && (entry & OF_FILE) != 0);
}

static uintptr_t next_page(uintptr_t addr) {
    return (addr & ~(PAGE - 1)) + PAGE;
}

bool present_next(struct present *p, uintptr_t *from, uintptr_t end, uintptr_t *ret_to) {
    uintptr_t a = *from;
    while (a < end && ask(p, a) && !is_there(p, a))
        a = next_page(a);
    if (a >= end)
        return false;
    *from = a;
    if (!ask(p, a)) {
        *ret_to = end;
        return !p->changed;
    }
    while (a < end && a < p->end && is_there(p, a))
        a = next_page(a);
    *ret_to = a < end ? a : end;
    return true;
}
