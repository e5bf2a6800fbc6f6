/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What became of a site's objects: the figures of judged ones.
 *
 * Most sites have one or two objects in the life of a program, and there may be hundreds of
 * thousands of sites; so what a site costs grows with what is known of it:
 *
 *      nothing judged        1 byte
 *      objects judged        24 bytes more
 *      one freed             56 bytes more: the first three are kept one by one, as they were
 *      a fourth freed        376 bytes more: counts, and distributions of the lifetimes
 *      one resized of these  136 bytes more: distribution of the final sizes
 *
 * There is a bound on how many sites get to the fourth stage.  What is freed at the others beyond
 * their third object is not counted as judged; that it happened is counted.
 *
 * All figures but for four counts are under a lock of the caller's, which is held for some tens of
 * nanoseconds.  So whoever reads under it sees sums that add up: freed = the verdicts' sum, for it
 * is computed as that.
 */
#ifndef GM_PROF_ESCAPE_SITE_H
#define GM_PROF_ESCAPE_SITE_H

#include <stdatomic.h>

#include "prof/distribution.h"
#include "sys/lock.h"
#include "sys/mem.h"

enum escape_verdict {
    ESCAPE_OUTLIVED, /* with the number of frames */
    ESCAPE_OTHER_THREAD,
    ESCAPE_REENTERED,
    ESCAPE_SWITCHED,
    ESCAPE_STOPPED,
    ESCAPE_DEEP,
    ESCAPE_NVERDICTS
};

/* A judged object's end. */
struct escape_end {
    enum escape_verdict verdict;
    uint32_t frames; /* ESCAPE_OUTLIVED: activations that had ended */
    bool proved;     /* ESCAPE_OUTLIVED: and that the next one had not */
    uint64_t life_ns;
    uint64_t life_bytes;
    uint64_t size;    /* bytes asked for, at the end */
    uint32_t growths; /* times that it was resized or moved */
};

#define ESCAPE_OUTLIVED_KEPT 6 /* numbers of frames that a site counts one by one */

struct escape_outlived {
    uint32_t frames;
    uint32_t proved;
    uint64_t objects;
};

struct escape_figures;

struct escape_site {
    _Atomic uint32_t judged;
    _Atomic uint32_t ended;   /* of these; some may not yet be in the figures */
    _Atomic uint32_t stopped; /* ended with ESCAPE_STOPPED where the lock could not be taken */
    _Atomic uint32_t seen;    /* objects that were looked at, whether to judge them */
    _Atomic(struct escape_figures *) figures; /* made under the lock; NULL: none freed */
};

struct escape_sites {
    struct mutex *lock;     /* of all figures */
    struct mem_table table; /* of struct escape_site, by site id */
    struct mem_table thins; /* of bytes, by site id */
    _Atomic uint32_t reach; /* sites below are open in both */
    uint8_t *thin;          /* escape.h's; base of thins */
    uint32_t nmany;         /* sites that have got to the fourth stage.  Lock */
    _Atomic uint64_t nfull; /* objects not judged after all: bounds, or no memory */
};

#define ESCAPE_SITES_MAX ((uint32_t)1 << 20) /* later ones are not judged */

/* escape_sites_init reserves address space.  False: there is none. */
bool escape_sites_init(struct escape_sites *t, struct mutex *lock);

/* escape_sites_open makes site's entries usable.  False: no memory. */
bool escape_sites_open(struct escape_sites *t, uint32_t site);

gm_inline struct escape_site *escape_site_at(const struct escape_sites *t, uint32_t site) {
    return (struct escape_site *)t->table.base + site;
}

/* escape_site_end counts an object's end.  bound: sites that may get to the fourth stage.  False:
 * there was no room; then the object was none that was judged.  The lock is held. */
bool escape_site_end(struct escape_sites *t, uint32_t site, const struct escape_end *e,
                     uint32_t bound);

/* escape_site_stopped counts one as ESCAPE_STOPPED without the lock and without its lifetime: where
 * a signal handler may have interrupted who holds it. */
void escape_site_stopped(struct escape_sites *t, uint32_t site);

/* escape_site_usual returns how many frames the site's objects have outlived most often, or one
 * that has if they are few; 0 if none has been freed. */
uint32_t escape_site_usual(struct escape_sites *t, uint32_t site);

/* What is known of a site. */
struct escape_summary {
    uint64_t judged;
    uint64_t freed;
    uint64_t verdicts[ESCAPE_NVERDICTS]; /* [ESCAPE_OUTLIVED]: their sum */
    struct escape_outlived outlived[ESCAPE_OUTLIVED_KEPT];
    uint32_t noutlived;
    struct escape_outlived more; /* of all other numbers of frames */
    double life_ns[2];           /* median, 99th percentile */
    double life_bytes[2];
    double final_size[2]; /* of those resized */
    uint64_t chains;      /* freed ones that had been resized */
    uint64_t growths;
};

/* escape_site_read: from any thread.  False: nothing of the site was judged. */
bool escape_site_read(struct escape_sites *t, uint32_t site, struct escape_summary *ret);

#endif
