/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading stacks without faulting.
 *
 * What the walk of a stack reads is mapped as long as the unwind information is right: the program
 * is going to pop it.  Where it is not right, the address may be anything.  Asking the kernel costs
 * 100 ns, so pages that have been found readable are remembered as two ranges: that of the stack
 * the thread is on, as long as it is, and, for one capture, one more (what a signal on a stack of
 * its own interrupted, or where wrong unwind information led).  The end of a stack is found by
 * asking, once: no thread attributes, which are had from /proc by way of stdio, and no limits,
 * which the program may change.
 *
 * A stack is not unmapped behind our back while the thread runs on it; anything else may be.
 */
#ifndef GM_UNWIND_STACKMEM_H
#define GM_UNWIND_STACKMEM_H

#include "sys/compiler.h"

struct stackmem {
    uint64_t lo; /* readable: [lo, hi), whole pages; the stack in use */
    uint64_t hi;
    uint64_t lo2; /* another such range, found since stackmem_here */
    uint64_t hi2;
};

/* stackmem_readable asks the kernel whether the aligned word at addr can be read. */
bool stackmem_readable(uint64_t addr);

/* stackmem_here begins a capture: makes the range one that holds sp, the stack pointer, and forgets
 * the other. */
void stackmem_here(struct stackmem *m, uint64_t sp);

/* stackmem_is_here tells whether the range holds sp already. */
gm_inline bool stackmem_is_here(const struct stackmem *m, uint64_t sp) {
    return sp - m->lo < m->hi - m->lo;
}

/* stackmem_ask finds out about an aligned word outside of the ranges, and enlarges one. */
bool stackmem_ask(struct stackmem *m, uint64_t addr);

/* stackmem_word reads a word, uninstrumented: what lies between others' variables is read too.  It
 * is of a frame outside of the one that reads. */
gm_inline uint64_t stackmem_word(uint64_t addr) {
    uint64_t v;
    __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(addr));
    return v;
}

/* stackmem_is tells whether the word at base + offset, which is a constant, is v. */
gm_inline bool stackmem_is(uint64_t base, int offset, uint64_t v) {
    bool same;
    __asm__ volatile("cmpq %2, %c3(%1)"
                     : "=@cce"(same)
                     : "r"(base), "r"(v), "i"(offset)
                     : "memory");
    return same;
}

/* stackmem_load reads an aligned word.  False: it can't be read. */
gm_inline bool stackmem_load(struct stackmem *m, uint64_t addr, uint64_t *ret) {
    if (gm_unlikely((addr & 7) != 0))
        return false;
    if (gm_unlikely(addr - m->lo >= m->hi - m->lo) && !stackmem_ask(m, addr))
        return false;
    *ret = stackmem_word(addr);
    return true;
}

#endif
