/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a word stands that leads to an object.
 *
 * The frame of a word on a stack is found by walking out from where the thread was interrupted, as
 * the recorder does (unwind/walk.h), until the frame that holds the word: a frame extends from its
 * stack pointer to that of its caller.
 */
#include "leak/why_place.h"

#include <string.h>
#include <ucontext.h>

#include "leak/red_zone.h"

#define MAX_WALK  65536 /* frames */
#define MAX_STACK ((uintptr_t)1 << 40)
#define MAX_TLS   ((uintptr_t)1 << 20)
#define XMM_AT    160 /* of the vector registers in what fxsave writes */
#define XMM_BYTES 16

struct why_place why_place_object(uintptr_t object, size_t bytes, uintptr_t word) {
    return (struct why_place){
        .is_object = true, .word = word, .start = object, .end = object + bytes};
}

/* ---- threads ------------------------------------------------------------------------------- */

static const struct root_thread *thread_of_registers(const struct roots *r, uintptr_t word) {
    for (size_t i = 0; i < r->nthreads; i++)
        if (word >= r->threads[i].regs_lo && word < r->threads[i].regs_hi)
            return &r->threads[i];
    return NULL;
}

const struct root_thread *why_place_thread(const struct roots *r, const struct root_place *range,
                                           uintptr_t word) {
    const struct root_thread *best = NULL;
    for (size_t i = 0; i < r->nthreads; i++) {
        const struct root_thread *t = &r->threads[i];
        bool here =
            t->sp + RED_ZONE >= range->start && t->sp < range->end && t->sp - RED_ZONE <= word;
        if (here && (best == NULL || t->sp > best->sp))
            best = t;
    }
    return best;
}

/* thread_of_variables returns the thread whose pointer is in the range. */
static const struct root_thread *thread_of_variables(const struct roots *r,
                                                     const struct root_place *range) {
    for (size_t i = 0; i < r->nthreads; i++)
        if (r->threads[i].tp >= range->start && r->threads[i].tp < range->end)
            return &r->threads[i];
    return NULL;
}

/* ---- registers ----------------------------------------------------------------------------- */

static void name_register(const struct root_thread *t, uintptr_t word, char name[WHY_REGISTER]) {
    static const char *const general[] = {"r8",  "r9",  "r10", "r11", "r12", "r13",
                                          "r14", "r15", "rdi", "rsi", "rbp", "rbx",
                                          "rdx", "rax", "rcx", "rsp", "rip"};
    const ucontext_t *uc = (const ucontext_t *)t->regs_lo;
    uintptr_t first = (uintptr_t)uc->uc_mcontext.gregs;
    uintptr_t xmm = (uintptr_t)uc->uc_mcontext.fpregs + XMM_AT;
    size_t number = (word - first) / sizeof(greg_t);
    if (word >= first && number < sizeof general / sizeof general[0]) {
        memcpy(name, general[number], strlen(general[number]));
        return;
    }
    memcpy(name, "vector", 6);
    number = (word - xmm) / XMM_BYTES;
    if (word < xmm || number > 15)
        return;
    memcpy(name, "xmm\0\0\0", 6);
    name[number < 10 ? 3 : 4] = (char)('0' + number % 10);
    if (number >= 10)
        name[3] = '1';
}

/* ---- frames -------------------------------------------------------------------------------- */

/* begin_walk begins where the thread was interrupted, with all registers. */
static void begin_walk(struct walk *w, const ucontext_t *uc) {
    static const unsigned char numbers[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
                                            REG_RBP, REG_RSP, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                            REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP};
    static_assert(sizeof numbers == CFI_NREGS, "in DWARF's order");
    for (unsigned i = 0; i < CFI_NREGS; i++)
        w->regs[i] = (uint64_t)uc->uc_mcontext.gregs[numbers[i]];
    w->known = (1u << CFI_NREGS) - 1;
    w->interrupted = true;
}

bool why_frames_begin(struct why_frames *f, const struct root_thread *t, uintptr_t end) {
    *f = (struct why_frames){.end = end, .step = WALK_LOST};
    f->walk.memory = &f->memory;
    if (t->regs_lo == 0 || !cfi_ready())
        return false;
    begin_walk(&f->walk, (const ucontext_t *)t->regs_lo);
    stackmem_here(&f->memory, f->walk.regs[CFI_RSP]);
    return true;
}

bool why_frames_next(struct why_frames *f) {
    struct walk *w = &f->walk;
    uint64_t sp = w->regs[CFI_RSP];
    f->pc = walk_lookup_pc(w->regs[CFI_RIP], w->interrupted);
    f->step = walk_out(w);
    f->limit = w->regs[CFI_RSP];
    return f->step == WALK_ON && f->limit > sp && f->limit <= f->end && ++f->n <= MAX_WALK;
}

/* find_frame returns an instruction of the function whose frame holds the word, 0: none does, on a
 * stack that ends at `end`: a signal's handler, or a coroutine, may be on another than what it has
 * interrupted.  *ret_sp is where the walk has ended then, UINTPTR_MAX: it was lost. */
static uintptr_t find_frame(const struct root_thread *t, uintptr_t word, uintptr_t end,
                            uintptr_t *ret_sp) {
    struct why_frames f;
    *ret_sp = UINTPTR_MAX;
    if (word + RED_ZONE < t->sp || !why_frames_begin(&f, t, end))
        return 0;
    while (why_frames_next(&f))
        if (word < f.limit)
            return f.pc;
    if (f.step == WALK_END)
        *ret_sp = f.limit;
    return 0;
}

/* ---- roots --------------------------------------------------------------------------------- */

uintptr_t why_place_tls(const struct roots *r) {
    uintptr_t least = 0, sp;
    for (size_t i = 0; i < r->nthreads; i++) {
        const struct root_thread *t = &r->threads[i];
        if (t->sp >= t->tp || t->tp - t->sp > MAX_STACK)
            continue; /* the first thread, or it is on another stack */
        find_frame(t, t->tp, t->tp, &sp);
        if (sp < t->tp && t->tp - sp < MAX_TLS && (least == 0 || t->tp - sp < least))
            least = t->tp - sp;
    }
    return least;
}

uintptr_t why_place_variables(const struct roots *r, const struct root_place *range) {
    const struct root_thread *on = why_place_thread(r, range, range->end);
    const struct root_thread *t = thread_of_variables(r, range);
    if (t == NULL)
        return on != NULL ? range->end : range->start; /* of a thread that has ended */
    if (r->tls_bytes == 0)
        return on != NULL ? range->end : range->start;
    return t->tp - range->start > r->tls_bytes ? t->tp - r->tls_bytes : range->start;
}

static void place_on_stack(struct why_place *p, const struct roots *r,
                           const struct root_place *range) {
    const struct root_thread *t = thread_of_variables(r, range);
    const struct root_thread *on = why_place_thread(r, range, p->word);
    uintptr_t sp;
    p->variable = p->word >= why_place_variables(r, range);
    if (p->variable || on == NULL) {
        p->tid = t != NULL ? t->tid : 0;
        p->tp = t != NULL && p->variable ? t->tp : 0;
        return;
    }
    p->tid = on->tid;
    p->pc = find_frame(on, p->word, range->end, &sp);
}

struct why_place why_place_root(const struct roots *r, const struct root_place *range,
                                uintptr_t word) {
    struct why_place p = {
        .kind = range->kind, .word = word, .start = range->start, .end = range->end};
    const struct root_thread *t = NULL;
    if (range->kind == ROOT_STACK)
        place_on_stack(&p, r, range);
    if (range->kind == ROOT_REGISTER)
        t = thread_of_registers(r, word);
    if (t != NULL) {
        p.tid = t->tid;
        name_register(t, word, p.reg);
    }
    return p;
}
