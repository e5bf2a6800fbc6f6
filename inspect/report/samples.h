/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sites of a target as the samples of a profile: what they hold and have allocated, with their
 * stacks.  For whoever writes profiles for other programs.
 *
 * A stack begins where sites are said to be: frames of malloc, of operator new and of wrappers are
 * left out, unless there is nothing else.
 */
#ifndef GOINSPECT_SAMPLES_H
#define GOINSPECT_SAMPLES_H

#include "target/target.h"

/* In the order in which Go's heap profiles have them. */
enum sample_value { ALLOC_OBJECTS, ALLOC_SPACE, INUSE_OBJECTS, INUSE_SPACE, SAMPLE_NVALUES };

/* Valid until the next one. */
struct sample {
    int64_t site;
    int64_t values[SAMPLE_NVALUES]; /* objects and bytes asked for */
    const char *escape;             /* what became of its objects, in words; NULL = not known */
    const int64_t *frames;          /* frame ids, innermost first */
    size_t nframes;                 /* 0: no stack; the site is then called so: */
    const char *name;
};

/* One function at a frame. */
struct sample_line {
    const char *function; /* if need be module+offset */
    const char *file;     /* "" = not known */
    int64_t line;         /* 0 = not known */
    int64_t column;       /* the same */
    bool named;           /* function is one */
};

/* Where a frame is. */
struct sample_code {
    const char *module; /* "" = none */
    uint64_t offset;    /* of the return address in the module's file; without one, the address */
};

struct samples;

/* samples_open begins to read them, biggest first; escape says whether that is wanted, which takes
 * time.  STATUS_DONE or *failure. */
enum status samples_open(const struct target *target, bool escape, struct samples **ret,
                         struct failure *failure);

/* samples_next returns false at the end. */
bool samples_next(struct samples *s, struct sample *ret);

/* samples_code tells where a frame is; valid until the next call of it. */
void samples_code(struct samples *s, int64_t frame, struct sample_code *ret);

/* samples_lines calls visit for each function at a frame, innermost first. */
void samples_lines(struct samples *s, int64_t frame,
                   void (*visit)(const struct sample_line *line, void *arg), void *arg);

/* samples_close tells whether all went well. */
enum status samples_close(struct samples *s, struct failure *failure);

#endif
