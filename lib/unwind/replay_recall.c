/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: stacks that are known by heart.
 *
 * A server or a database allocates from a dozen places in turn, so that the stack before shares
 * only its outer half with the next one, which has been walked a hundred times all the same.  So a
 * few whole stacks are kept beside the last one.  What makes a remembered rest right (replay.h)
 * makes a remembered whole right: it begins with the state that the walk is to begin with, and
 * every word that was read still has its value.  Then it takes the place of the last stack, frame
 * by frame but for the outer ones that both have, and brings its site with it: nothing is looked
 * up.
 *
 * Only plain stacks are kept: not deep, on one stack of memory, no signal.  One is kept when it had
 * to be walked twice, and in the place of the one in its set that was put there first.  A set are
 * those of one place and depth of malloc's call; wrappers of malloc make many stacks begin alike,
 * so there are several to a set.
 */
#include "unwind/replay_private.h"

static inline struct replay_known *set_of(struct replay *r, uint64_t sp, uint64_t ra) {
    uint64_t h = (sp ^ ra << 4) * 0x9e3779b97f4a7c15u;
    return &r->known[h >> 32 & (REPLAY_SETS - 1)][0];
}

/* all_same tells whether the words and the code of the frames from f on, to the last one, which
 * ends the stack, are what they were. */
static inline bool all_same(struct codeobj_seen *seen, struct replay_frame *f,
                            const struct replay_frame *last) {
    for (;; f++) {
        f = skip_usual(f);
        if (f == last)
            return true;
        if (!is_checked(f) || !same_checked(seen, f))
            return false;
    }
}

/* is_plain tells whether all that is remembered is right now, to the outermost frame, and nothing
 * of it is unusual but that code may be unloaded. */
static bool is_plain(struct replay *r) {
    struct codeobj_seen seen = {.n = 0};
    return r->complete && !r->crossed && r->plain == r->nremembered &&
           r->nremembered <= REPLAY_KNOWN_FRAMES && r->last.n == r->last.total &&
           r->last.flags == 0 && (outermost(r)[-1].row & ~REPLAY_RBP) == ROW_END &&
           all_same(&seen, outermost(r) - r->nremembered, outermost(r) - 1);
}

/* copy copies n frames, the outermost of which is before `to`, and points them to each other. */
static inline void copy(struct replay_frame *to, const struct replay_frame *from, uint32_t n,
                        uint64_t stamp) {
    while (n-- != 0) {
        to--;
        from--;
        to->sp = from->sp;
        to->ra = from->ra;
        to->rbp = from->rbp;
        to->row = from->row;
        to->saved_at = saved_at(from->row, to + 1);
        to->stamp = stamp;
    }
}

/* learn keeps the last capture's stack, if it is of the kind that is kept. */
static void learn(struct replay *r, uint32_t site) {
    if (r->nremembered == 0 || !is_plain(r))
        return;
    const struct replay_frame *f = outermost(r) - r->nremembered;
    struct replay_known *k = set_of(r, f->sp, f->ra) + r->learning.turn++ % REPLAY_WAYS;
    k->n = r->nremembered;
    k->generation = r->generation;
    k->site = site;
    k->frames[k->n] = *outermost(r);
    copy(k->frames + k->n, outermost(r), k->n, 0);
}

void replay_tell(struct replay *r, uint32_t site) {
    if (site == 0 || r->last.site != 0 || r->last.n != r->last.total)
        return;
    r->last.site = site;
    if (r->learning.asleep != 0)
        return;
    uint32_t *missed = &r->learning.missed[site % REPLAY_MISSED];
    if (*missed == site)
        learn(r, site);
    *missed = site;
}

/* in_common returns how many outer frames of the known stack are those of the last one. */
static inline uint32_t in_common(const struct replay *r, const struct replay_known *k) {
    const struct replay_frame *a = outermost(r), *b = k->frames + k->n;
    uint32_t max = least(r->nremembered, k->n), n = 0;
    while (n < max && a[-1].sp == b[-1].sp && a[-1].ra == b[-1].ra) {
        a--;
        b--;
        n++;
    }
    return n;
}

/* take puts the known stack in the place of the last one.  False: they have not even the outermost
 * frame in common, or the last one was not plain. */
static inline bool take(struct replay *r, struct replay_known *k) {
    uint32_t n = in_common(r, k);
    uint32_t more = is_end(outermost(r)[-1].ra);
    if (gm_unlikely(n <= more))
        return false;
    struct replay_frame *to = outermost(r) - n;
    const struct replay_frame *from = k->frames + (k->n - n);
    copy(to, from, k->n - n, r->number + 1);
    __atomic_store_n(&r->number, r->number + 1, __ATOMIC_RELAXED);
    r->nremembered = r->plain = k->n;
    r->total = k->n - more;
    r->have = least(r->have, n - more);
    r->last =
        (struct replay_stack){.n = r->total, .known = r->have, .site = k->site, .total = r->total};
    return true;
}

#define TRIES     256
#define MIN_SLEEP 1024
#define MAX_SLEEP 32768

/* decide lets the next captures not look for their stacks, if too few of the last have found them:
 * where each stack is new, as in a compiler, looking would only cost. */
static gm_noinline void decide(struct replay_learning *l) {
    if (l->hits >= TRIES / 2)
        l->sleep = 0;
    else
        l->asleep = l->sleep = l->sleep == 0          ? MIN_SLEEP
                               : l->sleep < MAX_SLEEP ? 2 * l->sleep
                                                      : MAX_SLEEP;
    l->tries = l->hits = 0;
}

/* find returns the known stack that is the present one: from the state given on, every word is as
 * it was.  NULL: none. */
static inline struct replay_known *find(struct replay *r, uint64_t sp, uint64_t ra, uint64_t rbp) {
    struct replay_known *k = set_of(r, sp, ra);
    struct codeobj_seen seen;
    seen.n = 0;
    for (struct replay_known *end = k + REPLAY_WAYS; k < end; k++) {
        struct replay_frame *f = k->frames;
        if (k->site == 0 || k->generation != r->generation || f->sp != sp || f->ra != ra ||
            !is_rbp(f, rbp))
            continue;
        if (all_same(&seen, f, f + k->n - 1))
            return k;
    }
    return NULL;
}

bool replay_recall(struct replay *r, uint64_t fp) {
    uint32_t generation = atomic_load_explicit(&codeobj_generation, memory_order_acquire);
    if (replay_self.record != r || replay_self.number != r->thread || generation != r->generation ||
        !stackmem_is_here(&r->memory, fp) || !r->complete || r->crossed ||
        r->plain != r->nremembered)
        return false;
    if (gm_unlikely(++r->learning.tries == TRIES))
        decide(&r->learning);
    struct replay_known *k = find(r, fp + 16, stackmem_word(fp + 8), stackmem_word(fp));
    if (k == NULL)
        return false;
    atomic_thread_fence(memory_order_acquire);
    if (generation != atomic_load_explicit(&codeobj_generation, memory_order_relaxed) ||
        !take(r, k))
        return false;
    r->learning.hits++;
    return true;
}
