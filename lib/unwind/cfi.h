/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Call frame information: how a function's caller is found from any of its instructions.
 *
 * Compilers describe it in .eh_frame: a CIE (common) and an FDE (one function) hold a small program
 * that, run up to an address, leaves a row: how the CFA (the stack pointer before the call) is
 * computed, and where each register of the caller is.  .eh_frame_hdr is a sorted table of the FDEs.
 * Both are parts of the loaded object, which _dl_find_object (glibc 2.35) finds without a lock and
 * from signal handlers.
 *
 * All of the x86-64 psABI's DWARF is read, expressions included, but no .debug_frame and nothing
 * that was registered at run time (JITs).  It never writes, allocates or locks, and reads only what
 * lies within the object's own mapping.  A program that is not position-independent may have gaps
 * between its segments; then _dl_find_object knows each by itself, and the information about the
 * code is in another one than the code.
 */
#ifndef GM_UNWIND_CFI_H
#define GM_UNWIND_CFI_H

#include "sys/compiler.h"

/* DWARF's numbers of the registers of x86-64 that are spoken of. */
enum { CFI_RBX = 3, CFI_RBP = 6, CFI_RSP = 7, CFI_R12 = 12, CFI_R15 = 15, CFI_RIP = 16 };
#define CFI_NREGS 17

enum cfi_rule {
    CFI_SAME,          /* the caller's is the callee's */
    CFI_UNDEFINED,     /* lost; of rip: there is no caller */
    CFI_AT_OFFSET,     /* in memory at CFA + value */
    CFI_IS_OFFSET,     /* CFA + value */
    CFI_IN_REGISTER,   /* in register `reg` + value */
    CFI_AT_EXPRESSION, /* in memory, at the address that the block at `value` yields */
    CFI_IS_EXPRESSION  /* what the block yields */
};

/* Where one value is.  A block begins with its length (ULEB). */
struct cfi_place {
    int64_t value;
    uint32_t room; /* of a block: bytes that it may lie in */
    uint8_t rule;  /* enum cfi_rule */
    uint8_t reg;
};

struct cfi_row {
    struct cfi_place cfa; /* IN_REGISTER or IS_EXPRESSION */
    struct cfi_place regs[CFI_NREGS];
    bool signal; /* the frame of a signal's trampoline: its caller was interrupted, did not call */
};

/* A loaded object; or a segment of a program whose segments have gaps between them. */
struct cfi_object {
    uint64_t start; /* of its mapping */
    uint64_t end;
    const void *link_map;
    const uint8_t *hdr;  /* .eh_frame_hdr, or NULL */
    uint64_t info_start; /* where all that is read of it lies: its mapping, or another segment */
    uint64_t info_end;
};

/* cfi_init finds _dl_find_object, and the program's segments.  Calls dlsym.  False: this libc has
 * none. */
bool cfi_init(void);

/* cfi_ready tells whether cfi_init has found it: without, nothing else here may be called. */
bool cfi_ready(void);

/* cfi_object_of returns the object that the address is in.  False: none. */
bool cfi_object_of(uint64_t pc, struct cfi_object *ret);

/* cfi_row_at computes the row that holds at an instruction of the object.  False: nothing is said
 * about it, or it is not understood. */
bool cfi_row_at(const struct cfi_object *o, uint64_t pc, struct cfi_row *ret);

/* cfi_function_of returns where the function begins that an instruction of the object belongs to,
 * or the part of it that the compiler has put elsewhere; 0: not known. */
uint64_t cfi_function_of(const struct cfi_object *o, uint64_t pc);

/* What an expression reads: the registers and memory of the frame.  load returns false if the
 * address can't be read. */
struct cfi_frame {
    const uint64_t *regs; /* CFI_NREGS of them */
    uint32_t known;       /* bit r: regs[r] is known */
    bool (*load)(void *memory, uint64_t addr, uint64_t *ret);
    void *memory;
};

/* cfi_evaluate computes a block; initial, if not NULL, is on the stack to begin with.  False: it
 * can't be computed. */
bool cfi_evaluate(const struct cfi_place *block, const struct cfi_frame *f, const uint64_t *initial,
                  uint64_t *ret);

#endif
