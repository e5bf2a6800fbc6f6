/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The leaked objects, each under the one whose loss has lost it.
 *
 * What a mark has left unseen has leaked.  An object that another leaked one points to is an
 * indirect leak: had the other been freed with care, this one would have been.  So the leaks are
 * grouped, each under a direct one, its head:
 *
 *      a -> b -> c      head a: b and c are indirect
 *      d <-> e -> f     a ring has no beginning: one of d and e is the head, f is indirect
 *
 * Of a ring the head is an object that the others lead to by its middle only, if there is one, as
 * to the owner of a container of C++; else the largest; of equals the first by address.
 *
 * The heads are as few as can be: one for each strongly connected component that no other leaked
 * object leads to (so f, which a ring leads to, is never a head).  An object that two heads lead to
 * is counted under one of them.
 */
#ifndef GM_LEAK_LEAKS_H
#define GM_LEAK_LEAKS_H

#include "leak/mark.h"

struct leak {
    uintptr_t address;
    uint32_t head; /* index of its head in leaks.all; its own index: it is a head, a direct leak */
    uint32_t state;
};

struct leaks {
    struct leak *all; /* by address */
    size_t n;
    size_t ndirect;
    size_t bytes; /* of memory taken */
};

#define LEAKS_MAX UINT32_MAX

/* leaks_find fills ret from a mark that is done, and numbers its objects.  False: no memory. */
bool leaks_find(struct mark *m, struct leaks *ret);

void leaks_free(struct leaks *l);

#endif
