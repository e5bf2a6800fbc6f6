/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What stopped threads write to first, got out of the way of their going on.
 *
 * By madvise and not by a write: what a stack pointer points to need not be there.
 */
#include "leak/unshare.h"

#include <sys/mman.h>

#include "heap/mcache.h"
#include "leak/stop.h"
#include "sys/rawcall.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define HANDLER_FRAME 128 /* below what the kernel has saved: what the handler writes to */

static uintptr_t page_of(uintptr_t p) {
    return p & ~((uintptr_t)PHYS_PAGE_SIZE - 1);
}

static void unshare(uintptr_t page, size_t npages) {
    sys_call3(SYS_madvise, (long)page, (long)(npages * PHYS_PAGE_SIZE), MADV_POPULATE_WRITE);
}

/* unshare_thread takes what the handler returns on, and to.  In a thread that has not got deep into
 * its stack the thread pointer is on the page behind. */
static void unshare_thread(const struct stop_thread *t) {
    uintptr_t frame = page_of(t->regs_lo - HANDLER_FRAME);
    uintptr_t sp = page_of(t->sp), tp = page_of(t->tp);
    bool adjacent = tp == frame + PHYS_PAGE_SIZE;
    unshare(frame, adjacent ? 2 : 1);
    if (!adjacent && tp != frame)
        unshare(tp, 1);
    if (sp != frame && sp != tp)
        unshare(sp, 1);
}

/* unshare_mcache takes what each malloc writes to, and the hints of the smallest class that has
 * some. */
static void unshare_mcache(const struct mcache *c) {
    unshare(page_of((uintptr_t)c), 1);
    for (unsigned i = 0; i < NUM_SPAN_CLASSES; i++)
        if (c->alloc[i].sp != c->alloc[i].bottom) {
            unshare(page_of((uintptr_t)c->alloc[i].sp), 1);
            return;
        }
}

static void unshare_one(uint32_t i, uint32_t nthreads) {
    if (i >= nthreads) {
        const struct mcache *c = mcaches.all[i - nthreads];
        if (c != NULL && c->attached)
            unshare_mcache(c);
        return;
    }
    struct stop_thread t = stop_thread(i);
    if (t.state == STOP_STOPPED)
        unshare_thread(&t);
}

void unshare_pages(_Atomic uint32_t *next) {
    uint32_t nthreads = stop_nthreads(), nmcaches = atomic_load(&mcaches.n), i;
    if (nthreads > UNSHARE_MAX)
        nthreads = UNSHARE_MAX;
    if (nmcaches > UNSHARE_MAX)
        nmcaches = UNSHARE_MAX;
    while ((i = atomic_fetch_add_explicit(next, 1, memory_order_relaxed)) < nthreads + nmcaches)
        unshare_one(i, nthreads);
}
