/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads that say where they are after the others have gone on.
 */
#include "leak/stop_late.h"

#include <linux/futex.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "leak/stop_signal.h"
#include "sys/rawcall.h"

#define STEP_NS 100000000 /* a moment, after which it is looked who has ended */

void stop_late_clear(struct stop_late *l) {
    if (atomic_exchange_explicit(&l->nthere, 0, memory_order_relaxed) == 0)
        return;
    for (unsigned i = 0; i < STOP_LATE_MAX; i++)
        atomic_store_explicit(&l->slots[i].there, 0, memory_order_relaxed);
}

/* The vector registers lie behind the others, and are found by an address, which is moved along. */
void stop_late_arrive(struct stop_late *l, uint32_t slot, const struct stop_thread *t) {
    struct stop_late_slot *s = &l->slots[slot];
    size_t n = t->regs_hi - t->regs_lo;
    s->sp = t->sp;
    s->pc = t->pc;
    s->tp = t->tp;
    s->regs_bytes = (uint32_t)(n < sizeof s->regs ? n : sizeof s->regs);
    memcpy(s->regs, (const void *)t->regs_lo, s->regs_bytes);
    ucontext_t *uc = (ucontext_t *)(void *)s->regs;
    if (uc->uc_mcontext.fpregs != NULL)
        uc->uc_mcontext.fpregs =
            (fpregset_t)(s->regs + ((uintptr_t)uc->uc_mcontext.fpregs - t->regs_lo));
    atomic_store_explicit(&s->there, 1, memory_order_release);
    atomic_fetch_add_explicit(&l->nthere, 1, memory_order_release);
    sys_call3(SYS_futex, (long)&l->nthere, FUTEX_WAKE, INT32_MAX);
}

bool stop_late_get(const struct stop_late *l, uint32_t slot, struct stop_thread *ret) {
    const struct stop_late_slot *s = &l->slots[slot];
    if (atomic_load_explicit(&s->there, memory_order_acquire) == 0)
        return false;
    ret->sp = s->sp;
    ret->pc = s->pc;
    ret->tp = s->tp;
    ret->regs_lo = (uintptr_t)s->regs;
    ret->regs_hi = ret->regs_lo + s->regs_bytes;
    return true;
}

void stop_late_wait(struct stop_late *l, uint32_t n) {
    const struct timespec step = {.tv_nsec = STEP_NS};
    sys_call4(SYS_futex, (long)&l->nthere, FUTEX_WAIT, n, (long)&step);
}
