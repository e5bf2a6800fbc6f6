/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which pages are there.
 */
#include "leak/present.h"

#include <fcntl.h>

#include "sys/pagemap.h"
#include "sys/rawcall.h"

#define PAGE ((uintptr_t)1 << PAGEMAP_SHIFT)

/* linux/fs.h of Linux 6.7; all numbers are 64 bits wide. */
#define PAGEMAP_SCAN 0xc0606610
struct scan_arg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define SCAN_FILE    ((uint64_t)1 << 2)
#define SCAN_PRESENT ((uint64_t)1 << 3)
#define SCAN_SWAPPED ((uint64_t)1 << 4)

void present_open(struct present *p) {
    p->start = p->end = 0;
    p->by_page = false;
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
    size_t n = pagemap_read(p->fd, start, p->entries, sizeof p->entries / sizeof p->entries[0]);
    if (n == 0)
        return false;
    p->start = start;
    p->end = start + ((uintptr_t)n << PAGEMAP_SHIFT);
    return true;
}

static bool is_there(const struct present *p, uintptr_t addr) {
    uint64_t entry = p->entries[(addr - p->start) >> PAGEMAP_SHIFT];
    return (entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED)) != 0 &&
           !(p->changed && (entry & PAGEMAP_OF_FILE) != 0);
}

static uintptr_t next_page(uintptr_t addr) {
    return (addr & ~(PAGE - 1)) + PAGE;
}

static bool next_by_page(struct present *p, uintptr_t *from, uintptr_t end, uintptr_t *ret_to) {
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

/* scan has the runs tell of the pages from addr on, to `end` or as far as they suffice.  False:
 * this kernel does not know how. */
static bool scan(struct present *p, uintptr_t addr, uintptr_t end) {
    uint64_t of_file = p->changed ? SCAN_FILE : 0;
    struct scan_arg arg = {.size = sizeof arg,
                           .start = addr & ~(PAGE - 1),
                           .end = next_page(end - 1),
                           .vec = (uintptr_t)p->runs,
                           .vec_len = PRESENT_RUNS,
                           .category_inverted = of_file,
                           .category_mask = of_file,
                           .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
                           .return_mask = SCAN_PRESENT | SCAN_SWAPPED};
    long n = p->fd < 0 ? -1 : sys_call3(SYS_ioctl, p->fd, PAGEMAP_SCAN, (long)&arg);
    if (n < 0 || arg.walk_end <= addr)
        return false;
    p->start = addr;
    p->end = arg.walk_end;
    p->nruns = (uint64_t)n;
    p->of_changed = p->changed;
    return true;
}

/* next_run looks for the run in what is known. */
static bool next_run(const struct present *p, uintptr_t *from, uintptr_t end, uintptr_t *ret_to) {
    for (uint64_t i = 0; i < p->nruns; i++) {
        const struct present_run *r = &p->runs[i];
        if (r->end <= *from || r->start >= end)
            continue;
        *from = r->start > *from ? r->start : *from;
        *ret_to = r->end < end ? r->end : end;
        return true;
    }
    return false;
}

bool present_next(struct present *p, uintptr_t *from, uintptr_t end, uintptr_t *ret_to) {
    while (!p->by_page && *from < end) {
        bool known = *from >= p->start && *from < p->end && p->of_changed == p->changed;
        if (!known && !scan(p, *from, end)) {
            p->by_page = true;
            p->start = p->end = 0;
        } else if (next_run(p, from, end, ret_to)) {
            return true;
        } else {
            *from = p->end;
        }
    }
    return p->by_page && next_by_page(p, from, end, ret_to);
}
