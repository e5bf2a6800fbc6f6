/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which registers of a stopped thread count.
 */
#include "leak/registers.h"

#include <string.h>
#include <ucontext.h>

#include "unwind/cfi.h"
#include "unwind/own.h"

static struct {
    uint64_t start; /* libc's code; 0, 0: not known */
    uint64_t end;
} libc;

void registers_know(uint64_t pc) {
    struct cfi_object o;
    if (cfi_object_of(pc, &o) && !own_code(pc)) {
        libc.start = o.start;
        libc.end = o.end;
    }
}

/* waits_in_libc tells whether the thread is about to make a system call in libc's code, or has just
 * come out of one: a call that is made anew after a signal is both. */
static bool waits_in_libc(uint64_t pc) {
    static const unsigned char insn[2] = {0x0f, 0x05};
    return pc >= libc.start + 2 && pc + 2 <= libc.end &&
           (memcmp((const void *)(pc - 2), insn, 2) == 0 || memcmp((const void *)pc, insn, 2) == 0);
}

uint64_t registers_end(const struct stop_thread *t) {
    const ucontext_t *uc = (const ucontext_t *)t->regs_lo;
    if (t->regs_lo == 0 || !waits_in_libc(t->pc))
        return t->regs_hi;
    return (uintptr_t)&uc->uc_mcontext.gregs[NGREG];
}
