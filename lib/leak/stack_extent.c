/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How far a stack reaches.
 */
#include "leak/stack_extent.h"

#include "leak/peek.h"
#include "leak/red_zone.h"

#define FIRST ((size_t)256)  /* bytes of a descriptor before which the words are not looked for */
#define LAST  ((size_t)4096) /* and behind which */
#define ABOVE ((uintptr_t)64 << 10) /* a descriptor is that near to its stack's end */

/* As libc has it.  The first thread's stack begins at 0 there: all below its end is said to be it.
 */
struct words {
    uintptr_t begin; /* the guard's */
    uintptr_t size;  /* with the guard */
    uintptr_t guard;
};

static bool is_whole(uintptr_t n) {
    return n % PHYS_PAGE_SIZE == 0;
}

/* holds tells whether the words may be those of the stack that the descriptor is on. */
static bool holds(const struct words *w, uintptr_t descriptor) {
    return w->begin != 0 && w->begin < descriptor && w->size > descriptor - w->begin &&
           w->guard < descriptor - w->begin && is_whole(w->guard);
}

/* describes tells whether they must be. */
static bool describes(const struct words *w, uintptr_t descriptor) {
    return holds(w, descriptor) && is_whole(w->begin) && is_whole(w->size) &&
           w->begin + w->size - descriptor < ABOVE;
}

static size_t learn_from(uintptr_t descriptor) {
    uintptr_t read[LAST / sizeof(uintptr_t)];
    if (descriptor == 0)
        return 0;
    size_t n = peek(read, descriptor, sizeof read) / sizeof *read;
    for (size_t i = FIRST / sizeof *read; i + 3 <= n; i++)
        if (describes(&(struct words){read[i], read[i + 1], read[i + 2]}, descriptor))
            return i * sizeof *read;
    return 0;
}

size_t stack_extent_learn(const struct roots *r) {
    size_t place = learn_from(r->self_tp);
    for (size_t i = 0; place == 0 && i < r->nthreads; i++)
        place = learn_from(r->threads[i].tp);
    return place;
}

bool stack_extent_of(size_t place, const struct root_thread *t, struct stack_extent *ret) {
    struct words w;
    if (t->sp >= t->alt_lo && t->sp < t->alt_hi) {
        *ret = (struct stack_extent){t->alt_lo, red_zone_begin(t->alt_lo, t->sp), t->alt_hi};
        return true;
    }
    if (place == 0 || t->sp >= t->tp || peek(&w, t->tp + place, sizeof w) != sizeof w ||
        !holds(&w, t->tp) || t->sp < w.begin + w.guard)
        return false;
    *ret = (struct stack_extent){w.begin, red_zone_begin(w.begin, t->sp), w.begin + w.size};
    return true;
}

/* libc makes no stack without a guard unless it is told to. */
uintptr_t stack_extent_dead(size_t place, uintptr_t descriptor) {
    struct words w;
    bool known = place != 0 && peek(&w, descriptor + place, sizeof w) == sizeof w &&
                 describes(&w, descriptor) && w.guard != 0;
    return known ? w.begin : 0;
}
