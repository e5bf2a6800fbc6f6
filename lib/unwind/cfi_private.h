/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Call frame information: the records of a function, which cfi.c finds and both decoders read.
 */
#ifndef GM_UNWIND_CFI_PRIVATE_H
#define GM_UNWIND_CFI_PRIVATE_H

#include "unwind/cfi.h"
#include "unwind/cfi_cursor.h"

#define CFI_SAVED_ROWS 3 /* DW_CFA_remember_state within one another; compilers: 1 or 2 */

/* What a CIE says. */
struct cfi_cie {
    struct cfi_cursor program;
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding; /* of addresses in its FDEs */
    bool augmented;   /* FDEs have an augmentation, with its length */
    bool signal;
};

/* An FDE: its function, and the program. */
struct cfi_fde {
    struct cfi_cie cie;
    struct cfi_cursor program;
    uint64_t start;
    uint64_t end;
    uint64_t table_end; /* where .eh_frame_hdr's table ends; 0: it has none */
};

/* cfi_find_fde finds the FDE of an instruction of the object.  False: nothing is said about it. */
bool cfi_find_fde(const struct cfi_object *o, uint64_t pc, struct cfi_fde *ret);

/* cfi_full_row runs its programs up to the instruction.  False: they are not understood. */
bool cfi_full_row(const struct cfi_fde *fde, uint64_t pc, struct cfi_row *ret);

/* What a row mostly comes down to. */
struct cfi_short {
    int64_t cfa_offset; /* the CFA is so far from this register */
    int64_t rbp;        /* the caller's rbp is at CFA + this; 0: it is as it was */
    int64_t rip;        /* likewise; 0: nothing was said */
    uint8_t cfa_reg;
    bool cfa_known;
};

/* cfi_short_row is cfi_full_row for rows that come down to that, with rip at CFA - 8.  False: it
 * is none, or is to be found out by that. */
bool cfi_short_row(const struct cfi_fde *fde, uint64_t pc, struct cfi_short *ret);

#endif
