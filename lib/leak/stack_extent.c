/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How far a stack reaches.
 */
#include "leak/stack_extent.h"

#include <stdlib.h>
#include <ucontext.h>

#include "leak/peek.h"
#include "leak/red_zone.h"
#include "leak/why_place.h"

#define FIRST    ((size_t)256) /* bytes of a descriptor before which the words are not looked for */
#define LAST     ((size_t)4096)        /* and behind which */
#define LEFT_OUT ((uintptr_t)128)      /* the frames of a whole stack leave out less */
#define ABOVE    ((uintptr_t)64 << 10) /* a descriptor is that near to its stack's end */

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
        *ret = (struct stack_extent){
            .lo = t->alt_lo, .live = red_zone_begin(t->alt_lo, t->sp), .hi = t->alt_hi};
        return true;
    }
    if (place == 0 || t->sp >= t->tp || peek(&w, t->tp + place, sizeof w) != sizeof w ||
        !holds(&w, t->tp) || t->sp < w.begin + w.guard)
        return false;
    *ret = (struct stack_extent){
        .lo = w.begin, .live = red_zone_begin(w.begin, t->sp), .hi = w.begin + w.size};
    return true;
}

/* The loader notes where the first thread's frames begin. */
extern void *__libc_stack_end __attribute__((weak));

static uintptr_t start_context; /* what a function of makecontext's returns to; 0: not known */

/* A context that nobody goes to has it on top of its stack. */
void stack_extent_know_contexts(void) {
    uint64_t stack[64] __attribute__((aligned(16)));
    ucontext_t uc = {.uc_stack = {.ss_sp = stack, .ss_size = sizeof stack}};
    makecontext(&uc, abort, 0);
    uintptr_t sp = (uintptr_t)uc.uc_mcontext.gregs[REG_RSP];
    if (sp - (uintptr_t)stack < sizeof stack)
        start_context = *(const uint64_t *)sp;
}

/* Of a context libc marks the end badly: a walk is lost there. */
static bool ends_in_context(const struct why_frames *f) {
    return f->step == WALK_LOST && start_context != 0 && f->walk.regs[CFI_RIP] == start_context;
}

bool stack_extent_nested(const struct root_thread *t, uintptr_t tls_bytes, bool first) {
    struct why_frames f;
    uintptr_t top = first && &__libc_stack_end != NULL ? (uintptr_t)__libc_stack_end
                    : !first && tls_bytes != 0         ? t->tp - tls_bytes
                                                       : 0;
    if (t->sp >= top || !why_frames_begin(&f, t, top))
        return false;
    while (why_frames_next(&f))
        continue;
    return ends_in_context(&f) || (f.step == WALK_END && f.limit < top && top - f.limit > LEFT_OUT);
}

/* libc makes no stack without a guard unless it is told to. */
uintptr_t stack_extent_dead(size_t place, uintptr_t descriptor) {
    struct words w;
    bool known = place != 0 && peek(&w, descriptor + place, sizeof w) == sizeof w &&
                 describes(&w, descriptor) && w.guard != 0;
    return known ? w.begin : 0;
}
