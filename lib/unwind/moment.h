/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Moments in a thread's life, for telling afterwards which of its calls have ended.
 *
 * An activation is one execution of a function: it begins when a call pushes the return slot, and
 * ends when it returns or is jumped out of.  f0 is the activation that called malloc (or free), f1
 * its caller, and so on.  The return slot of f_k is found by the frame of f_(k+1); f0's own frame
 * says only where in f0 the call is, and is another one at malloc and at free.
 *
 * Captures of a thread are numbered.  A moment is one of them, with the number of its frames, so
 * that they can be found again: counted from the outermost, a frame stays where it is as long as
 * the calls outside of it last.
 */
#ifndef GM_UNWIND_MOMENT_H
#define GM_UNWIND_MOMENT_H

#include <stdint.h>

struct replay_moment {
    uint64_t when;   /* the capture's number; 0: nothing can be told of it */
    uint32_t depth;  /* frames of the whole stack, from malloc's caller outwards */
    uint32_t thread; /* number of the thread, from 1; no two threads of a process have the same */
};

/* Whether what has ended since a moment can be told. */
enum replay_verdict {
    REPLAY_TOLD,
    REPLAY_SWITCHED, /* the thread was on another stack meanwhile, or this is another thread */
    REPLAY_STOPPED,  /* a stack could not be walked, or not by replay; or code was replaced */
    REPLAY_DEEP      /* a stack was deeper than is remembered */
};

#endif
