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
 * by which an outer frame is found.  Where rbp is not used before a step outwards restores it, it
 * is no part of the state, and a word that it is restored from not compared: most code keeps in it
 * what changes from call to call.  There the remembered rbp is of another time; should a walk go on
 * from such a frame, it is read again (out_rbp).
 *
 * Where a few stacks come in turn, whole ones are compared (replay_recall.c).
 *
 * Memory: 42 KiB of addresses a thread; what is touched is 48 bytes a frame, of the deepest stack
 * and of those known by heart. No locks, no errno; from the first capture on no call into libc but
 * _dl_find_object.  Not to be entered again by a signal handler in the same thread: the caller sees
 * to that.
 *
 * Frames beyond a bound.  The stack is walked to its end (at most REPLAY_MAX_WALK frames).  Of one
 * that is deeper than the bound, a quarter of the bound of outermost frames is kept and the rest of
 * innermost ones, and between them a frame that is none: GOMALLOC_FRAME_OMITTED plus their number.
 * That is rounded down to three binary digits beyond 15, so that a recursion that allocates at each
 * of its levels does not make a new stack at each.  Only the outer REPLAY_REMEMBERED frames can be
 * remembered, so a stack that is deeper costs 5 ns for each frame beyond.
 *
 * Which activations have ended (moment.h).  A live activation of the stack that the thread is on
 * must appear in a walk of it, so one that does not has ended, for certain.  The other way round
 * nothing is certain: a function that is called again from the same place looks the same.  Each
 * remembered frame has a stamp, the number of the capture since which it and all frames outside of
 * it have been there in each capture; stamps grow inwards.  The frames of a moment that are still
 * there are those with stamps not above its number, and they are as many of its outermost ones.
 * Registers are not looked at for that, only return addresses and their places: rbp may be another
 * one while the same activation goes on.
 *
 * It must be the same stack all the time: the activations of a coroutine that is suspended live on,
 * and are in nobody's walk.  So `continuous` is the capture since which that was certain.  It moves
 * to the present when the outermost frame is another one; when a walk goes from one stack to
 * another, and in the next one after that (a handler on a stack of its own may be a coroutine in
 * disguise; every signal counts as one); when frames are not remembered, because there are too many
 * or the walk was a slow one; when code was replaced; when the record is another thread's.  A jump
 * out of frames is none of these: they have ended.  Not noticed, and told wrongly, are coroutines
 * that share one piece of a stack in turns, by copying it away (greenlet) or by jumping back into
 * frames further in that were jumped out of.
 */
#ifndef GM_UNWIND_REPLAY_H
#define GM_UNWIND_REPLAY_H

#include <assert.h>
#include <stddef.h>

#include "unwind/moment.h"
#include "unwind/rowcache.h"
#include "unwind/stackmem.h"

#define REPLAY_REMEMBERED   528 /* frames */
#define REPLAY_NEW          128 /* frames walked newly that are still at hand when the end is reached */
#define REPLAY_MAX_WALK     16384
#define REPLAY_NODES        192 /* of stacks known by heart, less one */
#define REPLAY_INDEX        512
#define REPLAY_KNOWN_FRAMES 64 /* of one of them */
#define REPLAY_MISSED       64
#define REPLAY_ROOM         128

/* A state of a walk, and the step that was made from it. */
struct replay_step {
    uint64_t sp; /* CFA of the callee */
    uint64_t ra;
    uint64_t rbp;
    uint64_t row; /* of ra: the step outwards */
};

/* One that is remembered.  The frame outside of it is the next in the array. */
struct replay_frame {
    uint64_t sp;
    uint64_t ra;
    uint64_t rbp; /* of when the frame was walked; see REPLAY_RBP */
    uint64_t row;
    uint64_t saved_at; /* address of the word that the next frame's rbp is from; of that rbp itself,
                          if it does not matter there or the step leaves it as it is; of another
                          value, if the row is unusual */
    uint64_t stamp;    /* number of the capture since which it has been here, unbroken */
};

/* flags of a frame's row, beside those of rowcache.h */
#define REPLAY_INTERRUPTED (UINT64_C(1) << 30) /* by a signal */
#define REPLAY_FAR         (UINT64_C(1) << 31) /* the step read words outside of the stack in use */
#define REPLAY_RBP                                                                                 \
    (UINT64_C(1) << 56) /* rbp matters to this or an outer step before one restores it */

/* What a capture found. */
struct replay_stack {
    unsigned n;     /* frames, with the one for those omitted */
    unsigned known; /* of these, the outermost that the capture before had as its outermost */
    uint32_t flags; /* GOMALLOC_SITE_* */
    uint32_t site;  /* what replay_tell has said of this very stack, and then its frames are not
                       stored (but see replay_frames); 0: nothing */
    uint64_t total; /* frames of the stack */
};

/* A frame of stacks that are known by heart, which begins as struct replay_frame does
 * (replay_recall.c). */
struct replay_node {
    uint64_t sp;
    uint64_t ra;
    uint64_t rbp;
    uint64_t row;
    uint64_t saved_at; /* address of the word that the outer node's rbp is from, or of that rbp */
    uint32_t site;     /* of the stack of which it is the innermost frame; 0: not known */
    uint16_t outer;    /* name of the node of the frame outside of it, 0: there is none */
    uint8_t depth;     /* number of frames outside of it */
    bool hard;         /* to be compared is more than the return address of the outer node */
};

/* Its place among the others. */
struct replay_kin {
    uint16_t inner; /* a node that it is the outer one of, 0: none */
    uint16_t next;  /* another one that has the same outer one, 0: none */
};

/* Which stacks to know by heart, and whether it is worth it. */
struct replay_learning {
    uint32_t missed[REPLAY_MISSED]; /* sites of stacks that were walked, by their last digits */
    uint32_t key;                   /* where the present stack was looked for in the index;
                                       REPLAY_INDEX: nowhere */
    uint32_t tries;                 /* since it was decided last: captures that looked for theirs */
    uint32_t hits;                  /* and found it */
    uint32_t asleep;                /* captures that are not to look */
    uint32_t sleep;                 /* how long it was the last time; 0: it has paid since */
    uint32_t nnodes;                /* in use, with the first, which is none; 0: not begun yet */
    uint32_t generation;            /* of codeobj, for which they are right */
};

/* A thread's, aligned to a page.  All zero to begin with. */
struct replay {
    /* What is remembered ends at REPLAY_REMEMBERED, outermost last.  There stands a last one that
     * no frame is outside of.  What is used of the memory, in stacks that are not deep, is in the
     * middle, on one page: the first touch of a page takes 2 us. */
    struct replay_frame frames[REPLAY_REMEMBERED + 1];

    uint32_t nremembered;
    uint32_t thread;     /* number of the thread whose stack this is */
    uint32_t generation; /* of codeobj, for which the remembered is right */
    uint32_t have;       /* outermost frames that the last capture handed out or its caller knew */
    uint64_t number;     /* of the last capture, or of the present one */
    struct stackmem memory;
    struct replay_stack last; /* the last capture, as it is if it comes again */

    uint64_t home;       /* sp of the outermost frame in the thread's first capture; 0: none yet */
    uint64_t continuous; /* the capture since which stamps are to be believed */
    uint64_t hard;       /* of the outermost remembered frames, one a bit: which may be as
                            replay_node.hard says */
    uint32_t total;      /* frames of the last capture's stack */
    uint32_t plain;      /* outermost remembered frames within which no step left a stack */
    bool complete;       /* all frames of the last capture's stack are remembered */
    bool crossed;        /* it went over several stacks, or too deep; if not, `plain` is all */
    uint8_t why;         /* enum replay_verdict: for what reason `continuous` was moved */

    struct replay_learning learning;
    uint32_t nplaced;                     /* outermost frames whose nodes are known */
    uint16_t placed[REPLAY_KNOWN_FRAMES]; /* they, outermost first */
    uint64_t room[REPLAY_ROOM];           /* the caller's, for return addresses */
    struct replay_step steps[REPLAY_NEW]; /* of a walk, innermost first; a ring */

    uint16_t
        index[REPLAY_INDEX]; /* nodes of innermost frames, by what tells stacks apart; 0: none */
    struct replay_node nodes[REPLAY_NODES];
    struct replay_kin kin[REPLAY_NODES];
};

static_assert(offsetof(struct replay, steps[32]) / 4096 ==
                  offsetof(struct replay, frames[REPLAY_REMEMBERED - 16]) / 4096,
              "a thread's first capture touches one page");

/* replay_init makes everything ready that threads share.  False: not on this system.  Calls dlsym.
 */
bool replay_init(void);

/* replay_capture stores the frames outside of this library, innermost first, into pcs, which has
 * room for depth of them; those that are known are not stored: they are the same as in the capture
 * before, so the caller must still have them.  fp: the frame pointer of a function of this library
 * that is active, the farther out the better.  What is returned is overwritten by the next one. */
const struct replay_stack *replay_capture(struct replay *r, uint64_t fp, uint64_t *pcs,
                                          unsigned depth);

/* replay_frames stores the frames of the last capture that are not known, where it did not, for its
 * site was known; afterwards they are. */
void replay_frames(struct replay *r, uint64_t *pcs);

/* replay_tell says what the site of the last capture's stack is, for the next time. */
void replay_tell(struct replay *r, uint32_t site);

/* replay_observe is a capture that hands nothing out: afterwards moments can be compared with the
 * present.  What is known of the next capture is as if it had not been.  False: no stack to be had.
 */
bool replay_observe(struct replay *r, uint64_t fp);

/* replay_forget makes the next capture know nothing: its caller has not kept the last one. */
void replay_forget(struct replay *r);

/* replay_moment returns the last capture or observation as a moment. */
struct replay_moment replay_moment(const struct replay *r);

/* replay_ended says how many of the innermost activations f0, f1 ... of the moment had ended by the
 * last capture or observation; 0: none is seen to have.  Not REPLAY_TOLD: nothing can be said. */
enum replay_verdict replay_ended(const struct replay *r, struct replay_moment m,
                                 uint32_t *ret_ended);

/* replay_return_slot returns the address of f_k's return slot in the last capture or observation,
 * and what it holds; 0: it is not remembered, or f_k was not called. */
uint64_t replay_return_slot(const struct replay *r, uint32_t k, uint64_t *ret_value);

/* replay_is_at_home tells whether the last capture or observation was on the stack that the thread
 * was on in its first one, and not on a coroutine's, which may be a piece of it. */
bool replay_is_at_home(const struct replay *r);

/* replay_pc returns the address in that frame of the last capture or observation that is as far
 * from the outermost as f_k was at the moment; 0: it is not remembered.  That is where f_k is now,
 * if replay_ended says at most k and the function has not been called anew meanwhile. */
uint64_t replay_pc(const struct replay *r, struct replay_moment m, uint32_t k);

#endif
