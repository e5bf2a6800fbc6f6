/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reading DWARF data that may be wrong: a cursor that never leaves its bytes.
 *
 * Past the end, or at an encoding that is not understood, it reads zeros and notes `bad`, so that
 * callers ask once, when they are done.
 */
#ifndef GM_UNWIND_CFI_CURSOR_H
#define GM_UNWIND_CFI_CURSOR_H

#include <string.h>

#include "sys/compiler.h"

struct cfi_cursor {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

/* Pointer encodings (DW_EH_PE_*): a format in the low four bits, what it is relative to above. */
enum {
    CFI_PTR_ABS = 0x00,
    CFI_PTR_ULEB = 0x01,
    CFI_PTR_U2 = 0x02,
    CFI_PTR_U4 = 0x03,
    CFI_PTR_U8 = 0x04,
    CFI_PTR_SLEB = 0x09,
    CFI_PTR_S2 = 0x0a,
    CFI_PTR_S4 = 0x0b,
    CFI_PTR_S8 = 0x0c,
    CFI_PTR_FORMAT = 0x0f,
    CFI_PTR_PCREL = 0x10,
    CFI_PTR_RELATIVE = 0x70,
    CFI_PTR_OMIT = 0xff
};

static inline uint64_t cfi_bytes(struct cfi_cursor *c, unsigned n) {
    uint64_t v = 0;
    if ((size_t)(c->end - c->p) < n) {
        c->bad = true;
        c->p = c->end;
        return 0;
    }
    memcpy(&v, c->p, n); /* little-endian, as all of x86 */
    c->p += n;
    return v;
}

static inline void cfi_skip(struct cfi_cursor *c, uint64_t n) {
    if ((uint64_t)(c->end - c->p) < n) {
        c->bad = true;
        n = (uint64_t)(c->end - c->p);
    }
    c->p += n;
}

static inline uint64_t cfi_uleb(struct cfi_cursor *c) {
    uint64_t v = 0;
    unsigned shift = 0;
    uint64_t byte;
    do {
        byte = cfi_bytes(c, 1);
        if (shift < 64)
            v |= (byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0);
    return v;
}

static inline int64_t cfi_sleb(struct cfi_cursor *c) {
    uint64_t v = 0;
    unsigned shift = 0;
    uint64_t byte;
    do {
        byte = cfi_bytes(c, 1);
        if (shift < 64)
            v |= (byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0);
    if (shift < 64 && (byte & 0x40) != 0)
        v |= ~(uint64_t)0 << shift;
    return (int64_t)v;
}

/* cfi_pointer reads a pointer of the encoding; only absolute ones and those relative to their own
 * place are understood. */
static inline uint64_t cfi_pointer(struct cfi_cursor *c, uint8_t encoding) {
    uint64_t base = (encoding & CFI_PTR_RELATIVE) == CFI_PTR_PCREL ? (uintptr_t)c->p : 0;
    if ((encoding & CFI_PTR_RELATIVE) != CFI_PTR_PCREL && (encoding & CFI_PTR_RELATIVE) != 0)
        c->bad = true;
    switch (encoding & CFI_PTR_FORMAT) {
    case CFI_PTR_ULEB:
        return base + cfi_uleb(c);
    case CFI_PTR_SLEB:
        return base + (uint64_t)cfi_sleb(c);
    case CFI_PTR_U2:
        return base + cfi_bytes(c, 2);
    case CFI_PTR_U4:
        return base + cfi_bytes(c, 4);
    case CFI_PTR_S2:
        return base + (uint64_t)(int64_t)(int16_t)cfi_bytes(c, 2);
    case CFI_PTR_S4:
        return base + (uint64_t)(int64_t)(int32_t)cfi_bytes(c, 4);
    case CFI_PTR_ABS:
    case CFI_PTR_U8:
    case CFI_PTR_S8:
        return base + cfi_bytes(c, 8);
    default:
        c->bad = true;
        return 0;
    }
}

#endif
