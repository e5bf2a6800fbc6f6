/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where a word stands that leads to an object: in another object, or in a root, and there: in which
 * thread's stack or register, and in the frame of which function.
 */
#ifndef GM_LEAK_WHY_PLACE_H
#define GM_LEAK_WHY_PLACE_H

#include "leak/roots.h"
#include "unwind/walk.h"

#define WHY_REGISTER 8 /* bytes of a register's name */

struct why_place {
    bool is_object;
    enum root_kind kind; /* of a root */
    uintptr_t word;      /* address of the word; 0: none is meant */
    uintptr_t start;     /* of the object, or of the root's range */
    uintptr_t end;
    uint32_t tid; /* the thread whose stack, variables or register it is, 0: none or not known */
    char reg[WHY_REGISTER]; /* of ROOT_REGISTER, "" otherwise */
    bool
        variable; /* ROOT_STACK: not of a stack, but of a thread's variables or libc's data of it */
    uintptr_t tp; /* then: the thread's pointer, 0: not known */
    uintptr_t pc; /* ROOT_STACK: in the function whose frame the word is in, 0: in none */
};

/* why_place_object is a word in an object. */
struct why_place why_place_object(uintptr_t object, size_t bytes, uintptr_t word);

/* why_place_tls returns the bytes of static thread-local variables, for roots.tls_bytes: what is
 * between the outermost frame of a thread and its pointer. */
uintptr_t why_place_tls(const struct roots *r);

/* why_place_variables returns where in a range of ROOT_STACK the static variables of a thread, and
 * libc's data of it, begin; the range's end: nowhere, or not known. */
uintptr_t why_place_variables(const struct roots *r, const struct root_place *range);

/* why_place_root is a word in a root's range.  It looks for the frame, where threads are at rest.
 */
struct why_place why_place_root(const struct roots *r, const struct root_place *range,
                                uintptr_t word);

/* why_place_thread returns the thread on whose stack, in a range of ROOT_STACK, the word is: its
 * stack pointer is the next below, as stacks of several threads may be one range.  NULL: none. */
const struct root_thread *why_place_thread(const struct roots *r, const struct root_place *range,
                                           uintptr_t word);

/* The frames of a thread that is stopped, from the innermost outwards. */
struct why_frames {
    uint64_t pc;     /* an instruction of the function */
    uintptr_t limit; /* the frame ends here, and that of its caller begins */
    uintptr_t end;   /* of the stack */
    unsigned n;      /* so far */
    enum walk_step step;
    struct stackmem memory;
    struct walk walk;
};

/* why_frames_begin is for a stack that ends at `end`; false: the thread's frames cannot be told.
 * why_frames_next goes on to the next frame; false: there is none. */
bool why_frames_begin(struct why_frames *f, const struct root_thread *t, uintptr_t end);
bool why_frames_next(struct why_frames *f);

#endif
