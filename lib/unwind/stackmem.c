/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading stacks without faulting.
 */
#include "unwind/stackmem.h"

#include <errno.h>

#include "sys/rawcall.h"

#define PAGE  ((uint64_t)4096)
#define REACH (16 * PAGE) /* so far a range is extended page by page */

/* rt_sigprocmask reads the new set before it looks at the request, which is no valid one, so
 * nothing happens but EFAULT or EINVAL. */
bool stackmem_readable(uint64_t addr) {
    const long no_such_request = -1;
    const long set_bytes = 8;
    return sys_call4(SYS_rt_sigprocmask, no_such_request, (long)addr, 0, set_bytes) == -EINVAL;
}

/* all_readable tells whether all pages of [from, to) are. */
static bool all_readable(uint64_t from, uint64_t to) {
    while (from < to && stackmem_readable(from))
        from += PAGE;
    return from >= to;
}

void stackmem_here(struct stackmem *m, uint64_t sp) {
    m->lo2 = m->hi2 = 0;
    if (stackmem_is_here(m, sp))
        return;
    uint64_t page = sp & ~(PAGE - 1);
    if (page < m->lo && m->lo - page <= REACH && all_readable(page, m->lo)) {
        m->lo = page;
        return;
    }
    m->lo = page; /* another stack */
    m->hi = page + PAGE;
}

/* extend makes the range reach the page, if that is near and all between them is readable. */
static bool extend(uint64_t *lo, uint64_t *hi, uint64_t page) {
    if (page >= *hi && page - *hi < REACH && all_readable(*hi, page + PAGE)) {
        *hi = page + PAGE;
        return true;
    }
    if (page < *lo && *lo - page <= REACH && all_readable(page, *lo)) {
        *lo = page;
        return true;
    }
    return false;
}

bool stackmem_ask(struct stackmem *m, uint64_t addr) {
    uint64_t page = addr & ~(PAGE - 1);
    if (addr - m->lo2 < m->hi2 - m->lo2)
        return true;
    if (extend(&m->lo, &m->hi, page) || extend(&m->lo2, &m->hi2, page))
        return true;
    if (!stackmem_readable(page))
        return false;
    m->lo2 = page;
    m->hi2 = page + PAGE;
    return true;
}
