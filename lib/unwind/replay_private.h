/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: how a remembered frame is compared with what is there now.
 */
#ifndef GM_UNWIND_REPLAY_PRIVATE_H
#define GM_UNWIND_REPLAY_PRIVATE_H

#include <assert.h>

#include "unwind/replay.h"
#include "unwind/walk.h"

gm_inline struct replay_frame *outermost(const struct replay *r) {
    return (struct replay_frame *)&r->frames[REPLAY_REMEMBERED];
}

gm_inline bool is_end(uint64_t ra) {
    return ra < WALK_LEAST_PC || ra >> ROW_ADDRESS_BITS != 0;
}

/* replay_outer returns the bits in replay.hard of the so many outermost frames. */
gm_inline uint64_t replay_outer(uint32_t n) {
    return n < 64 ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
}

gm_inline uint32_t least(uint64_t a, uint64_t b) {
    return (uint32_t)(a < b ? a : b);
}

/* UNUSUAL is in rows that are of other kinds than nearly all, ROW_RSP and ROW_RBP, or may not be
 * believed, or whose words may be gone.  ROW_SLOW is not remembered. */
#define UNUSUAL (ROW_DRAP | ROW_CHECKED | ROW_FLEETING | REPLAY_FAR)

static_assert((ROW_DRAP & (ROW_RSP | ROW_RBP)) == 0 && (ROW_DRAP & ROW_SIGNAL & ROW_END) != 0 &&
                  (ROW_DRAP & ROW_LOST) != 0,
              "one bit tells them apart");

/* saved_at returns the address for a frame with such a row and the next one outwards. */
gm_inline uint64_t saved_at(uint64_t row, const struct replay_frame *out) {
    static const uint64_t other[2] = {0, 1}; /* than rbp */
    if (gm_unlikely((row & UNUSUAL) != 0))
        return (uintptr_t)&other[out->rbp == 0];
    return row_rbp(row) != 0 && (out->row & REPLAY_RBP) != 0 ? out->sp - 8 * row_rbp(row)
                                                             : (uintptr_t)&out->rbp;
}

/* same_usual tells whether the frame is usual, and its words are the same.  The order of reading
 * does not matter: a step reads both. */
gm_inline bool same_usual(const struct replay_frame *f) {
    return gm_likely(stackmem_is(f->saved_at, 0, f[1].rbp)) &&
           gm_likely(stackmem_is(f[1].sp, -8, f[1].ra));
}

/* skip_usual returns the first frame from this one on for which that does not hold. */
gm_inline struct replay_frame *skip_usual(struct replay_frame *f) {
    for (;; f += 4) {
        if (!same_usual(f))
            return f;
        if (!same_usual(f + 1))
            return f + 1;
        if (!same_usual(f + 2))
            return f + 2;
        if (!same_usual(f + 3))
            return f + 3;
    }
}

/* is_rbp tells whether a walk goes on from the frame as it did if rbp is this one. */
gm_inline bool is_rbp(const struct replay_frame *f, uint64_t rbp) {
    return f->rbp == rbp || (f->row & REPLAY_RBP) == 0;
}

/* is_checked tells whether a frame is unusual for no other reason than that its code may be
 * unloaded (codeobj.h). */
gm_inline bool is_checked(const struct replay_frame *f) {
    return (f->row & UNUSUAL) == ROW_CHECKED;
}

/* same_checked tells of such a one whether its code is what it was, and its words are the same. */
gm_inline bool same_checked(struct codeobj_seen *seen, const struct replay_frame *f) {
    return codeobj_same(seen, walk_lookup_pc(f->ra, (f->row & REPLAY_INTERRUPTED) != 0)) &&
           stackmem_is(f[1].sp, -8, f[1].ra) &&
           (row_rbp(f->row) == 0 || (f[1].row & REPLAY_RBP) == 0 ||
            stackmem_is(f[1].sp - 8 * row_rbp(f->row), 0, f[1].rbp));
}

/* What a thread knows of itself.  A thread pointer would not do: it is used again. */
struct replay_self {
    struct replay *record; /* that its last capture was made with */
    uint32_t number;       /* 0: none yet */
};
extern gm_tls struct replay_self replay_self;

/* Captures of a stack that is not the last one: replay_recall of one that is known by heart
 * (replay_recall.c); false: it has done nothing, and replay_walk is to be asked.  sure: the first
 * frame of the last stack that is not known to be the same; the first of the array: no state is the
 * same; NULL: nothing is to be believed. */
bool replay_recall(struct replay *r, uint64_t fp, const struct replay_frame *sure);
void replay_walk(struct replay *r, uint64_t fp, uint64_t *pcs, unsigned depth,
                 struct replay_frame *sure);

#endif
