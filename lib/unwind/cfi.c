/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Call frame information: from an address to its FDE, and through the FDE's program to a row.
 */
#include "unwind/cfi.h"

#include <dlfcn.h>
#include <link.h>
#include <sys/auxv.h>

#include "unwind/cfi_private.h"

#define HDR_TABLE_SDATA4 0x3b /* .eh_frame_hdr's table: pairs of 4 bytes, relative to its start */

/* struct dl_find_object of glibc 2.35, which older headers do not have. */
struct found_object {
    unsigned long long flags;
    void *map_start;
    void *map_end;
    void *link_map;
    void *eh_frame; /* .eh_frame_hdr */
    unsigned long long reserved[7];
};

static int (*find_object)(void *pc, struct found_object *ret);

/* The program's segments: what is in the file of each. */
#define MAX_SEGMENTS 16
static struct segment {
    uint64_t start;
    uint64_t end;
} segments[MAX_SEGMENTS];
static unsigned nsegments;

static void note_segments(void) {
    const ElfW(Phdr) *ph = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    size_t n = ph != NULL ? getauxval(AT_PHNUM) : 0;
    uint64_t bias = 0;
    for (size_t i = 0; i < n; i++)
        if (ph[i].p_type == PT_PHDR)
            bias = (uintptr_t)ph - ph[i].p_vaddr;
    for (size_t i = 0; i < n && nsegments < MAX_SEGMENTS; i++) {
        uint64_t start = bias + ph[i].p_vaddr;
        if (ph[i].p_type == PT_LOAD && (ph[i].p_flags & PF_R) != 0)
            segments[nsegments++] = (struct segment){start, start + ph[i].p_filesz};
    }
}

bool cfi_init(void) {
    *(void **)&find_object = dlsym(RTLD_DEFAULT, "_dl_find_object");
    if (nsegments == 0)
        note_segments();
    return find_object != NULL;
}

bool cfi_ready(void) {
    return find_object != NULL;
}

/* Finds where the object's information lies if not in its own mapping: nowhere, or in another
 * segment of the program. */
static void find_info(struct cfi_object *o) {
    uint64_t hdr = (uintptr_t)o->hdr;
    o->info_start = o->info_end = 0;
    for (unsigned i = 0; i < nsegments; i++)
        if (hdr >= segments[i].start && hdr < segments[i].end) {
            o->info_start = segments[i].start;
            o->info_end = segments[i].end;
        }
}

bool cfi_object_of(uint64_t pc, struct cfi_object *ret) {
    struct found_object f;
    if (find_object((void *)pc, &f) != 0)
        return false;
    ret->start = (uintptr_t)f.map_start;
    ret->end = (uintptr_t)f.map_end;
    ret->link_map = f.link_map;
    ret->hdr = f.eh_frame;
    ret->info_start = ret->start;
    ret->info_end = ret->end;
    if ((uintptr_t)ret->hdr < ret->start || (uintptr_t)ret->hdr >= ret->end)
        find_info(ret);
    return true;
}

/* record reads the length of a CIE or FDE at p and returns a cursor over its body. */
static struct cfi_cursor record(const struct cfi_object *o, uint64_t p) {
    struct cfi_cursor c = {(const uint8_t *)p, (const uint8_t *)o->info_end, false};
    if (p < o->info_start || p >= o->info_end) {
        c.bad = true;
        c.end = c.p;
        return c;
    }
    uint64_t n = cfi_bytes(&c, 4);
    if (n == 0xffffffff)
        n = cfi_bytes(&c, 8);
    if (n > (uint64_t)(c.end - c.p))
        c.bad = true;
    else
        c.end = c.p + n;
    return c;
}

/* read_augmentation reads the data that the letters of the string announce. */
static bool read_augmentation(const char *letters, struct cfi_cursor *c, struct cfi_cie *ret) {
    if (*letters == '\0')
        return true;
    if (*letters != 'z')
        return false;
    ret->augmented = true;
    uint64_t n = cfi_uleb(c);
    const uint8_t *program = c->p;
    if (n > (uint64_t)(c->end - c->p))
        return false;
    program += n;
    for (letters++; *letters != '\0'; letters++) {
        if (*letters == 'R') {
            ret->encoding = (uint8_t)cfi_bytes(c, 1);
        } else if (*letters == 'L') {
            cfi_skip(c, 1);
        } else if (*letters == 'P') {
            uint8_t encoding = (uint8_t)cfi_bytes(c, 1);
            cfi_pointer(c, encoding & CFI_PTR_FORMAT);
        } else if (*letters == 'S') {
            ret->signal = true;
        } else {
            break; /* the length lets us pass over what is not understood */
        }
    }
    c->p = program;
    return true;
}

static bool read_cie(const struct cfi_object *o, uint64_t p, struct cfi_cie *ret) {
    struct cfi_cursor c = record(o, p);
    *ret = (struct cfi_cie){.encoding = CFI_PTR_ABS};
    uint64_t id = cfi_bytes(&c, 4);
    uint64_t version = cfi_bytes(&c, 1);
    const char *letters = (const char *)c.p;
    while (cfi_bytes(&c, 1) != 0)
        ;
    if (c.bad || id != 0 || (version != 1 && version != 3))
        return false;
    ret->code_align = cfi_uleb(&c);
    ret->data_align = cfi_sleb(&c);
    uint64_t ra = version == 1 ? cfi_bytes(&c, 1) : cfi_uleb(&c);
    if (ra != CFI_RIP || !read_augmentation(letters, &c, ret))
        return false;
    ret->program = c;
    return !c.bad;
}

static bool read_fde(const struct cfi_object *o, uint64_t p, struct cfi_fde *ret) {
    struct cfi_cursor c = record(o, p);
    uint64_t back = (uintptr_t)c.p;
    uint64_t cie = cfi_bytes(&c, 4);
    if (c.bad || cie == 0 || !read_cie(o, back - cie, &ret->cie))
        return false;
    ret->start = cfi_pointer(&c, ret->cie.encoding);
    ret->end = ret->start + cfi_pointer(&c, ret->cie.encoding & CFI_PTR_FORMAT);
    if (ret->cie.augmented)
        cfi_skip(&c, cfi_uleb(&c));
    ret->program = c;
    return !c.bad;
}

/* scan looks through all of .eh_frame, for objects whose linker made no table. */
static bool scan(const struct cfi_object *o, uint64_t p, uint64_t pc, struct cfi_fde *ret) {
    for (;;) {
        struct cfi_cursor c = record(o, p);
        if (c.bad || c.p == c.end)
            return false;
        if (read_fde(o, p, ret) && pc >= ret->start && pc < ret->end)
            return true;
        p = (uintptr_t)c.end;
    }
}

/* search returns the address of the FDE of the last function that begins at or before pc, 0: none.
 */
static uint64_t search(const uint8_t *hdr, const uint8_t *table, uint64_t n, uint64_t pc) {
    uint64_t base = (uintptr_t)hdr;
    uint64_t lo = 0;
    uint64_t hi = n; /* the answer is before hi, at lo or after */
    int32_t pair[2];
    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;
        memcpy(pair, table + 8 * mid, sizeof pair);
        if (base + (uint64_t)(int64_t)pair[0] <= pc)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return 0;
    memcpy(pair, table + 8 * (lo - 1), sizeof pair);
    return base + (uint64_t)(int64_t)pair[1];
}

bool cfi_find_fde(const struct cfi_object *o, uint64_t pc, struct cfi_fde *ret) {
    struct cfi_cursor c = {o->hdr, (const uint8_t *)o->info_end, false};
    if (o->hdr == NULL || (uintptr_t)o->hdr < o->info_start || (uintptr_t)o->hdr >= o->info_end)
        return false;
    uint64_t version = cfi_bytes(&c, 1);
    uint8_t frame_encoding = (uint8_t)cfi_bytes(&c, 1);
    uint8_t count_encoding = (uint8_t)cfi_bytes(&c, 1);
    uint8_t table_encoding = (uint8_t)cfi_bytes(&c, 1);
    uint64_t frames = cfi_pointer(&c, frame_encoding);
    if (c.bad || version != 1)
        return false;
    ret->table_end = 0;
    if (table_encoding != HDR_TABLE_SDATA4 || count_encoding == CFI_PTR_OMIT)
        return scan(o, frames, pc, ret);
    uint64_t n = cfi_pointer(&c, count_encoding);
    if (c.bad || n > (uint64_t)(c.end - c.p) / 8)
        return false;
    ret->table_end = (uintptr_t)c.p + 8 * n;
    uint64_t p = search(o->hdr, c.p, n, pc);
    return p != 0 && read_fde(o, p, ret) && pc >= ret->start && pc < ret->end;
}

/* A program being run. */
struct run {
    const struct cfi_cie *cie;
    uint64_t loc; /* the row holds from here on */
    uint64_t pc;  /* wanted */
    struct cfi_row *row;
    const struct cfi_row *initial; /* as the CIE's program left it, for DW_CFA_restore */
    struct cfi_row saved[CFI_SAVED_ROWS];
    unsigned nsaved;
};

static void set(struct run *r, uint64_t reg, uint8_t rule, int64_t value) {
    if (reg < CFI_NREGS)
        r->row->regs[reg] = (struct cfi_place){.rule = rule, .value = value};
}

static void set_register(struct run *r, uint64_t reg, uint64_t in) {
    set(r, reg, in < CFI_NREGS ? CFI_IN_REGISTER : CFI_UNDEFINED, 0);
    if (reg < CFI_NREGS && in < CFI_NREGS)
        r->row->regs[reg].reg = (uint8_t)in;
}

static void restore(struct run *r, struct cfi_cursor *c, uint64_t reg) {
    if (r->initial == NULL)
        c->bad = true;
    else if (reg < CFI_NREGS)
        r->row->regs[reg] = r->initial->regs[reg];
}

static void set_cfa(struct run *r, struct cfi_cursor *c, uint64_t reg, int64_t offset) {
    if (reg >= CFI_NREGS)
        c->bad = true;
    r->row->cfa = (struct cfi_place){.rule = CFI_IN_REGISTER, .reg = (uint8_t)reg, .value = offset};
}

/* block returns the place of the expression that follows, and passes over it. */
static struct cfi_place block(struct cfi_cursor *c, uint8_t rule) {
    size_t room = (size_t)(c->end - c->p);
    struct cfi_place p = {.rule = rule, .value = (int64_t)(uintptr_t)c->p};
    p.room = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
    cfi_skip(c, cfi_uleb(c));
    return p;
}

static void set_block(struct run *r, struct cfi_cursor *c, uint64_t reg, uint8_t rule) {
    struct cfi_place p = block(c, rule);
    if (reg < CFI_NREGS)
        r->row->regs[reg] = p;
}

static void push_row(struct run *r, struct cfi_cursor *c) {
    if (r->nsaved < CFI_SAVED_ROWS)
        r->saved[r->nsaved++] = *r->row;
    else
        c->bad = true;
}

static void pop_row(struct run *r, struct cfi_cursor *c) {
    if (r->nsaved != 0)
        *r->row = r->saved[--r->nsaved];
    else
        c->bad = true;
}

/* factored returns an offset in bytes.  The number may be any at all: unsigned, so that it may. */
static int64_t factored(const struct run *r, uint64_t n) {
    return (int64_t)(n * (uint64_t)r->cie->data_align);
}

/* The operations whose high two bits are 0: rules. */
static void rule_operation(struct run *r, struct cfi_cursor *c, uint8_t op) {
    uint64_t reg;
    switch (op) {
    case 0x05: /* offset_extended */
        reg = cfi_uleb(c);
        return set(r, reg, CFI_AT_OFFSET, factored(r, cfi_uleb(c)));
    case 0x06: /* restore_extended */
        return restore(r, c, cfi_uleb(c));
    case 0x07: /* undefined */
        return set(r, cfi_uleb(c), CFI_UNDEFINED, 0);
    case 0x08: /* same_value */
        return set(r, cfi_uleb(c), CFI_SAME, 0);
    case 0x09: /* register */
        reg = cfi_uleb(c);
        return set_register(r, reg, cfi_uleb(c));
    case 0x10: /* expression */
        reg = cfi_uleb(c);
        return set_block(r, c, reg, CFI_AT_EXPRESSION);
    case 0x11: /* offset_extended_sf */
        reg = cfi_uleb(c);
        return set(r, reg, CFI_AT_OFFSET, factored(r, (uint64_t)cfi_sleb(c)));
    case 0x14: /* val_offset */
        reg = cfi_uleb(c);
        return set(r, reg, CFI_IS_OFFSET, factored(r, cfi_uleb(c)));
    case 0x15: /* val_offset_sf */
        reg = cfi_uleb(c);
        return set(r, reg, CFI_IS_OFFSET, factored(r, (uint64_t)cfi_sleb(c)));
    case 0x16: /* val_expression */
        reg = cfi_uleb(c);
        return set_block(r, c, reg, CFI_IS_EXPRESSION);
    case 0x2f: /* GNU_negative_offset_extended */
        reg = cfi_uleb(c);
        return set(r, reg, CFI_AT_OFFSET, factored(r, -cfi_uleb(c)));
    default:
        c->bad = true;
    }
}

/* Those about the CFA, and about rows. */
static void cfa_operation(struct run *r, struct cfi_cursor *c, uint8_t op) {
    uint64_t reg;
    switch (op) {
    case 0x0a: /* remember_state */
        return push_row(r, c);
    case 0x0b: /* restore_state */
        return pop_row(r, c);
    case 0x0c: /* def_cfa */
        reg = cfi_uleb(c);
        return set_cfa(r, c, reg, (int64_t)cfi_uleb(c));
    case 0x0d: /* def_cfa_register */
        return set_cfa(r, c, cfi_uleb(c), r->row->cfa.value);
    case 0x0e: /* def_cfa_offset */
        return set_cfa(r, c, r->row->cfa.reg, (int64_t)cfi_uleb(c));
    case 0x0f: /* def_cfa_expression */
        r->row->cfa = block(c, CFI_IS_EXPRESSION);
        return;
    case 0x12: /* def_cfa_sf */
        reg = cfi_uleb(c);
        return set_cfa(r, c, reg, factored(r, (uint64_t)cfi_sleb(c)));
    case 0x13: /* def_cfa_offset_sf */
        return set_cfa(r, c, r->row->cfa.reg, factored(r, (uint64_t)cfi_sleb(c)));
    case 0x2e: /* GNU_args_size */
        cfi_uleb(c);
        return;
    default:
        return rule_operation(r, c, op);
    }
}

static void advance(struct run *r, uint64_t delta) {
    r->loc += delta * r->cie->code_align;
}

static void operation(struct run *r, struct cfi_cursor *c) {
    uint8_t op = (uint8_t)cfi_bytes(c, 1);
    uint8_t low = op & 0x3f;
    switch (op >> 6) {
    case 1: /* advance_loc */
        return advance(r, low);
    case 2: /* offset */
        return set(r, low, CFI_AT_OFFSET, factored(r, cfi_uleb(c)));
    case 3: /* restore */
        return restore(r, c, low);
    default:
        break;
    }
    switch (op) {
    case 0x00: /* nop */
        return;
    case 0x01: /* set_loc */
        r->loc = cfi_pointer(c, r->cie->encoding);
        return;
    case 0x02: /* advance_loc1, 2, 4 */
        return advance(r, cfi_bytes(c, 1));
    case 0x03:
        return advance(r, cfi_bytes(c, 2));
    case 0x04:
        return advance(r, cfi_bytes(c, 4));
    default:
        return cfa_operation(r, c, op);
    }
}

/* run_program runs it as long as it speaks of places up to the wanted one. */
static bool run_program(struct run *r, struct cfi_cursor c) {
    while (c.p < c.end && r->loc <= r->pc && !c.bad)
        operation(r, &c);
    return !c.bad;
}

bool cfi_full_row(const struct cfi_fde *fde, uint64_t pc, struct cfi_row *ret) {
    struct run run;
    struct cfi_row initial;
    memset(ret, 0, sizeof *ret);
    run.cie = &fde->cie;
    run.row = ret;
    run.initial = NULL;
    run.nsaved = 0;
    run.loc = run.pc = pc; /* a CIE's program does not advance */
    if (!run_program(&run, fde->cie.program))
        return false;
    initial = *ret;
    run.initial = &initial;
    run.loc = fde->start;
    ret->signal = fde->cie.signal;
    return run_program(&run, fde->program) && ret->cfa.rule != CFI_SAME;
}

bool cfi_row_at(const struct cfi_object *o, uint64_t pc, struct cfi_row *ret) {
    struct cfi_fde fde;
    return cfi_find_fde(o, pc, &fde) && cfi_full_row(&fde, pc, ret);
}

uint64_t cfi_function_of(const struct cfi_object *o, uint64_t pc) {
    struct cfi_fde fde;
    return cfi_find_fde(o, pc, &fde) ? fde.start : 0;
}
