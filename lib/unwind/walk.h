/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The full walk: from frame to frame with all registers, each step computed from the unwind
 * information as it stands, nothing remembered.
 *
 * It is the truth that verified replay (replay.h) is held against, and what replay falls back on at
 * frames that are beyond it.  0.3 us a frame.
 */
#ifndef GM_UNWIND_WALK_H
#define GM_UNWIND_WALK_H

#include "unwind/cfi.h"
#include "unwind/stackmem.h"

enum walk_step {
    WALK_ON,
    WALK_END, /* this was the outermost frame */
    WALK_LOST /* no or wrong unwind information, or unreadable memory */
};

struct walk {
    uint64_t regs[CFI_NREGS]; /* of the frame: rip is its return address, rsp what it returns to */
    uint32_t known;           /* bit r: regs[r] is known */
    bool interrupted;         /* the frame was left by a signal: rip has not been executed */
    struct stackmem *memory;
};

/* walk_here begins in the calling function.  Only registers that calls preserve are known. */
static inline __attribute__((always_inline)) void walk_here(struct walk *w, struct stackmem *m) {
    uint64_t *r = w->regs;
    __asm__ volatile("leaq 0(%%rip), %%rax\n\t"
                     "movq %%rax, 128(%0)\n\t"
                     "movq %%rbx, 24(%0)\n\t"
                     "movq %%rbp, 48(%0)\n\t"
                     "movq %%rsp, 56(%0)\n\t"
                     "movq %%r12, 96(%0)\n\t"
                     "movq %%r13, 104(%0)\n\t"
                     "movq %%r14, 112(%0)\n\t"
                     "movq %%r15, 120(%0)\n\t"
                     :
                     : "D"(r)
                     : "rax", "memory");
    w->known = 1u << CFI_RIP | 1u << CFI_RBX | 1u << CFI_RBP | 1u << CFI_RSP | 0xfu << CFI_R12;
    w->interrupted = true; /* rip is an instruction of this function, not one behind a call */
    w->memory = m;
}

/* walk_out goes to the caller's frame.  On WALK_END and WALK_LOST it stays where it is. */
enum walk_step walk_out(struct walk *w);

/* walk_collect walks from here to the end; stores the return addresses of up to max frames and
 * returns how many there were stored.  *ret_lost: the end was not found. */
unsigned walk_collect(struct walk *w, uint64_t *pcs, unsigned max, bool *ret_lost);

/* walk_lookup_pc returns the address whose row describes a frame: that of the call, not of what
 * comes after it, which may be another function. */
gm_inline uint64_t walk_lookup_pc(uint64_t ra, bool interrupted) {
    return interrupted ? ra : ra - 1;
}

#define WALK_LEAST_PC 0x4000 /* no code below; 0 is how a stack ends where CFI does not say so */

#endif
