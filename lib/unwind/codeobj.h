/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which code is at an address, and whether it is still the same.
 *
 * What is computed from unwind information is remembered by address (rowcache.h, replay.h).  That
 * is right as long as the object there is the same.  The objects that the program was started with
 * stay for ever.  One that was loaded later may be unloaded, and another mapped over it; nothing
 * tells us: not every unloading goes through dlclose(), the loader's count of them is behind its
 * lock, and the loader may well give the new one the same struct link_map.  So such an object is
 * known by where it is and by its build-id, which is looked at again in each capture that meets it
 * (20 ns). One without a build-id is never remembered by: its unwind information is read each time.
 *
 * An object whose code is on the stack is not being unloaded, so it can be read.
 *
 * `generation` grows when an object is found to have taken the place of another.  Whoever has
 * remembered something under an older one forgets it.
 */
#ifndef GM_UNWIND_CODEOBJ_H
#define GM_UNWIND_CODEOBJ_H

#include <stdatomic.h>

#include "unwind/cfi.h"
#include "unwind/info_pages.h"

enum codeobj_kind {
    CODEOBJ_NONE,      /* not in an object */
    CODEOBJ_PERMANENT, /* never unloaded */
    CODEOBJ_CHECKED,   /* may be unloaded; codeobj_same tells */
    CODEOBJ_UNKNOWN    /* may be unloaded; nothing tells */
};

/* The objects that one capture has found to be the same; forgotten when it is done. */
#define CODEOBJ_SEEN 4
struct codeobj_seen {
    uint64_t start[CODEOBJ_SEEN]; /* a ring */
    uint64_t end[CODEOBJ_SEEN];
    unsigned n; /* entered so far; the rest is not set */
};

/* codeobj_init notes which objects are permanent: once, before the program can load others. */
void codeobj_init(void);

/* codeobj_fork_child does what threads that are no more may have begun. */
void codeobj_fork_child(void);

/* codeobj_of returns the object at the address, and makes it one that codeobj_same knows.
 * *ret_info: where it is noted what is read of its unwind information; NULL: nowhere, it may be
 * unloaded. */
enum codeobj_kind codeobj_of(uint64_t pc, struct cfi_object *ret, struct info_pages **ret_info);

/* codeobj_info returns what has been read of the i-th permanent object; NULL: there are no more. */
struct info_pages *codeobj_info(unsigned i);

/* codeobj_check is codeobj_same for an object that the capture has not met yet. */
bool codeobj_check(struct codeobj_seen *seen, uint64_t pc);

/* codeobj_same tells whether the CHECKED object at the address, which is on this thread's stack, is
 * the one it was.  If not, the generation has grown. */
gm_inline bool codeobj_same(struct codeobj_seen *seen, uint64_t pc) {
    for (unsigned i = 0; i < seen->n && i < CODEOBJ_SEEN; i++) {
        if (pc - seen->start[i] < seen->end[i] - seen->start[i])
            return true;
    }
    return codeobj_check(seen, pc);
}

extern _Atomic uint32_t codeobj_generation;

#endif
