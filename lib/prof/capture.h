/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Capturing the calling thread's stack: an interface, and the unwinders behind it.
 *
 * Frames are return addresses, innermost first.  Those of this library itself come first and are
 * dropped, so the first one kept is that of malloc's caller (or of operator new's).
 *
 * What holds for every unwinder: it is called with no lock of ours held; never recursively in a
 * thread; it keeps errno; it may fail.
 *
 *   replay     verified replay (replay.h).  The stack is walked to its end; of one deeper than the
 *              bound, innermost and outermost frames are kept, with their number between.
 *   libunwind  unw_backtrace.  The innermost frames are kept.  It needs 5 KB of stack below its
 *              caller, so a program that allocates on coroutine or signal stacks smaller than that
 *              plus its own needs must not be recorded with it.
 */
#ifndef GM_PROF_CAPTURE_H
#define GM_PROF_CAPTURE_H

#include "unwind/moment.h"
#include "sys/compiler.h"

struct replay;
struct verify;

/* What one capture found. */
struct capture_stack {
    uint64_t *pcs;  /* the frames but for the known ones, innermost first */
    unsigned n;     /* frames; 0 = none to be had */
    unsigned known; /* the outermost of them that are the same as in this thread's last capture */
    uint32_t flags; /* GOMALLOC_SITE_* */
    uint32_t site;  /* not 0: what capture_tell has said of this very stack, and the frames are not
                       there, unless verified */
    uint64_t total; /* frames of the whole stack; replay's only */
};

/* What capturing needs of a thread.  All zero until capture_self_init; the thread's alone. */
struct capture_self {
    uint64_t *pcs;         /* room for capture_room() frames; with replay, for the depth */
    struct replay *replay; /* NULL: another unwinder */
    struct verify *verify; /* NULL: not wanted */
};

struct capture_backend {
    const char *name; /* the option's value */
    /* init makes it ready; dlopen is legal.  False: it can't be used here. */
    bool (*init)(void);
    /* init_thread gives the thread what it needs.  False: no memory. */
    bool (*init_thread)(struct capture_self *t);
    /* capture captures its caller's stack.  fp: the caller's frame pointer. */
    void (*capture)(struct capture_self *t, uint64_t fp, struct capture_stack *ret);
    bool fork_safe;     /* may be used in the forked child of a process of several threads */
    bool at_thread_end; /* allots nothing of libc's to a thread, which one that ends would keep */
};

extern const struct capture_backend capture_replay;
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

struct capture_options {
    const struct capture_backend *backend; /* NULL: none */
    const struct capture_backend *instead; /* if that one can't be used here; or NULL */
    unsigned depth;                        /* frames kept */
    uint32_t verify;                       /* every so many-th capture is verified, 0: none */
};

/* capture_configure: before any other thread runs. */
void capture_configure(const struct capture_options *o);

/* capture_load makes the unwinder ready, unless that was done or tried.  Calls dlsym or dlopen. */
void capture_load(void);

/* capture_fork_child is for the child of a process of several threads: an unwinder that may wait
 * there for a thread that is no more is not used again. */
void capture_fork_child(void);

enum capture_state capture_state(void);
const char *capture_name(void); /* of the unwinder in use; "none" */
unsigned capture_depth(void);

/* capture_room returns how many words capture_self.pcs has at most. */
unsigned capture_room(void);

/* capture_self_init gives a thread what the unwinder in use needs.  False: no memory. */
bool capture_self_init(struct capture_self *t);

/* capture_take captures the stack; false: none to be had. */
bool capture_take(struct capture_self *t, struct capture_stack *ret);

/* capture_tell says what the site of the last capture's stack is, for the next time; 0: not known.
 */
void capture_tell(struct capture_self *t, uint32_t site);

/* capture_forget: the last capture's frames have not been kept by the caller. */
void capture_forget(struct capture_self *t);

/* For telling which activations have ended: see replay.h.  With another unwinder nothing is told:
 * moments have no number, and there are no return slots. */
struct replay_moment capture_moment(const struct capture_self *t);
bool capture_observe(struct capture_self *t); /* after capture_self_init */
enum replay_verdict capture_ended(const struct capture_self *t, struct replay_moment m,
                                  uint32_t *ret_ended);
uint64_t capture_return_slot(const struct capture_self *t, uint32_t k, uint64_t *ret_value);
bool capture_is_at_home(const struct capture_self *t); /* not on a coroutine's stack */
uint64_t capture_pc(const struct capture_self *t, struct replay_moment m, uint32_t k);

/* What verifying has counted, in all threads. */
struct capture_verified {
    uint64_t captures;
    uint64_t differences;           /* from a full walk, or from libunwind */
    uint64_t libunwind_captures;    /* compared with libunwind too */
    uint64_t libunwind_differences; /* of the differences: from libunwind */
};
struct capture_verified capture_verified(void);

#endif
