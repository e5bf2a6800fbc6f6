/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capturing the calling thread's stack: an interface, and the unwinders behind it.
 *
 * Frames are return addresses, innermost first.  Those of this library itself come first and are
 * dropped, so the first one kept is that of malloc's caller (or of operator new's).  At most
 * `depth` frames are kept, the innermost ones.
 *
 * What holds for every unwinder: it is called with no lock of ours held; never recursively in a
 * thread; it keeps errno; it may fail.
 *
 * What no unwinder here can know: how much stack is left.  libunwind needs 5 KB below its caller,
 * so a program that allocates on coroutine or signal stacks smaller than that plus its own needs
 * must not be recorded with stacks (unwinder=none).
 */
#ifndef GM_PROF_CAPTURE_H
#define GM_PROF_CAPTURE_H

#include "sys/compiler.h"

struct capture_backend {
    const char *name; /* the option's value */
    /* init makes it ready; dlopen is legal.  False: it can't be used here. */
    bool (*init)(void);
    /* capture stores up to max frames of its caller and outwards; returns how many. */
    unsigned (*capture)(uint64_t *pcs, unsigned max);
};

extern const struct capture_backend capture_libunwind;

#define CAPTURE_SLACK 16 /* frames of this library that may stand before the caller's, plus one */

enum capture_state {
    CAPTURE_OFF,     /* nothing asked for yet */
    CAPTURE_LOADING, /* some thread is in init */
    CAPTURE_READY,
    CAPTURE_FAILED,  /* init failed */
    CAPTURE_STOPPED, /* given up in a forked child */
    CAPTURE_NONE     /* not wanted */
};

/* capture_find returns the unwinder of that name, or NULL. */
const struct capture_backend *capture_find(const char *name);

/* capture_configure says which unwinder to use (NULL: none) and how many frames to keep.  Before
 * any other thread runs. */
void capture_configure(const struct capture_backend *b, unsigned depth);

/* capture_load makes the unwinder ready, unless that was done or tried.  Calls dlopen. */
void capture_load(void);

/* capture_stop ends all capturing for good: for a forked child. */
void capture_stop(void);

enum capture_state capture_state(void);
const char *capture_name(void); /* of the unwinder in use; "none" */
unsigned capture_depth(void);

/* capture_stack captures the stack into buf, which has room for capture_depth() + CAPTURE_SLACK
 * frames; returns the number of frames kept, which begin at *ret_pcs; 0 = none to be had.
 * *ret_flags: GOMALLOC_SITE_*. */
unsigned capture_stack(uint64_t *buf, uint64_t **ret_pcs, uint32_t *ret_flags);

#endif
