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
 * Of most frames only the return address is to be compared: their code is not unloaded, and rbp
 * does not matter, or they leave it as it is.  The others are called hard.
 *
 * Only plain stacks are kept: not deep, on one stack of memory, no signal.  One is kept when it had
 * to be walked twice.  When there is no room for another one, all are forgotten: those that come
 * will soon be known again.
 */
#include <string.h>

#include "unwind/replay_private.h"

#define TRIES 3 /* stacks that one is compared with */

static_assert(offsetof(struct replay_node, saved_at) == offsetof(struct replay_frame, saved_at) &&
                  offsetof(struct replay_node, site) == offsetof(struct replay_frame, stamp),
              "a node begins as a frame does");
static_assert(REPLAY_KNOWN_FRAMES <= 64, "replay.hard has a bit for each");
static_assert(sizeof(((struct replay *)0)->nodes) <= UINT16_MAX, "a node's name has 16 bits");

/* node_at returns the node of that name, which is how far it is from the first one, in bytes: so it
 * is found without a multiplication. */
gm_inline struct replay_node *node_at(const struct replay *r, uint32_t name) {
    return (struct replay_node *)((uintptr_t)r->nodes + name);
}

static struct replay_kin *kin_of(struct replay *r, uint32_t name) {
    return &r->kin[name / sizeof(struct replay_node)];
}

/* all_same tells whether the words and the code of the frames from f on, to the last one, which
 * ends the stack, are what they were. */
static gm_noinline bool all_same(struct codeobj_seen *seen, struct replay_frame *f,
                                 const struct replay_frame *last) {
    for (;; f++) {
        f = skip_usual(f);
        if (f == last)
            return true;
        if (!is_checked(f) || !same_checked(seen, f))
            return false;
    }
}

/* joined_same is all_same for the so many outermost frames, which have these bits. */
gm_inline bool joined_same(const struct replay *r, struct codeobj_seen *seen, uint32_t joined,
                           uint64_t bits) {
    struct replay_frame *f = outermost(r) - joined;
    const struct replay_frame *last = outermost(r) - 1;
    if (gm_unlikely((r->hard & bits) > 1)) /* the outermost makes no step */
        return all_same(seen, f, last);
    while (f != last && gm_likely(stackmem_is(f[1].sp, -8, f[1].ra)))
        f++;
    return f == last;
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

/* forget_all frees the nodes.  What the last stack has been compared with there (see put_node) it
 * will not be any more. */
static void forget_all(struct replay *r) {
    for (struct replay_frame *f = outermost(r) - r->nremembered; f < outermost(r); f++) {
        if (f->saved_at - (uintptr_t)r->nodes < sizeof r->nodes)
            f->saved_at = (uintptr_t)&f[1].rbp;
    }
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
    for (uint32_t i = kin_of(r, outer)->inner; i != 0; i = kin_of(r, i)->next) {
        const struct replay_node *n = node_at(r, i);
        if (n->sp == f->sp && n->ra == f->ra && n->row == f->row && is_rbp(f, n->rbp))
            return i;
    }
    if (r->learning.nnodes == REPLAY_NODES)
        return 0;
    uint32_t id = r->learning.nnodes++ * (uint32_t)sizeof *r->nodes;
    const struct replay_node *out = node_at(r, outer);
    bool compared = row_rbp(f->row) != 0 && (f[1].row & REPLAY_RBP) != 0;
    *node_at(r, id) = (struct replay_node){.sp = f->sp,
                                           .ra = f->ra,
                                           .rbp = f->rbp,
                                           .row = f->row,
                                           .saved_at = compared ? f[1].sp - 8 * row_rbp(f->row)
                                                                : (uintptr_t)&out->rbp,
                                           .outer = (uint16_t)outer,
                                           .depth = outer != 0 ? (uint8_t)(out->depth + 1) : 0,
                                           .hard = compared || (f->row & UNUSUAL) != 0};
    *kin_of(r, id) = (struct replay_kin){.inner = 0, .next = kin_of(r, outer)->inner};
    kin_of(r, outer)->inner = (uint16_t)id;
    return id;
}

/* place gives the frames that have none their nodes.  False: no room. */
static bool place(struct replay *r) {
    uint32_t id = r->nplaced != 0 ? r->placed[r->nplaced - 1] : 0;
    while (r->nplaced < r->nremembered) {
        id = node_under(r, id, outermost(r) - 1 - r->nplaced);
        if (id == 0)
            return false;
        if (!node_at(r, id)->hard)
            r->hard &= ~(UINT64_C(1) << r->nplaced);
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
    node_at(r, id)->site = site;
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
    uint32_t id;          /* its node */
    uint32_t n;           /* frames that the last stack does not have */
    uint32_t edge;        /* the outermost of these, 0: n is */
    uint32_t joined;      /* outer frames that it has, by their nodes */
    uint64_t bits;        /* theirs, in replay.hard */
    bool hard;            /* one of those n is hard */
};

/* another_key returns where those stacks are in the index that differ at sp from the one of a key:
 * there is this word. */
static inline uint32_t another_key(uint32_t key, uint64_t sp, uint64_t word) {
    uint64_t h = (sp ^ word << 4 ^ key) * 0x9e3779b97f4a7c15u;
    return h >> 32 & (REPLAY_INDEX - 1);
}

/* key_outside is that for a step outwards by the row, to a frame at sp, and with its flags.  The
 * words can be read. */
static gm_noinline uint32_t key_outside(uint32_t key, uint64_t row, uint64_t sp, uint64_t flags) {
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

/* differs notes at the node n of a stack that is tried where the next one is. */
static inline bool differs(struct trial *t, const struct replay_node *n,
                           const struct replay_node *out) {
    t->next = key_outside(t->key, n->row, out->sp, out->row);
    return false;
}

/* try_stack compares a stack, from the inside outwards.  On a difference t->next is where the next
 * one to be tried is, or this one.  What does not change is read once: the comparisons are said to
 * read all memory.  Outwards sp grows (is_plain), so that the words are not below the stack that is
 * in use. */
static inline bool try_stack(struct trial *t, uint32_t id) {
    struct replay *r = t->r;
    const struct replay_node *n = node_at(r, id);
    const uint64_t hi = r->memory.hi;
    const uint32_t nplaced = r->nplaced;
    uint32_t edge = 0;
    struct codeobj_seen seen;
    seen.n = 0;
    t->id = id;
    t->hard = false;
    if (!same_start(t, n))
        return false;
    uint32_t depth = n->depth;
    for (; depth >= nplaced || r->placed[depth] != id; depth--) {
        edge = id;
        if (gm_unlikely(depth == 0)) { /* the outermost */
            t->edge = edge;
            t->n = node_at(r, t->id)->depth + 1u;
            t->joined = 0;
            t->bits = 0;
            return true;
        }
        id = n->outer;
        const struct replay_node *out = node_at(r, id);
        if (gm_unlikely(out->sp > hi))
            return false;
        if (gm_unlikely(n->hard)) {
            t->hard = true;
            if (!same_code(&seen, n))
                return false;
            if (!stackmem_is(n->saved_at, 0, out->rbp))
                return differs(t, n, out);
        }
        if (gm_unlikely(!stackmem_is(out->sp, -8, out->ra)))
            return differs(t, n, out);
        n = out;
    }
    t->edge = edge;
    t->n = node_at(r, t->id)->depth - depth;
    t->joined = depth + 1;
    t->bits = (UINT64_C(2) << depth) - 1;
    return joined_same(r, &seen, t->joined, t->bits);
}

/* find returns the innermost node of the known stack that is the present one; 0: none. */
static inline uint32_t find(struct trial *t, const struct replay_frame *sure) {
    t->next = another_key(0, t->sp, t->ra);
    if (sure != t->r->frames && (sure->row & UNUSUAL) == 0)
        t->next = key_outside(t->next, sure->row, sure[1].sp, sure[1].row);
    t->key = t->next;
    if (t->r->learning.generation != t->r->generation)
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
 * have as a node: of this one `joined` frames are the last one's, and n nodes are not. */
static gm_noinline bool has_outermost(const struct replay *r, const uint16_t *nodes, uint32_t n,
                                      uint32_t joined, uint32_t more) {
    for (uint32_t i = joined; i <= more; i++) {
        const struct replay_frame *f = outermost(r) - 1 - i;
        uint32_t inner = i - joined;
        if (inner >= n)
            return false;
        const struct replay_node *node = node_at(r, nodes[n - 1 - inner]);
        if (f->sp != node->sp || f->ra != node->ra)
            return false;
    }
    return true;
}

/* put_node makes a node a frame of the last stack, before `to`.  Where rbp is not to be compared
 * there, it is with the outer node's rbp, which is that of the next frame outwards as long as the
 * nodes are kept. */
static inline void put_node(struct replay *r, struct replay_frame *to, uint32_t id) {
    const struct replay_node *n = node_at(r, id);
    memcpy(to, n, offsetof(struct replay_frame, stamp));
    r->placed[n->depth] = (uint16_t)id;
}

/* put_hard is put_node for any node, when those outside of it have been put. */
static void put_hard(struct replay *r, struct replay_frame *to, uint32_t id) {
    put_node(r, to, id);
    if (!node_at(r, id)->hard)
        to->saved_at = (uintptr_t)&to[1].rbp;
    if ((to->row & UNUSUAL) != 0)
        to->saved_at = saved_at(to->row, to + 1);
}

/* put_carefully makes the stack the last one where some of its frames are hard, or may be there
 * already and differ in a register, or where it is another one to the outermost frames.  Returns
 * how many outer frames both have; ANOTHER: not even the outermost, and nothing was done. */
#define ANOTHER UINT32_MAX
static gm_noinline uint32_t put_carefully(struct replay *r, uint32_t id, uint32_t n,
                                          uint32_t joined, uint32_t more) {
    uint16_t nodes[REPLAY_KNOWN_FRAMES] = {0}; /* innermost first */
    for (uint32_t i = 0; i < n; i++, id = node_at(r, id)->outer)
        nodes[i] = (uint16_t)id;
    if (joined <= more && !has_outermost(r, nodes, n, joined, more))
        return ANOTHER;
    uint32_t common = joined, i = n;
    struct replay_frame *to = outermost(r) - joined;
    for (; i != 0; i--, common++) { /* the same but for a register */
        const struct replay_node *node = node_at(r, nodes[i - 1]);
        if (common == r->nremembered || to[-1].sp != node->sp || to[-1].ra != node->ra)
            break;
        put_hard(r, --to, nodes[i - 1]);
    }
    for (; i != 0; i--) {
        put_hard(r, --to, nodes[i - 1]);
        to->stamp = r->number + 1;
    }
    return common;
}

/* put_easily does so where none of that is so: from the inside outwards.  The rbp of the frame that
 * is there may not be its node's, if it does not matter. */
static inline uint32_t put_easily(struct replay *r, uint32_t id, uint32_t n, uint32_t joined) {
    const uint64_t number = r->number + 1;
    struct replay_frame *there = outermost(r) - joined;
    for (struct replay_frame *to = there - n; to != there; to++) {
        put_node(r, to, id);
        to->stamp = number;
        id = node_at(r, id)->outer;
    }
    if (gm_likely(n != 0))
        there[-1].saved_at = (uintptr_t)&there->rbp;
    return joined;
}

/* put_stack is one of the two. */
static inline uint32_t put_stack(const struct trial *t, uint32_t more) {
    struct replay *r = t->r;
    const struct replay_frame *f = outermost(r) - t->joined - 1;
    const struct replay_node *edge = node_at(r, t->edge);
    if (gm_unlikely(t->hard || t->joined <= more) ||
        gm_unlikely(f->sp == edge->sp && f->ra == edge->ra))
        return put_carefully(r, t->id, t->n, t->joined, more);
    return put_easily(r, t->id, t->n, t->joined);
}

/* take puts the known stack in the place of the last one.  False: they have not even the outermost
 * frame in common. */
static inline bool take(const struct trial *t, uint32_t site) {
    struct replay *r = t->r;
    uint32_t more = is_end(outermost(r)[-1].ra);
    uint32_t common = put_stack(t, more);
    if (gm_unlikely(common == ANOTHER))
        return false;
    r->hard = t->hard ? r->hard | ~t->bits : r->hard & t->bits;
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

/* looks tells whether this capture is to look for its stack among those known by heart. */
static inline bool looks(struct replay *r, const struct replay_frame *sure) {
    if (gm_unlikely(r->learning.asleep != 0)) {
        r->learning.asleep--;
        return false;
    }
    if (gm_unlikely(sure == NULL) || !r->complete || r->crossed)
        return false;
    if (gm_unlikely(++r->learning.tries == DECIDE_AFTER))
        decide(&r->learning);
    return true;
}

gm_noinline bool replay_recall(struct replay *r, uint64_t fp, const struct replay_frame *sure) {
    if (!looks(r, sure)) {
        r->learning.key = REPLAY_INDEX;
        return false;
    }
    struct trial t;
    t.r = r;
    t.sp = fp + 16;
    t.ra = stackmem_word(fp + 8);
    t.rbp = stackmem_word(fp);
    uint32_t id = find(&t, sure);
    atomic_thread_fence(memory_order_acquire);
    if (gm_unlikely(id == 0) ||
        r->generation != atomic_load_explicit(&codeobj_generation, memory_order_relaxed) ||
        !take(&t, node_at(r, id)->site)) {
        r->learning.key = t.key;
        return false;
    }
    r->learning.hits++;
    return true;
}
