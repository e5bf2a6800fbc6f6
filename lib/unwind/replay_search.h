/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: a walk that is under way, until it has met what is remembered or is at its end.
 */
#ifndef GM_UNWIND_REPLAY_SEARCH_H
#define GM_UNWIND_REPLAY_SEARCH_H

#include "unwind/replay_private.h"

/* A walk that is under way. */
struct search {
    struct replay *r;
    uint64_t *pcs; /* of the innermost frames */
    unsigned depth;
    uint32_t nnew;             /* frames walked; the last REPLAY_NEW of them are in the ring */
    uint32_t handed;           /* of these, in pcs; at nnew == handed + REPLAY_NEW it is time */
    struct replay_frame *at;   /* remembered frames from here on may still be met */
    struct replay_frame *sure; /* from the first remembered to here, all is as it was */
    struct replay_step now;    /* row: no more than REPLAY_INTERRUPTED */
    struct codeobj_seen seen;
};

enum outcome {
    GOES_ON,
    ENDED,
    MET,     /* the rest is the remembered one, from s->at on */
    ENDLESS, /* REPLAY_MAX_WALK */
    IS_SLOW,
    STALE /* code was replaced: what is remembered is not to be trusted */
};

/* put_step stores a step, word by word: copying a struct would read its words two by two. */
gm_inline void put_step(struct replay_step *to, uint64_t sp, uint64_t ra, uint64_t rbp,
                        uint64_t row) {
    to->sp = sp;
    to->ra = ra;
    to->rbp = rbp;
    to->row = row;
}

/* hand stores the return addresses of the new frames that have not been, as long as all are in the
 * ring. */
gm_inline void hand(struct search *s) {
    for (; s->handed < s->nnew; s->handed++) {
        if (s->handed < s->depth)
            s->pcs[s->handed] = s->r->steps[s->handed % REPLAY_NEW].ra;
    }
}

/* drop makes the next walk meet nothing. */
gm_inline void drop(struct replay *r, enum replay_verdict why) {
    r->nremembered = 0;
    r->nplaced = 0;
    r->plain = 0;
    r->have = 0;
    r->complete = false;
    r->why = (uint8_t)why;
}

/* search_stack walks from who called the function with that frame pointer.  STALE: what it found is
 * not to be used. */
enum outcome search_stack(struct search *s, uint64_t fp);

/* search_slowly does a full walk, from s->now's frame on; the frames can't be remembered. */
enum outcome search_slowly(struct search *s);

#endif
