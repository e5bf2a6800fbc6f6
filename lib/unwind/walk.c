/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The full walk.
 */
#include "unwind/walk.h"

static bool load(void *memory, uint64_t addr, uint64_t *ret) {
    return stackmem_load(memory, addr, ret);
}

static struct cfi_frame frame_of(struct walk *w) {
    return (struct cfi_frame){
        .regs = w->regs, .known = w->known, .load = load, .memory = w->memory};
}

static bool find_cfa(struct walk *w, const struct cfi_place *p, uint64_t *ret) {
    if (p->rule == CFI_IS_EXPRESSION) {
        struct cfi_frame f = frame_of(w);
        return cfi_evaluate(p, &f, NULL, ret);
    }
    *ret = w->regs[p->reg] + (uint64_t)p->value;
    return (w->known >> p->reg & 1) != 0;
}

/* find_register computes what the caller's register holds.  False: unknown. */
static bool find_register(struct walk *w, unsigned r, const struct cfi_place *p, uint64_t cfa,
                          uint64_t *ret) {
    struct cfi_frame f;
    switch (p->rule) {
    case CFI_SAME:
        *ret = r == CFI_RSP ? cfa : w->regs[r];
        return r == CFI_RSP || (w->known >> r & 1) != 0;
    case CFI_AT_OFFSET:
        return stackmem_load(w->memory, cfa + (uint64_t)p->value, ret);
    case CFI_IS_OFFSET:
        *ret = cfa + (uint64_t)p->value;
        return true;
    case CFI_IN_REGISTER:
        if (p->reg >= CFI_NREGS)
            return false;
        *ret = w->regs[p->reg];
        return (w->known >> p->reg & 1) != 0;
    case CFI_IS_EXPRESSION:
        f = frame_of(w);
        return cfi_evaluate(p, &f, &cfa, ret);
    case CFI_AT_EXPRESSION:
        f = frame_of(w);
        return cfi_evaluate(p, &f, &cfa, ret) && stackmem_load(w->memory, *ret, ret);
    default:
        return false;
    }
}

enum walk_step walk_out(struct walk *w) {
    struct cfi_object o;
    struct cfi_row row;
    struct walk next = {.interrupted = false, .memory = w->memory};
    uint64_t cfa;
    uint64_t pc = walk_lookup_pc(w->regs[CFI_RIP], w->interrupted);
    if (!cfi_object_of(pc, &o) || !cfi_row_at(&o, pc, &row))
        return WALK_LOST;
    if (row.regs[CFI_RIP].rule == CFI_UNDEFINED)
        return WALK_END;
    if (!find_cfa(w, &row.cfa, &cfa))
        return WALK_LOST;
    for (unsigned r = 0; r < CFI_NREGS; r++) {
        /* What a call does not preserve is of use only if a signal saved it. */
        if (find_register(w, r, &row.regs[r], cfa, &next.regs[r]))
            next.known |= 1u << r;
    }
    const uint32_t needed = 1u << CFI_RIP | 1u << CFI_RSP;
    if ((next.known & needed) != needed)
        return WALK_LOST;
    if (next.regs[CFI_RIP] < WALK_LEAST_PC)
        return next.regs[CFI_RIP] == 0 ? WALK_END : WALK_LOST;
    next.interrupted = row.signal;
    *w = next;
    return WALK_ON;
}

unsigned walk_collect(struct walk *w, uint64_t *pcs, unsigned max, bool *ret_lost) {
    unsigned n = 0;
    enum walk_step step = WALK_ON;
    while (n < max && (step = walk_out(w)) == WALK_ON)
        pcs[n++] = w->regs[CFI_RIP];
    *ret_lost = step == WALK_LOST;
    return n;
}
