/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whether a stopped thread is outside of the library.
 */
#include "leak/outside.h"

#include <elf.h>
#include <sys/auxv.h>
#include <ucontext.h>

#include "heap/mconst.h"
#include "sys/rawcall.h"

#define MOST_STACK ((uintptr_t)16 << 20) /* looked at; who uses more counts as within */

/* The linker gives every object this name for its ELF header. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

void outside_init(struct outside *o) {
    const Elf64_Ehdr *ehdr = (const Elf64_Ehdr *)__ehdr_start;
    const Elf64_Phdr *ph = (const Elf64_Phdr *)(__ehdr_start + ehdr->e_phoff);
    uintptr_t first = UINTPTR_MAX, lo = UINTPTR_MAX, hi = 0;
    for (unsigned i = 0; i < ehdr->e_phnum; i++) {
        if (ph[i].p_type != PT_LOAD)
            continue;
        uintptr_t start = ph[i].p_vaddr, end = start + ph[i].p_memsz;
        first = start < first ? start : first;
        if ((ph[i].p_flags & PF_X) == 0)
            continue;
        lo = start < lo ? start : lo;
        hi = end > hi ? end : hi;
    }
    uintptr_t bias = (uintptr_t)__ehdr_start - (first & ~(uintptr_t)(PHYS_PAGE_SIZE - 1));
    o->text_lo = bias + lo;
    o->text_hi = bias + hi;
    o->main_stack = getauxval(AT_RANDOM); /* the kernel puts these bytes there */
    o->main_tid = (uint32_t)sys_call3(SYS_getpid, 0, 0, 0);
}

/* own_stack_end returns where the frames of a thread end that is on its own stack; 0: it is not.
 * libc's descriptor of a thread, to which its thread pointer leads, is at the far end of its stack;
 * of the first thread it is elsewhere. */
static uintptr_t own_stack_end(const struct outside *o, const struct stop_thread *t) {
    uintptr_t mark = t->tid == o->main_tid ? o->main_stack : t->tp;
    if (mark <= t->sp || mark >= t->stack_hi)
        return 0;
    return mark;
}

/* on_alternate tells whether a thread is on the alternate stack of signals, which may be part of
 * its own. */
static bool on_alternate(const struct stop_thread *t) {
    const stack_t *s = &((const ucontext_t *)t->regs_lo)->uc_stack;
    return s->ss_size != 0 && t->sp - (uintptr_t)s->ss_sp < s->ss_size;
}

bool outside_is(const struct outside *o, const struct stop_thread *t) {
    uintptr_t size = o->text_hi - o->text_lo;
    if (t->state != STOP_STOPPED || t->stack_hi == 0 || t->pc - o->text_lo < size)
        return false;
    uintptr_t end = own_stack_end(o, t);
    if (end == 0 || end - t->sp > MOST_STACK || on_alternate(t))
        return false;
    for (uintptr_t at = align_up(t->sp, sizeof at); at + sizeof at <= end; at += sizeof at)
        if (*(const volatile uintptr_t *)at - o->text_lo < size)
            return false;
    return true;
}
