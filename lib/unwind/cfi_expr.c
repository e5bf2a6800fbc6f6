/* SPDX-License-Identifier: BSD-3-Clause
 *
 * DWARF expressions: the stack machine in which unusual frames say where things are (a signal's
 * trampoline, the procedure linkage table, functions that align their stack).
 */
#include "unwind/cfi.h"
#include "unwind/cfi_cursor.h"

#define STACK_WORDS    16
#define MAX_OPERATIONS 256 /* branches may go backwards */

struct machine {
    struct cfi_cursor code;
    const uint8_t *start;
    const struct cfi_frame *frame;
    uint64_t stack[STACK_WORDS];
    unsigned n;
    bool bad;
};

static void push(struct machine *m, uint64_t v) {
    if (m->n < STACK_WORDS)
        m->stack[m->n++] = v;
    else
        m->bad = true;
}

static uint64_t pop(struct machine *m) {
    if (m->n != 0)
        return m->stack[--m->n];
    m->bad = true;
    return 0;
}

static void pick(struct machine *m, uint64_t i) {
    if (i < m->n)
        push(m, m->stack[m->n - 1 - i]);
    else
        m->bad = true;
}

static void push_register(struct machine *m, uint64_t reg, int64_t offset) {
    if (reg >= CFI_NREGS || (m->frame->known >> reg & 1) == 0)
        m->bad = true;
    else
        push(m, m->frame->regs[reg] + (uint64_t)offset);
}

/* load replaces an address by the n bytes there, which lie in one aligned word. */
static void load(struct machine *m, uint64_t n) {
    uint64_t addr = pop(m);
    uint64_t at = addr & 7;
    uint64_t word = 0;
    if (n == 0 || at + n > 8 || !m->frame->load(m->frame->memory, addr - at, &word)) {
        m->bad = true;
        return;
    }
    word >>= 8 * at;
    push(m, n == 8 ? word : word & (((uint64_t)1 << 8 * n) - 1));
}

static void branch(struct machine *m, bool taken) {
    int64_t by = (int16_t)cfi_bytes(&m->code, 2);
    if (!taken)
        return;
    if (by < m->start - m->code.p || by > m->code.end - m->code.p)
        m->bad = true;
    else
        m->code.p += by;
}

static void constant(struct machine *m, uint8_t op) {
    switch (op) {
    case 0x03: /* addr */
    case 0x0e: /* const8u */
    case 0x0f: /* const8s */
        return push(m, cfi_bytes(&m->code, 8));
    case 0x08: /* const1u */
        return push(m, cfi_bytes(&m->code, 1));
    case 0x09: /* const1s */
        return push(m, (uint64_t)(int64_t)(int8_t)cfi_bytes(&m->code, 1));
    case 0x0a: /* const2u */
        return push(m, cfi_bytes(&m->code, 2));
    case 0x0b: /* const2s */
        return push(m, (uint64_t)(int64_t)(int16_t)cfi_bytes(&m->code, 2));
    case 0x0c: /* const4u */
        return push(m, cfi_bytes(&m->code, 4));
    case 0x0d: /* const4s */
        return push(m, (uint64_t)(int64_t)(int32_t)cfi_bytes(&m->code, 4));
    case 0x10: /* constu */
        return push(m, cfi_uleb(&m->code));
    default: /* consts */
        return push(m, (uint64_t)cfi_sleb(&m->code));
    }
}

/* The operations that take two words and leave one; a was pushed before b. */
static void binary(struct machine *m, uint8_t op) {
    uint64_t b = pop(m);
    uint64_t a = pop(m);
    int64_t sa = (int64_t)a;
    int64_t sb = (int64_t)b;
    switch (op) {
    case 0x1a:
        return push(m, a & b);
    case 0x1c:
        return push(m, a - b);
    case 0x1e:
        return push(m, a * b);
    case 0x21:
        return push(m, a | b);
    case 0x22:
        return push(m, a + b);
    case 0x24:
        return push(m, b < 64 ? a << b : 0);
    case 0x25:
        return push(m, b < 64 ? a >> b : 0);
    case 0x26:
        return push(m, (uint64_t)(sa >> (b < 64 ? b : 63)));
    case 0x27:
        return push(m, a ^ b);
    case 0x29:
        return push(m, sa == sb);
    case 0x2a:
        return push(m, sa >= sb);
    case 0x2b:
        return push(m, sa > sb);
    case 0x2c:
        return push(m, sa <= sb);
    case 0x2d:
        return push(m, sa < sb);
    case 0x2e:
        return push(m, sa != sb);
    default: /* divisions among them: nobody uses them here */
        m->bad = true;
    }
}

static void swap(struct machine *m) {
    uint64_t b = pop(m);
    uint64_t a = pop(m);
    push(m, b);
    push(m, a);
}

static void other(struct machine *m, uint8_t op) {
    switch (op) {
    case 0x06: /* deref */
        return load(m, 8);
    case 0x94: /* deref_size */
        return load(m, cfi_bytes(&m->code, 1));
    case 0x12: /* dup */
        return pick(m, 0);
    case 0x13: /* drop */
        pop(m);
        return;
    case 0x14: /* over */
        return pick(m, 1);
    case 0x15: /* pick */
        return pick(m, cfi_bytes(&m->code, 1));
    case 0x16:
        return swap(m);
    case 0x1f: /* neg */
        return push(m, -pop(m));
    case 0x20: /* not */
        return push(m, ~pop(m));
    case 0x23: /* plus_uconst */
        return push(m, pop(m) + cfi_uleb(&m->code));
    case 0x28: /* bra */
        return branch(m, pop(m) != 0);
    case 0x2f: /* skip */
        return branch(m, true);
    case 0x96: /* nop */
        return;
    default:
        return binary(m, op);
    }
}

static void operation(struct machine *m) {
    uint8_t op = (uint8_t)cfi_bytes(&m->code, 1);
    if (op >= 0x30 && op <= 0x4f) /* lit0 ... lit31 */
        return push(m, op - 0x30u);
    if (op >= 0x70 && op <= 0x8f) /* breg0 ... breg31 */
        return push_register(m, op - 0x70u, cfi_sleb(&m->code));
    if (op == 0x92) { /* bregx */
        uint64_t reg = cfi_uleb(&m->code);
        return push_register(m, reg, cfi_sleb(&m->code));
    }
    if (op == 0x03 || (op >= 0x08 && op <= 0x11))
        return constant(m, op);
    return other(m, op);
}

bool cfi_evaluate(const struct cfi_place *block, const struct cfi_frame *f, const uint64_t *initial,
                  uint64_t *ret) {
    struct machine m = {.frame = f};
    m.code.p = (const uint8_t *)(uintptr_t)block->value;
    m.code.end = m.code.p + block->room;
    uint64_t n = cfi_uleb(&m.code);
    if (m.code.bad || n > (uint64_t)(m.code.end - m.code.p))
        return false;
    m.start = m.code.p;
    m.code.end = m.code.p + n;
    if (initial != NULL)
        push(&m, *initial);
    unsigned left = MAX_OPERATIONS;
    while (m.code.p < m.code.end && !m.bad && !m.code.bad && left-- > 0)
        operation(&m);
    *ret = pop(&m);
    return !m.bad && !m.code.bad && m.code.p == m.code.end;
}
