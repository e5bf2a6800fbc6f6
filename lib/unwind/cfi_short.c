/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Call frame information: the rows that nearly all code has, by a shorter way.
 *
 * The table of rows (rowcache.h) wants of a row only where the CFA and rbp are, and of all
 * operations that a compiler emits a dozen have to do with these.  To run a program for them alone
 * takes a tenth of what it takes to run it for all registers; and a program that starts meets a new
 * address in each hundredth frame or so.  Whatever is not such an operation is left to cfi.c, from
 * the start.
 */
#include "unwind/cfi_private.h"

/* A program being run. */
struct run {
    const struct cfi_cie *cie;
    struct cfi_cursor c;
    uint64_t loc; /* the row holds from here on */
    uint64_t pc;  /* wanted */
    struct cfi_short row;
    const struct cfi_short *initial; /* as the CIE's program left it */
    struct cfi_short saved[CFI_SAVED_ROWS];
    unsigned nsaved;
};

static inline uint64_t uleb(struct cfi_cursor *c) {
    if (gm_likely(c->p < c->end && *c->p < 0x80))
        return *c->p++;
    return cfi_uleb(c);
}

static bool set_cfa(struct run *r, uint64_t reg, uint64_t offset) {
    r->row.cfa_reg = (uint8_t)reg;
    r->row.cfa_offset = (int64_t)offset;
    r->row.cfa_known = true;
    return reg < CFI_NREGS;
}

/* offset: the register is in memory at CFA + n words. */
static bool offset(struct run *r, unsigned reg) {
    int64_t at = (int64_t)(uleb(&r->c) * (uint64_t)r->cie->data_align);
    if (reg == CFI_RBP)
        r->row.rbp = at;
    if (reg == CFI_RIP)
        r->row.rip = at;
    return reg != CFI_RSP && at != 0;
}

static bool restore(struct run *r, unsigned reg) {
    if (r->initial == NULL)
        return false;
    if (reg == CFI_RBP)
        r->row.rbp = r->initial->rbp;
    if (reg == CFI_RIP)
        r->row.rip = r->initial->rip;
    return true; /* of rsp nothing was said */
}

static bool advance(struct run *r, uint64_t delta) {
    r->loc += delta * r->cie->code_align;
    return true;
}

static bool push_row(struct run *r) {
    if (r->nsaved == CFI_SAVED_ROWS)
        return false;
    r->saved[r->nsaved++] = r->row;
    return true;
}

static bool pop_row(struct run *r) {
    if (r->nsaved == 0)
        return false;
    r->row = r->saved[--r->nsaved];
    return true;
}

/* operation returns false if it is another one than those that are known here. */
static inline bool operation(struct run *r) {
    uint64_t reg;
    uint8_t op = *r->c.p++;
    switch (op >> 6) {
    case 1: /* advance_loc */
        return advance(r, op & 0x3f);
    case 2:
        return offset(r, op & 0x3f);
    case 3:
        return restore(r, op & 0x3f);
    default:
        break;
    }
    switch (op) {
    case 0x00: /* nop */
        return true;
    case 0x02: /* advance_loc1, 2, 4 */
        return advance(r, cfi_bytes(&r->c, 1));
    case 0x03:
        return advance(r, cfi_bytes(&r->c, 2));
    case 0x04:
        return advance(r, cfi_bytes(&r->c, 4));
    case 0x0a: /* remember_state */
        return push_row(r);
    case 0x0b: /* restore_state */
        return pop_row(r);
    case 0x0c: /* def_cfa */
        reg = uleb(&r->c);
        return set_cfa(r, reg, uleb(&r->c));
    case 0x0d: /* def_cfa_register */
        return set_cfa(r, uleb(&r->c), (uint64_t)r->row.cfa_offset);
    case 0x0e: /* def_cfa_offset */
        return set_cfa(r, r->row.cfa_reg, uleb(&r->c));
    case 0x2e: /* GNU_args_size */
        uleb(&r->c);
        return true;
    default:
        return false;
    }
}

static bool run_program(struct run *r, struct cfi_cursor c) {
    r->c = c;
    while (r->c.p < r->c.end && r->loc <= r->pc) {
        if (!operation(r))
            return false;
    }
    return !r->c.bad;
}

bool cfi_short_row(const struct cfi_fde *fde, uint64_t pc, struct cfi_short *ret) {
    struct run r;
    struct cfi_short initial;
    if (fde->cie.signal)
        return false;
    r.cie = &fde->cie;
    r.row = (struct cfi_short){.cfa_known = false};
    r.initial = NULL;
    r.nsaved = 0;
    r.loc = r.pc = pc; /* a CIE's program does not advance */
    if (!run_program(&r, fde->cie.program))
        return false;
    initial = r.row;
    r.initial = &initial;
    r.loc = fde->start;
    if (!run_program(&r, fde->program))
        return false;
    *ret = r.row;
    return ret->cfa_known && ret->rip == -8;
}
