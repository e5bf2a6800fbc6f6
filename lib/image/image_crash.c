/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Section "crash".
 *
 * The stack becomes one of the recorder's, in the copy of the process that writes the image: so
 * whoever reads the image finds it among the frames, with the names that these have.  Innermost is
 * the instruction that was interrupted; as frames are return addresses, which readers take one off
 * of, it counts as the one behind.
 */
#include "image/image_crash.h"

#include <string.h>
#include <ucontext.h>

#include "image/image_private.h"
#include "image/image_write.h"
#include "prof/prof.h"
#include "unwind/cfi.h"
#include "unwind/own.h"

#define FRAMES 256 /* innermost ones that are kept */

static bool can_walk;

void image_crash_init(void) {
    can_walk = cfi_init();
}

static void set_thread(struct image_crash *c) {
    char text[32];
    c->tid = (uint32_t)sys_call3(SYS_gettid, 0, 0, 0);
    long n = raw_read_file("/proc/thread-self/comm", text, sizeof text);
    for (long i = 0; i < n && i < 15 && text[i] != '\n'; i++)
        c->comm[i] = text[i];
}

void image_crash_of_signal(struct image_crash *c, int sig, const siginfo_t *info,
                           const void *context) {
    static const uint8_t dwarf[CFI_NREGS] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                             REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                             REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    const ucontext_t *uc = context;
    bool fault = info->si_code > 0 && sig != SIGABRT;
    memset(c, 0, sizeof *c);
    c->signal = sig;
    c->code = info->si_code;
    c->address = fault ? (uintptr_t)info->si_addr : 0;
    c->sender = info->si_code <= 0 ? info->si_pid : 0;
    for (unsigned r = 0; r < CFI_NREGS; r++)
        c->walk.regs[r] = (uint64_t)uc->uc_mcontext.gregs[dwarf[r]];
    c->walk.known = (1u << CFI_NREGS) - 1;
    c->walk.interrupted = true;
    c->pc = c->walk.regs[CFI_RIP];
    c->sp = c->walk.regs[CFI_RSP];
    set_thread(c);
}

gm_noinline void image_crash_here(struct image_crash *c, int sig) {
    memset(c, 0, sizeof *c);
    c->signal = sig;
    c->code = SI_TKILL;
    c->sender = raw_getpid();
    walk_here(&c->walk, NULL);
    c->pc = c->walk.regs[CFI_RIP];
    c->sp = c->walk.regs[CFI_RSP];
    set_thread(c);
}

/* step_back is for a call to where there is no code: the return address is on top of the stack. */
static bool step_back(struct walk *w) {
    uint64_t ra;
    if (!stackmem_load(w->memory, w->regs[CFI_RSP], &ra) || ra < WALK_LEAST_PC)
        return false;
    w->regs[CFI_RIP] = ra;
    w->regs[CFI_RSP] += 8;
    w->interrupted = false;
    return true;
}

void image_crash_stack(struct image_crash *c) {
    uint64_t pcs[FRAMES];
    struct stackmem memory = {0};
    struct walk w = c->walk;
    unsigned n = 1;
    bool lost;
    if (!can_walk)
        return;
    w.memory = &memory;
    stackmem_here(&memory, c->sp);
    pcs[0] = c->pc + 1;
    n += walk_collect(&w, pcs + n, FRAMES - n, &lost);
    lost |= n == FRAMES;
    if (n == 1 && lost && step_back(&w)) {
        pcs[n++] = w.regs[CFI_RIP];
        n += walk_collect(&w, pcs + n, FRAMES - n, &lost);
    }
    /* Of a crime that was found, what is told begins with the program's call. */
    while (c->signal == SIGABRT && n > 1 && own_code(pcs[0])) {
        n--;
        memmove(pcs, pcs + 1, n * sizeof *pcs);
    }
    c->frame = prof_intern_stack(pcs, n);
    c->stopped = lost;
}

void image_gather_crash(struct image_writer *w) {
    const struct image_crash *c = w->crash;
    struct gomalloc_crash *r = image_add(w, GOMALLOC_SECTION_CRASH, sizeof *r);
    if (r == NULL)
        return;
    *r = (struct gomalloc_crash){
        .signal = (uint32_t)c->signal,
        .code = c->code,
        .tid = c->tid,
        .sender = (uint32_t)c->sender,
        .address = c->address,
        .pc = c->pc,
        .sp = c->sp,
        .frame = c->frame,
        .flags = c->stopped ? GOMALLOC_CRASH_STOPPED : 0,
    };
    memcpy(r->comm, c->comm, sizeof r->comm);
}

int image_finish_crash(struct image_writer *w, int fd, const struct image_crash *c, char *err,
                       size_t errlen) {
    w->crash = c;
    return image_finish(w, fd, NULL, err, errlen);
}
