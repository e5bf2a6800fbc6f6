/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Objects that are lost on purpose: gomalloc_ignore.
 *
 * That an object is ignored stands beside its slot (heap/mslots.h), so it ends with the object, and
 * costs nobody anything who does not ignore.  A check follows the ignored ones last: so it is known
 * how many objects would have been told otherwise.
 */
#ifndef GM_LEAK_IGNORE_H
#define GM_LEAK_IGNORE_H

#include "leak/mark.h"

/* ignore_object has leak checks ignore the object that p points to or into, and what it leads to.
 * 0, or -EINVAL: there is none; -ENOMEM. */
int ignore_object(uintptr_t p);

/* ignore_each visits the live objects that are to be ignored. */
void ignore_each(void (*visit)(void *arg, uintptr_t object), void *arg);

struct ignored {
    uint64_t objects; /* that live and are to be ignored */
    uint64_t spared;  /* reached from these, and themselves, by no other way */
};

/* ignore_mark keeps the ignored objects, after everything else has been followed.  False: memory
 * was short. */
bool ignore_mark(struct mark *m, struct ignored *ret);

#endif
