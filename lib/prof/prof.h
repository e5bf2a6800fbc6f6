/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The recorder: who allocated.  Go: runtime/mprof.go, malloc.go (profilealloc, nextSample).
 *
 * malloc counts down mcache.next_sample by the bytes asked for.  When it goes below zero, malloc
 * calls prof_sample, which draws the next distance, captures the stack and interns it as a site;
 * and after the allocation prof_record, which stores the site beside the slot (heap/mslots.h) and
 * counts it.  At rate 1 small objects take a shorter way (exact.h).  Free clears the record.  Live
 * figures are computed from the spans' bitmaps by who asks; the cumulative ones are counted here,
 * per thread, and summed on reading.
 *
 * The rate is the mean number of bytes between two samples: 1 = every allocation, 0 = none.
 *
 * The pieces: sampling (distances and weights), stack_table (frames and sites), capture (unwinders
 * behind an interface), thread (a thread's figures, site_map where they stand), figures (reading),
 * exact (everything recorded), prof (this file's functions).
 *
 * What the caller of prof_sample must see to:
 *  - no allocator lock is held;
 *  - the thread has an mcache of its own (not mcache0), which begins with next_sample =
 *    NEXT_SAMPLE_UNKNOWN, so that not even a malloc(0) is missed before the rate is known.
 */
#ifndef GM_PROF_PROF_H
#define GM_PROF_PROF_H

#include "heap/mcache.h"
#include "heap/mslots.h"
#include "prof/escape.h"

#define PROF_DEFAULT_RATE   524288 /* Go: MemProfileRate */
#define PROF_DEFAULT_DEPTH  128    /* frames */
#define PROF_MAX_DEPTH      512
#define PROF_DEFAULT_FRAMES ((uint32_t)4 << 20) /* of all stacks together */
#define PROF_MAX_FRAMES     16000000u           /* so that a site's number needs 24 bits */

struct prof_options {
    uint64_t rate;        /* bytes */
    const char *unwinder; /* "replay", "libunwind", "none"; NULL or unknown: the default */
    unsigned depth;       /* frames kept of a stack; 0: the default */
    uint32_t verify;      /* every so many-th capture of a thread is verified; 0: none */
    uint32_t max_frames;  /* bound of the stack table; 0: PROF_DEFAULT_FRAMES */
    uint32_t escape;      /* enum escape_mode */
};

/* prof_unwinder_known tells whether the option's value is one that prof_init understands. */
bool prof_unwinder_known(const char *unwinder);

/* prof_init sets the recorder up; called once, from the library's constructor (dlopen is legal
 * there), with malloc working.  It loads the unwinder if the rate is not 0.  Failing that, the
 * recorder works without stacks and counts that.
 *
 * prof_set_rate may be called before it, by the first allocation: what is recorded until prof_init
 * has no stack (site PROF_SITE_NONE), but every object is there. */
void prof_init(const struct prof_options *o);

/* The site of allocations whose stack is not known: STOPPED, frame 0. */
#define PROF_SITE_NONE 1u

/* What prof_sample found, for prof_record. */
struct prof_sample {
    uint32_t site;
    uint32_t chain; /* judged object that goes on in this one, 0: none.  Set between the two */
    uint64_t rate;  /* bytes: under which this one was drawn */
    bool judged;    /* it is to be judged, unless it goes on with a chain */
    struct escape_birth birth; /* if judged */
};

/* prof_sample is called by malloc when c->next_sample has gone below zero, before the allocation.
 * It re-arms next_sample; false: nothing to record.  errno is kept. */
bool prof_sample(struct mcache *c, size_t size, struct prof_sample *ret);

/* prof_record notes that p, just allocated by this thread for size bytes, is s. */
void prof_record(struct mcache *c, void *p, size_t size, const struct prof_sample *s);

/* prof_freed is told that p is about to be freed, an object whose free asks for it (FREE_ASK): the
 * object is judged, and free does not ask again.  No lock is held. */
void prof_freed(void *p);

/* realloc.  A judged object that is resized or moved goes on being judged, as one of the site where
 * it began.  Its chain is a number, 0: it is not judged.
 *
 *   prof_chain_at        returns that of a slot
 *   prof_chain_grown     counts one resizing
 *   prof_chain_take      takes it from the slot, so that the slot can be freed without asking
 *   prof_chain_put_back  leaves it where it was: nothing has come of it
 *   prof_chain_on        says that the object goes on at q, just allocated for size bytes, and not
 *                        sampled; if it was, prof_sample.chain says so to prof_record */
uint32_t prof_chain_at(const struct mspan *s, size_t slot);
void prof_chain_grown(uint32_t chain);
uint32_t prof_chain_take(struct mspan *s, size_t slot);
void prof_chain_put_back(struct mspan *s, size_t slot, uint32_t chain);
void prof_chain_on(void *q, size_t size, uint32_t chain);

/* prof_tag_site returns the site of a slot's tag, 0: not sampled. */
gm_inline uint32_t prof_tag_site(uint32_t tag) {
    return (tag & MSLOTS_ASK) == 0 ? tag : escape_present(tag);
}

/* prof_set_rate makes all threads follow the new rate; returns the old one.  From any thread, not
 * from within an allocation (but for the very first).  If it has to load the unwinder (rate was 0
 * until now), it calls dlopen. */
uint64_t prof_rate(void);
uint64_t prof_set_rate(uint64_t rate);

/* prof_rate_at returns the rate at which was recorded what has that epoch (heap/mslots.h). */
uint64_t prof_rate_at(uint16_t epoch);

/* prof_background does what is due: called by the library's own thread at every tick (about 1/s).
 * That thread must not have an mcache while it idles, or prof_fork_child takes it for one of the
 * program's. */
void prof_background(void);

/* For fork handlers.  prepare takes the stack table's lock: after the heap's locks, before
 * persistent_lock.  In the child of a process of several threads libunwind may hang for ever (its
 * locks, and the loader's, may be held by a thread that is no more), so there allocations are
 * recorded without stacks from then on if it is the unwinder. */
void prof_fork_prepare(void);
void prof_fork_parent(void);
void prof_fork_child(void);
bool prof_holds_lock(void); /* the calling thread holds one of the recorder's locks */

/* Reading, from any thread, without locks.  Frame nodes are 1 .. prof_nframes(), sites 1 ..
 * prof_nsites(); what is counted in these is complete.  Take nsites before nframes. */
uint32_t prof_nframes(void);
uint32_t prof_nsites(void);

/* prof_intern_stack puts a stack of n frames, innermost first, into the table; returns its node, 0:
 * there is no room. */
uint32_t prof_intern_stack(const uint64_t *pcs, unsigned n);

/* prof_frame: parent < node; 0 = none.  depth counts this frame and all outwards. */
void prof_frame(uint32_t node, uint64_t *ret_pc, uint32_t *ret_parent, uint32_t *ret_depth);

struct prof_site_figures {
    uint32_t node;  /* innermost frame, 0 = no stack */
    uint32_t flags; /* GOMALLOC_SITE_* */
    uint64_t samples;
    uint64_t sample_bytes;
    double alloc_objects; /* estimates: see gomalloc/image.h */
    double alloc_bytes;
};
void prof_site(uint32_t site, struct prof_site_figures *ret);

/* Counters: i from 0 while it returns true.  The names are "recorder.captures" and so on. */
struct prof_counter {
    const char *name;
    const char *unit;
    uint64_t value;
};
bool prof_counter(unsigned i, struct prof_counter *ret);

/* prof_unwinder returns the name for the image: "replay", "libunwind", "none". */
const char *prof_unwinder(void);

/* prof_exact_since_ns returns CLOCK_REALTIME since when every allocation has been recorded, or 0.
 * If that was so from the first allocation on, every live object has a slot record. */
uint64_t prof_exact_since_ns(void);

#endif
