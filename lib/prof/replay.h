/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: a thread's stack, walked only as far as it is new.
 *
 * A state of a walk is a return address, the stack pointer there, rbp, and whether the frame was
 * interrupted by a signal.  A step to the caller's state is a function of the state, of the row of
 * that address (rowcache.h), and of one to three words of the stack.  So if a walk arrives at a
 * state that the walk before has been in, and every word that the earlier one read from there on
 * still has the value it had, then it would continue just as the earlier one did, to the end.
 * Nothing is assumed about what happened in between: alloca, longjmp, signals, other stacks, tail
 * calls.  Whatever they changed that the walk would see is a word that differs.
 *
 * So a capture walks from the innermost frame outwards until it meets a remembered state, compares
 * the words of the remembered rest, and takes it over with the nodes it has in the stack table
 * (trail.h).  The words need not be stored: each is a part of the next state out, where the row
 * says. It is compared from the inside outwards and given up at the first difference, so only words
 * are read that a walk would read.  Where one differs, the walk goes on from there, and may meet a
 * remembered state again.
 *
 *      remembered   malloc <- f <- g <- h <- main      new   malloc <- k <- g <- h <- main
 *      walked       k, then g: remembered, same words in g, h, main: 2 steps and 3 comparisons
 *
 * A return address alone is not enough to recognise a frame, nor are the return addresses enough to
 * be compared: f may have been called again from elsewhere, with the same frame but another rbp,
 * by which an outer frame is found.
 *
 * Memory: 37 KiB of addresses a thread; what is touched is 32 bytes a frame, of the deepest stack.
 * No locks, no errno; from the first capture on no call into libc but _dl_find_object.  Not to be
 * entered again by a signal handler in the same thread: the caller sees to that.
 *
 * Frames beyond a bound.  The stack is walked to its end (at most REPLAY_MAX_WALK frames).  Of one
 * that is deeper than the bound, a quarter of the bound of outermost frames is kept and the rest of
 * innermost ones, and between them a frame that is none: GOMALLOC_FRAME_OMITTED plus their number.
 * That is rounded down to three binary digits beyond 15, so that a recursion that allocates at each
 * of its levels does not make a new stack at each.  Only the outer REPLAY_REMEMBERED frames can be
 * remembered, so a stack that is deeper costs 5 ns for each frame beyond.
 */
#ifndef GM_PROF_REPLAY_H
#define GM_PROF_REPLAY_H

#include "prof/rowcache.h"
#include "prof/stackmem.h"

#define REPLAY_REMEMBERED 576 /* frames */
#define REPLAY_NEW        576 /* frames walked newly that are still at hand when the end is reached */
#define REPLAY_ROOM       (REPLAY_REMEMBERED + REPLAY_NEW)
#define REPLAY_MAX_WALK   16384

struct replay_frame {
    uint64_t ra;
    uint64_t sp; /* CFA of the callee */
    uint64_t rbp;
    struct row row; /* of ra: the step outwards */
};

/* flags of a frame's row, beside those of struct row */
enum {
    REPLAY_INTERRUPTED = 0x10, /* by a signal */
    REPLAY_RBP = 0x20,         /* rbp matters to this or an outer step before one restores it */
    REPLAY_FAR = 0x40          /* the step read words outside of the stack that was in use */
};

/* What a capture found. */
struct replay_stack {
    unsigned n;     /* frames, with the one for those omitted */
    unsigned known; /* of these, the outermost that the capture before had as its outermost */
    uint32_t flags; /* GOMALLOC_SITE_* */
    uint64_t total; /* frames of the stack */
};

/* A thread's.  All zero to begin with. */
struct replay {
    struct stackmem memory;
    uint64_t thread;     /* thread pointer of the thread whose stack this is */
    uint32_t generation; /* of codeobj, for which the remembered is right */
    uint32_t nremembered;
    uint32_t have; /* outermost frames that the last capture handed out or its caller knew */
    struct replay_stack last; /* the last capture, as it is if it comes again */
    /* What is remembered ends at REPLAY_ROOM, outermost last; a walk fills the other end. */
    struct replay_frame frames[REPLAY_ROOM];
};

/* replay_init makes everything ready that threads share.  False: not on this system.  Calls dlsym.
 */
bool replay_init(void);

/* replay_capture stores the frames outside of this library, innermost first, into pcs, which has
 * room for depth of them; those that are known are not stored: they are the same as in the capture
 * before, so the caller must still have them. */
struct replay_stack replay_capture(struct replay *r, uint64_t *pcs, unsigned depth);

/* replay_forget makes the next capture know nothing. */
void replay_forget(struct replay *r);

#endif
