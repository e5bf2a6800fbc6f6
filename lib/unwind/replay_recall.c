/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Verified replay: stacks that are known by heart.
 *
 * Programs allocate from some dozens of places in turn, so that the stack before shares only its
 * outer half with the next one, which has been walked a hundred times all the same.  So whole
 * stacks are kept beside the last one.  What makes a remembered rest right (replay.h) makes a
 * remembered whole right: it begins with the state that the walk is to begin with, and every word
 * that matters still has its value.  Then it takes the place of the last stack, frame by frame but
 * for the outer ones that both have, and brings its site with it: nothing is looked up.
 *
 * Stacks share their outer frames, so they are kept as a tree of states.  A node is a frame that is
 * found under that of its caller, and a stack is known by its innermost one.  The frames of the
 * last stack know their nodes, where they have some (`placed`); so who goes outwards from a node
 * and meets one of them goes on in the array.
 *
 *      last    malloc <- f <- g <- main       1: main   2: g, under 1   3: f, under 2
 *      known   malloc <- k <- g <- main       4: k, under 2, with its site: k is compared, and
 *                                             g and main where they stand
 *
 * Which one is tried.  The state at malloc's call is the same for many stacks, as wrappers of
 * malloc are.  But the comparison with the last stack has come to a word that differs, and what
 * stands there now is where this stack is another one: where a stack was found under such a word,
 * it is looked for the next time (`index`).  If that one is not it either, there is another word
 * that differs, by which another one may be found.
 *
 * Only plain stacks are kept: not deep, on one stack of memory, no signal.  One is kept when it had
 * to be walked twice.  When there is no room for another one, all are forgotten: those that come
 * will soon be known again.
 */
#include "unwind/replay_private.h"

#define TRIES 3 /* stacks that one is compared with */

/* all_same tells whether the words and the code of the frames from f on, to the last one, which
 * ends the stack, are what they were. */
gm_inline bool all_same(struct codeobj_seen *seen, struct replay_frame *f,
                        const struct replay_frame *last) {
    for (;; f++) {
        f = skip_usual(f);
        if (f == last)
            return true;
        if (!is_checked(f) || !same_checked(seen, f))
            return false;
    }
}

/* ---- learning ---- */

/* is_plain tells whether all that is remembered is right now, to the outermost frame, and nothing
 * of it is unusual but that code may be unloaded. */
static bool is_plain(struct replay *r) {
    struct codeobj_seen seen = {.n = 0};
    return !r->crossed && r->nremembered <= REPLAY_KNOWN_FRAMES && r->last.n == r->last.total &&
           r->last.flags == 0 && (outermost(r)[-1].row & ~REPLAY_RBP) == ROW_END &&
           all_same(&seen, outermost(r) - r->nremembered, outermost(r) - 1);
}

static void forget_all(struct replay *r) {
    r->nplaced = 0;
    r->learning.nnodes = 1;
    r->learning.generation = r->generation;
    r->kin[0].inner = 0;
    for (unsigned i = 0; i < REPLAY_INDEX; i++)
        r->index[i] = 0;
}

/* node_under returns the node of a frame under that of its caller, 0: under none; made if there is
 * none.  0: no room. */
static uint32_t node_under(struct replay *r, uint32_t outer, const struct replay_frame *f) {
    for (uint32_t i = r->kin[outer].inner; i != 0; i = r->kin[i].next) {
        const struct replay_node *n = &r->nodes[i];
        if (n->sp == f->sp && n->ra == f->ra && n->row == f->row && is_rbp(f, n->rbp))
            return i;
    }
    if (r->learning.nnodes == REPLAY_NODES)
        return 0;
    uint32_t id = r->learning.nnodes++;
    const struct replay_node *out = &r->nodes[outer];
    bool compared = row_rbp(f->row) != 0 && (f[1].row & REPLAY_RBP) != 0;
    r->nodes[id] = (struct replay_node){.sp = f->sp,
                                        .ra = f->ra,
                                        .rbp = f->rbp,
                                        .row = f->row,
                                        .saved_at = compared ? f[1].sp - 8 * row_rbp(f->row)
                                                             : (uintptr_t)&out->rbp,
                                        .outer = (uint16_t)outer,
                                        .depth = outer != 0 ? (uint16_t)(out->depth + 1) : 0};
    r->kin[id] = (struct replay_kin){.inner = 0, .next = r->kin[outer].inner};
    r->kin[outer].inner = (uint16_t)id;
    return id;
}

/* place gives the frames that have none their nodes.  False: no room. */
static bool place(struct replay *r) {
    uint32_t id = r->nplaced != 0 ? r->placed[r->nplaced - 1] : 0;
    while (r->nplaced < r->nremembered) {
        id = node_under(r, id, outermost(r) - 1 - r->nplaced);
        if (id == 0)
            return false;
        r->placed[r->nplaced++] = (uint16_t)id;
    }
    return true;
}

/* learn keeps the last capture's stack, if it is of the kind that is kept, for when it is looked
 * for as it was this time. */
static void learn(struct replay *r, uint32_t site) {
    struct replay_learning *l = &r->learning;
    if (l->key == REPLAY_INDEX || r->nremembered == 0 || !is_plain(r))
        return;
    if (l->generation != r->generation || l->nnodes == 0)
        forget_all(r);
    if (!place(r)) {
        forget_all(r);
        place(r);
    }
    uint16_t id = r->placed[r->nremembered - 1];
    r->nodes[id].site = site;
    r->index[l->key] = id;
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

/* ---- finding ---- */

/* A known stack that is compared with the present one. */
struct trial {
    struct replay *r;
    uint64_t sp, ra, rbp; /* the present state */
    uint32_t key;         /* where in the index it was found, or is to be found the next time */
    uint32_t next;        /* where another one is */
    uint32_t n;           /* frames that the last stack does not have */
    uint16_t nodes[REPLAY_KNOWN_FRAMES]; /* of these, innermost first */
    uint32_t joined;                     /* outer frames that it has, by their nodes */
};

/* another_key returns where those stacks are in the index that differ at sp from the one of a key:
 * there is this word. */
static inline uint32_t another_key(uint32_t key, uint64_t sp, uint64_t word) {
    uint64_t h = (sp ^ word << 4 ^ key) * 0x9e3779b97f4a7c15u;
    return h >> 32 & (REPLAY_INDEX - 1);
}

/* key_outside is that for a step outwards by the row, to a frame at sp, and with its flags.  The
 * words can be read. */
static inline uint32_t key_outside(uint32_t key, uint64_t row, uint64_t sp, uint64_t flags) {
    uint64_t word = stackmem_word(sp - 8);
    if (row_rbp(row) != 0 && (flags & REPLAY_RBP) != 0)
        word += stackmem_word(sp - 8 * row_rbp(row));
    return another_key(key, sp, word);
}

/* same_code tells whether the code at a node is what it was. */
static inline bool same_code(struct codeobj_seen *seen, const struct replay_node *n) {
    return gm_likely((n->row & ROW_CHECKED) == 0) ||
           codeobj_same(seen, walk_lookup_pc(n->ra, false));
}

/* same_start tells whether a stack begins with the present state. */
static inline bool same_start(struct trial *t, const struct replay_node *n) {
    if (gm_unlikely(n->sp != t->sp || n->ra != t->ra))
        return false;
    if (gm_likely(n->rbp == t->rbp || (n->row & REPLAY_RBP) == 0))
        return true;
    t->next = another_key(t->key, t->sp, t->rbp);
    return false;
}

/* try_stack compares a stack, from the inside outwards.  On a difference t->next is where the next
 * one to be tried is, or this one.  What does not change is read once: the comparisons are said to
 * read all memory. */
static inline bool try_stack(struct trial *t, uint32_t id) {
    struct replay *r = t->r;
    const struct replay_node *nodes = r->nodes, *n = &nodes[id];
    const uint64_t lo = r->memory.lo, size = r->memory.hi - lo;
    const uint32_t nplaced = r->nplaced;
    uint32_t fresh = 0;
    struct codeobj_seen seen;
    seen.n = 0;
    if (!same_start(t, n))
        return false;
    while (n->depth >= nplaced || r->placed[n->depth] != id) {
        t->nodes[fresh++] = (uint16_t)id;
        id = n->outer;
        if (gm_unlikely(id == 0)) { /* the outermost */
            t->joined = 0;
            t->n = fresh;
            return true;
        }
        const struct replay_node *out = &nodes[id];
        if (gm_unlikely(out->sp - 8 - lo >= size) || !same_code(&seen, n))
            return false;
        if (gm_unlikely(!stackmem_is(n->saved_at, 0, out->rbp)) ||
            gm_unlikely(!stackmem_is(out->sp, -8, out->ra))) {
            t->next = key_outside(t->key, n->row, out->sp, out->row);
            return false;
        }
        n = out;
    }
    t->n = fresh;
    t->joined = n->depth + 1u;
    return all_same(&seen, outermost(r) - t->joined, outermost(r) - 1);
}

/* find returns the innermost node of the known stack that is the present one; 0: none. */
static inline uint32_t find(struct trial *t, const struct replay_frame *sure) {
    t->next = another_key(0, t->sp, t->ra);
    if (sure != t->r->frames && (sure->row & UNUSUAL) == 0)
        t->next = key_outside(t->next, sure->row, sure[1].sp, sure[1].row);
    t->key = t->next;
    if (t->r->learning.nnodes == 0 || t->r->learning.generation != t->r->generation)
        return 0;
    uint32_t last = 0;
    for (unsigned i = 0; i < TRIES; i++) {
        t->key = t->next;
        uint32_t id = t->r->index[t->key];
        if (id == 0 || id == last)
            return 0;
        if (try_stack(t, id))
            return id;
        last = id;
    }
    return 0;
}

/* ---- taking it over ---- */

/* has_outermost tells whether the last stack has the outermost frame of this one, which it does not
 * have as a node. */
static bool has_outermost(const struct replay *r, const struct trial *t, uint32_t more) {
    for (uint32_t i = t->joined; i <= more; i++) {
        const struct replay_frame *f = outermost(r) - 1 - i;
        uint32_t inner = i - t->joined;
        if (inner >= t->n)
            return false;
        const struct replay_node *n = &r->nodes[t->nodes[t->n - 1 - inner]];
        if (f->sp != n->sp || f->ra != n->ra)
            return false;
    }
    return true;
}

/* put_node makes a node a frame of the last stack, before `to`. */
static inline void put_node(struct replay *r, struct replay_frame *to, uint32_t id) {
    const struct replay_node *n = &r->nodes[id];
    uint64_t rbp_out = (uintptr_t)&to[1].rbp;
    to->sp = n->sp;
    to->ra = n->ra;
    to->rbp = n->rbp;
    to->row = n->row;
    to->saved_at = n->saved_at == (uintptr_t)&r->nodes[n->outer].rbp ? rbp_out : n->saved_at;
    if (gm_unlikely((n->row & UNUSUAL) != 0))
        to->saved_at = saved_at(n->row, to + 1);
    r->placed[n->depth] = (uint16_t)id;
}

/* take puts the known stack in the place of the last one.  False: they have not even the outermost
 * frame in common. */
static inline bool take(struct trial *t, uint32_t site) {
    struct replay *r = t->r;
    uint32_t more = is_end(outermost(r)[-1].ra);
    if (gm_unlikely(t->joined <= more) && !has_outermost(r, t, more))
        return false;
    uint32_t common = t->joined, i = t->n;
    struct replay_frame *to = outermost(r) - common;
    for (; i != 0; i--, common++) { /* the same but for a register */
        const struct replay_node *n = &r->nodes[t->nodes[i - 1]];
        if (common == r->nremembered || to[-1].sp != n->sp || to[-1].ra != n->ra)
            break;
        put_node(r, --to, t->nodes[i - 1]);
    }
    for (; i != 0; i--) {
        put_node(r, --to, t->nodes[i - 1]);
        to->stamp = r->number + 1;
    }
    __atomic_store_n(&r->number, r->number + 1, __ATOMIC_RELAXED);
    r->nremembered = r->plain = r->nplaced = t->joined + t->n;
    r->total = r->nremembered - more;
    r->have = least(r->have, common - more);
    r->last =
        (struct replay_stack){.n = r->total, .known = r->have, .site = site, .total = r->total};
    return true;
}

#define DECIDE_AFTER 512
#define MIN_SLEEP    512
#define MAX_SLEEP    8192

/* decide lets the next captures not look for their stacks, if too few of the last have found them:
 * where each stack is new, looking would only cost.  Never for long, as a program may get to where
 * it pays. */
static gm_noinline void decide(struct replay_learning *l) {
    if (l->hits >= DECIDE_AFTER / 4)
        l->sleep = 0;
    else
        l->asleep = l->sleep = l->sleep == 0          ? MIN_SLEEP
                               : l->sleep < MAX_SLEEP ? 2 * l->sleep
                                                      : MAX_SLEEP;
    l->tries = l->hits = 0;
}

/* recall is a capture for stacks that are known by heart.  False: it has done nothing, for this is
 * none of them.  sure: as is_again has left it, but not NULL. */
static inline bool recall(struct replay *r, uint64_t fp, const struct replay_frame *sure) {
    if (!r->complete || r->crossed)
        return false;
    if (gm_unlikely(++r->learning.tries == DECIDE_AFTER))
        decide(&r->learning);
    struct trial t;
    t.r = r;
    t.sp = fp + 16;
    t.ra = stackmem_word(fp + 8);
    t.rbp = stackmem_word(fp);
    uint32_t id = find(&t, sure);
    r->learning.key = t.key;
    if (id == 0)
        return false;
    atomic_thread_fence(memory_order_acquire);
    if (r->generation != atomic_load_explicit(&codeobj_generation, memory_order_relaxed) ||
        !take(&t, r->nodes[id].site))
        return false;
    r->learning.hits++;
    return true;
}

gm_noinline void replay_recall_or_walk(struct replay *r, uint64_t fp, uint64_t *pcs, unsigned depth,
                                       struct replay_frame *sure) {
    r->learning.key = REPLAY_INDEX;
    if (r->learning.asleep != 0)
        r->learning.asleep--;
    else if (sure != NULL && recall(r, fp, sure))
        return;
    replay_walk(r, fp, pcs, depth, sure);
}
