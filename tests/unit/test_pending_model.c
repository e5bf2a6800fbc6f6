/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The protocol of remote frees (the top comment of lib/heap/mspan.c), checked in every interleaving
 * of its steps.
 *
 * This is a model, not the code: a few threads, each with an mcache, one mcentral, and one or two
 * spans of one or two slots.  A thread allocates and frees in its own spans, frees whatever lives
 * in others', sweeps, drains its list, gives spans to the mcentral and takes them, drains the
 * mcentral's list and sweeps its spans, frees spans that are empty and uses their headers again,
 * for small spans or large ones.  Once, if asked for, a thread forks while the others stand
 * anywhere: it goes on as the child's only thread, adopts what the others had, and new threads come
 * beside it.
 *
 * Who acts next, and what, is tried in every way; a state that has been seen before is not looked
 * into again, so the search ends although nobody in it does.  Each step is one memory operation, or
 * what a lock makes one.  All see them in one order: the operations on marks, `pending` and `owner`
 * that the argument needs are seq_cst in the code, and what the model takes to be one step (a push,
 * the taking of a list) is one read-modify-write there.  free_bits and the spans' links are plain:
 * they belong to one thread at a time, and pass from one to the next by a lock, or by a push
 * (release) and a taking (acquire).
 *
 * When all are at rest:
 *
 *      a slot that is marked is in a span that is on a list which somebody drains, or is known to
 *      the mcentral as unswept; and a span whose `pending` is set is on such a list.
 *
 * and never is a span pushed that is on a list already, freed with marks, or swept of a slot that
 * is free already (a double free that is none).  Rules of the protocol are broken one at a time to
 * see that the search would notice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sanitized.h"

enum mutant {
    AS_WRITTEN,
    D1_AFTER_D2,         /* the flag is cleared after the sweep */
    NO_RECHECK,          /* F5 does not read the owner again */
    LARGE_HAS_LIST,      /* F4 pushes on the list of the large spans' owner, which nobody drains */
    NOT_HANDED_ON,       /* D2 drops a span that has another owner */
    CHILD_KEEPS_FLAGS,   /* after a fork the flags of spans are believed */
    CHILD_NOTES_NOTHING, /* spans with marks are not looked for after a fork */
    CHILD_SWEEPS_AGAIN,  /* a torn sweep is not finished first */
};

/* What is searched. */
static struct {
    unsigned nthreads, nspans, nslots;
    int forks;
    enum mutant mutant;
} world;

enum { MAX_THREADS = 3, MAX_SPANS = 2 };

/* An owner: a thread's mcache is k + 1. */
enum { NOBODY = 0, MCENTRAL = 8, LARGE = 9 };

/* Where a thread stands.  The next step has the name that it has in mspan.c. */
enum pc {
    REST,
    F2,
    F3,
    F4,
    F4_PUSH,
    F5,
    F5_RECHECK,
    DRAIN, /* takes the next span in hand, or ends */
    D1,
    D2,
    SWEEP_READ,
    SWEEP_FOLD,
    SWEEP_CLEAR,
    SWEPT,
    GIVE,       /* waits for the mcentral's lock */
    AT_CENTRAL, /* holds the mcentral's lock, has drained its list */
    REBUILD,    /* adopts orphans' spans */
    NOTE,       /* looks for spans with marks */
};

/* What a sweep is for. */
enum then { THEN_REST, THEN_DRAIN, THEN_GIVE, THEN_TAKE, THEN_KEEP };

struct thread {
    uint8_t pc;
    uint8_t span;
    uint8_t owner; /* F4: whom it read; D2: whose list it drains */
    uint8_t marks; /* a sweep's reading */
    uint8_t then;
    uint8_t hand; /* spans of a list that it has taken */
};

struct span {
    uint8_t free_bits;
    uint8_t free_marks;
    uint8_t owner;
    uint8_t pending;
    uint8_t list; /* owner of the list that it is on, 0: on none */
    uint8_t unswept;
};

/* All of it; no padding, since states are compared as bytes. */
struct state {
    struct thread t[MAX_THREADS];
    struct span s[MAX_SPANS];
    uint8_t lock;    /* of the mcentral: the thread + 1 */
    uint8_t orphans; /* bit k: mcache of thread k, lost in a fork, is not adopted yet */
    uint8_t rebuild; /* spans that the adopter is still to look at; then again, for marks */
    uint8_t adopter; /* the thread + 1 */
    uint8_t forked;
    uint8_t broken;
};

static uint8_t all_slots(void) {
    return (uint8_t)((1u << world.nslots) - 1);
}

/* ---- notes -------------------------------------------------------------------------------- */

/* Whether a marker may push on the owner's list. */
static int keeps_list(uint8_t owner) {
    return owner != NOBODY && (owner != LARGE || world.mutant == LARGE_HAS_LIST);
}

/* Back to what the thread was about when it noted a span. */
static uint8_t after_note(const struct state *x, unsigned k) {
    if (x->t[k].then == THEN_DRAIN)
        return DRAIN;
    return x->adopter == k + 1 ? NOTE : REST;
}

static void step_note(struct state *x, unsigned k) {
    struct thread *t = &x->t[k];
    struct span *s = &x->s[t->span];
    switch (t->pc) {
    case F2:
        t->pc = s->pending ? after_note(x, k) : F3;
        break;
    case F3:
        t->pc = s->pending ? after_note(x, k) : F4;
        s->pending = 1;
        break;
    case F4:
        t->owner = s->owner;
        t->pc = keeps_list(t->owner) ? F4_PUSH : F5;
        break;
    case F4_PUSH:
        x->broken |= s->list != 0;
        s->list = t->owner;
        t->pc = after_note(x, k);
        break;
    case F5:
        s->pending = 0;
        t->pc = world.mutant == NO_RECHECK ? after_note(x, k) : F5_RECHECK;
        break;
    default: /* F5_RECHECK */
        t->pc = keeps_list(s->owner) ? F2 : after_note(x, k);
        break;
    }
}

/* ---- sweeps and drains -------------------------------------------------------------------- */

static void swept(struct state *x, unsigned k) {
    struct thread *t = &x->t[k];
    struct span *s = &x->s[t->span];
    int empty = s->free_bits == all_slots();
    switch (t->then) {
    case THEN_DRAIN:
        if (world.mutant == D1_AFTER_D2)
            s->pending = 0;
        t->pc = DRAIN;
        break;
    case THEN_GIVE: /* mcentral_uncache_span; an empty one goes to the heap */
        x->broken |= empty && s->free_marks != 0;
        if (empty)
            s->owner = NOBODY;
        t->pc = !empty ? GIVE : x->adopter == k + 1 ? REBUILD : REST;
        break;
    case THEN_TAKE: /* mcentral_cache_span */
        s->owner = (uint8_t)(k + 1);
        x->lock = 0;
        t->pc = REST;
        break;
    case THEN_KEEP: /* mcentral_sweep */
        x->broken |= empty && s->free_marks != 0;
        if (empty)
            s->owner = NOBODY;
        t->pc = AT_CENTRAL;
        break;
    default:
        t->pc = REST;
        break;
    }
}

static void step_sweep(struct state *x, unsigned k) {
    struct thread *t = &x->t[k];
    struct span *s = &x->s[t->span];
    switch (t->pc) {
    case SWEEP_READ:
        t->marks = s->free_marks;
        t->pc = t->marks == 0 ? SWEPT : SWEEP_FOLD;
        break;
    case SWEEP_FOLD:
        x->broken |= (s->free_bits & t->marks) != 0;
        s->free_bits |= t->marks;
        t->pc = SWEEP_CLEAR;
        break;
    case SWEEP_CLEAR:
        s->free_marks &= (uint8_t)~t->marks;
        t->pc = SWEPT;
        break;
    default:
        swept(x, k);
        break;
    }
}

static void step_drain(struct state *x, unsigned k) {
    struct thread *t = &x->t[k];
    struct span *s = &x->s[t->span];
    switch (t->pc) {
    case DRAIN:
        if (t->hand == 0) {
            t->pc = x->lock == k + 1 ? AT_CENTRAL : REST;
            t->then = THEN_REST;
            break;
        }
        t->span = (uint8_t)__builtin_ctz(t->hand);
        t->hand &= (uint8_t)(t->hand - 1);
        t->then = THEN_DRAIN;
        t->pc = world.mutant == D1_AFTER_D2 ? D2 : D1;
        break;
    case D1:
        s->pending = 0;
        t->pc = D2;
        break;
    default: /* D2.  Whose list it is follows from the lock, as t->owner is F4's, too. */
        t->owner = x->lock == k + 1 ? MCENTRAL : (uint8_t)(k + 1);
        if (s->owner != t->owner) {
            if (world.mutant == D1_AFTER_D2)
                s->pending = 0;
            t->pc = world.mutant == NOT_HANDED_ON ? DRAIN : F2;
        } else if (t->owner != MCENTRAL) {
            t->pc = SWEEP_READ;
        } else { /* the mcentral only notes it, and sweeps when it takes it */
            s->unswept = 1;
            if (world.mutant == D1_AFTER_D2)
                s->pending = 0;
            t->pc = DRAIN;
        }
        break;
    }
}

static void begin_drain(struct state *x, unsigned k, uint8_t owner) {
    struct thread *t = &x->t[k];
    for (unsigned i = 0; i < world.nspans; i++)
        if (x->s[i].list == owner) {
            x->s[i].list = 0;
            t->hand |= (uint8_t)(1u << i);
        }
    t->pc = DRAIN;
}

static int begin_sweep(struct thread *t, unsigned span, enum then then) {
    t->span = (uint8_t)span;
    t->then = (uint8_t)then;
    t->pc = SWEEP_READ;
    return 1;
}

/* ---- fork --------------------------------------------------------------------------------- */

/* The handlers hold the mcentral's lock; the others stand where they are, for ever. */
static int begin_fork(struct state *x, unsigned k) {
    if (!world.forks || x->forked || x->lock != 0)
        return 0;
    x->forked = 1;
    x->adopter = (uint8_t)(k + 1);
    for (unsigned i = 0; i < world.nthreads; i++)
        if (i != k) {
            x->orphans |= (uint8_t)(1u << i);
            x->t[i] = (struct thread){.pc = REST}; /* a new thread: it does not own what is there */
        }
    for (unsigned i = 0; i < world.nspans; i++) {
        x->s[i].list = 0;
        x->s[i].pending = world.mutant == CHILD_KEEPS_FLAGS ? x->s[i].pending : 0;
    }
    x->rebuild = (uint8_t)((1u << world.nspans) - 1);
    x->t[k].pc = REBUILD;
    return 1;
}

static int is_orphans(const struct state *x, const struct span *s) {
    return s->owner != NOBODY && s->owner <= world.nthreads && (x->orphans >> (s->owner - 1) & 1);
}

static void step_rebuild(struct state *x, unsigned k) {
    struct thread *t = &x->t[k];
    if (x->rebuild == 0) {
        x->rebuild = (uint8_t)((1u << world.nspans) - 1);
        t->pc = NOTE;
        return;
    }
    unsigned i = (unsigned)__builtin_ctz(x->rebuild);
    x->rebuild &= (uint8_t)(x->rebuild - 1);
    if (!is_orphans(x, &x->s[i]))
        return;
    if (world.mutant != CHILD_SWEEPS_AGAIN)
        x->s[i].free_marks &= (uint8_t)~x->s[i].free_bits;
    begin_sweep(t, i, THEN_GIVE);
}

static void step_note_all(struct state *x, unsigned k) {
    struct thread *t = &x->t[k];
    t->then = THEN_REST;
    if (x->rebuild == 0) {
        x->orphans = x->adopter = 0;
        t->pc = REST;
        return;
    }
    unsigned i = (unsigned)__builtin_ctz(x->rebuild);
    x->rebuild &= (uint8_t)(x->rebuild - 1);
    const struct span *s = &x->s[i];
    if (s->owner == NOBODY || s->owner == LARGE || s->free_marks == 0 ||
        world.mutant == CHILD_NOTES_NOTHING)
        return;
    t->span = (uint8_t)i;
    t->pc = F2;
}

/* ---- beginnings --------------------------------------------------------------------------- */

/* Remote: F1. */
static int begin_free(struct state *x, unsigned k, unsigned span, unsigned slot) {
    struct thread *t = &x->t[k];
    struct span *s = &x->s[span];
    uint8_t bit = (uint8_t)(1u << slot);
    if (slot >= world.nslots || s->owner == NOBODY || s->owner == LARGE ||
        ((s->free_bits | s->free_marks) & bit) != 0)
        return 0;
    if (s->owner == k + 1 && (x->orphans >> k & 1) == 0) { /* local */
        s->free_bits |= bit;
        return 1;
    }
    s->free_marks |= bit;
    t->span = (uint8_t)span;
    t->pc = F2;
    return 1;
}

static int use_header(struct span *s, uint8_t to) {
    if (s->owner != NOBODY)
        return 0;
    s->free_bits = all_slots();
    s->free_marks = 0;
    s->unswept = 0;
    s->owner = to;
    return 1;
}

enum { CHOICES_A_SPAN = 10, NCHOICES = MAX_SPANS * CHOICES_A_SPAN + 3 };

/* What a thread may begin to do with a span; 0: not now. */
static int begin_with(struct state *x, unsigned k, unsigned i, unsigned choice) {
    struct span *s = &x->s[i];
    int mine = s->owner == k + 1 && (x->orphans >> k & 1) == 0;
    switch (choice) {
    case 0:
    case 1:
        return begin_free(x, k, i, choice);
    case 2: /* allocate */
    case 3:
        if (!mine || (s->free_bits >> (choice - 2) & 1) == 0)
            return 0;
        s->free_bits &= (uint8_t) ~(1u << (choice - 2));
        return 1;
    case 4: /* sweep the current span */
        return mine && begin_sweep(&x->t[k], i, THEN_REST);
    case 5: /* give it away */
        return mine && begin_sweep(&x->t[k], i, THEN_GIVE);
    case 6:
        return (x->orphans >> k & 1) == 0 && use_header(s, (uint8_t)(k + 1));
    case 7:
        return use_header(s, LARGE);
    case 8: /* free a large object */
        if (s->owner != LARGE)
            return 0;
        s->owner = NOBODY;
        return 1;
    default:
        return 0;
    }
}

static int begin(struct state *x, unsigned k, unsigned choice) {
    unsigned i = choice / CHOICES_A_SPAN;
    if (i < MAX_SPANS)
        return i < world.nspans && begin_with(x, k, i, choice % CHOICES_A_SPAN);
    switch (choice - MAX_SPANS * CHOICES_A_SPAN) {
    case 0:
        if (x->orphans >> k & 1)
            return 0;
        begin_drain(x, k, (uint8_t)(k + 1));
        return 1;
    case 1: /* the mcentral's lock */
        if (x->lock != 0)
            return 0;
        x->lock = (uint8_t)(k + 1);
        begin_drain(x, k, MCENTRAL);
        return 1;
    default:
        return begin_fork(x, k);
    }
}

/* With the mcentral's lock. */
static int at_central(struct state *x, unsigned k, unsigned choice) {
    struct thread *t = &x->t[k];
    unsigned i = choice / 2;
    if (choice == 2 * MAX_SPANS) {
        x->lock = 0;
        t->pc = REST;
        return 1;
    }
    if (choice > 2 * MAX_SPANS || i >= world.nspans || x->s[i].owner != MCENTRAL)
        return 0;
    struct span *s = &x->s[i];
    if (s->unswept) { /* sweep it, to take it or for empty ones */
        if (choice % 2 == 0 && (x->orphans >> k & 1) != 0)
            return 0;
        s->unswept = 0;
        return begin_sweep(t, i, choice % 2 == 0 ? THEN_TAKE : THEN_KEEP);
    }
    if (choice % 2 != 0 || s->free_bits == 0 || (x->orphans >> k & 1) != 0)
        return 0;
    s->owner = (uint8_t)(k + 1);
    x->lock = 0;
    t->pc = REST;
    return 1;
}

static int step_give(struct state *x, unsigned k) {
    struct thread *t = &x->t[k];
    if (x->lock != 0)
        return 0;
    x->s[t->span].owner = MCENTRAL;
    x->s[t->span].unswept = 0;
    t->pc = x->adopter == k + 1 ? REBUILD : REST;
    return 1;
}

/* What will not be read again is cleared, so that states that differ in it only are one. */
static void forget(struct state *x, struct thread *t) {
    if (t->pc == REST)
        *t = (struct thread){.pc = REST};
    if (t->pc != SWEEP_FOLD && t->pc != SWEEP_CLEAR)
        t->marks = 0;
    if (t->pc != F4_PUSH)
        t->owner = 0;
    for (unsigned i = 0; i < world.nspans; i++) {
        struct span *s = &x->s[i];
        if (s->owner == NOBODY || s->owner == LARGE)
            s->free_bits = s->free_marks = 0;
        if (s->owner != MCENTRAL)
            s->unswept = 0;
    }
}

/* next makes one step of thread k in x.  False: there is no such step. */
static int next(struct state *x, unsigned k, unsigned choice) {
    struct thread *t = &x->t[k];
    int done = 1;
    if (t->pc == REST)
        done = begin(x, k, choice);
    else if (t->pc == AT_CENTRAL)
        done = at_central(x, k, choice);
    else if (choice != 0)
        return 0;
    else if (t->pc == GIVE)
        done = step_give(x, k);
    else if (t->pc <= F5_RECHECK)
        step_note(x, k);
    else if (t->pc <= D2)
        step_drain(x, k);
    else if (t->pc <= SWEPT)
        step_sweep(x, k);
    else if (t->pc == REBUILD)
        step_rebuild(x, k);
    else
        step_note_all(x, k);
    forget(x, t);
    return done;
}

static int is_right(const struct state *x) {
    if (x->broken)
        return 0;
    for (unsigned k = 0; k < world.nthreads; k++)
        if (x->t[k].pc != REST)
            return 1;
    for (unsigned i = 0; i < world.nspans; i++) {
        const struct span *s = &x->s[i];
        int drained = s->list != 0 && s->list != LARGE;
        if (s->free_marks != 0 && s->owner != NOBODY && s->owner != LARGE && !drained &&
            !(s->owner == MCENTRAL && s->unswept))
            return 0;
        if (s->pending && !drained)
            return 0;
    }
    return 1;
}

/* ---- the search --------------------------------------------------------------------------- */

/* States seen, a hash table that doubles; and those of them that are still to be looked into. */
struct search {
    struct state *seen;
    uint8_t *used;
    struct state *todo;
    size_t cap, nseen, ntodo;
};

static size_t hash(const struct state *x) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *x; i++)
        h = (h ^ ((const uint8_t *)x)[i]) * 0x100000001b3u;
    return (size_t)((h ^ h >> 32) * 0x9e3779b97f4a7c15u >> 20);
}

static int insert(struct search *q, const struct state *x) {
    size_t i = hash(x) % q->cap;
    while (q->used[i] && memcmp(&q->seen[i], x, sizeof *x) != 0)
        i = (i + 1) % q->cap;
    if (q->used[i])
        return 0;
    q->used[i] = 1;
    q->seen[i] = *x;
    return 1;
}

static void grow(struct search *q) {
    struct search old = *q;
    q->cap = old.cap == 0 ? 1 << 12 : old.cap * 2;
    q->seen = calloc(q->cap, sizeof *q->seen);
    q->used = calloc(q->cap, 1);
    q->todo = realloc(old.todo, q->cap * sizeof *q->todo);
    assert_true(q->seen != NULL && q->used != NULL && q->todo != NULL);
    for (size_t i = 0; i < old.cap; i++)
        if (old.used[i])
            insert(q, &old.seen[i]);
    free(old.seen);
    free(old.used);
}

static void note_state(struct search *q, const struct state *x) {
    if (q->nseen * 3 >= q->cap * 2)
        grow(q);
    if (!insert(q, x))
        return;
    q->nseen++;
    q->todo[q->ntodo++] = *x;
}

/* explore returns whether every state that can be reached is right. */
static int explore(enum mutant m, size_t *ret_nstates) {
    struct search q = {0};
    world.mutant = m;
    struct state first = {0};
    note_state(&q, &first);
    int right = 1;
    while (right && q.ntodo > 0) {
        struct state x = q.todo[--q.ntodo];
        right = is_right(&x);
        for (unsigned k = 0; right && k < world.nthreads; k++)
            for (unsigned choice = 0; choice < NCHOICES; choice++) {
                struct state to = x;
                if (next(&to, k, choice))
                    note_state(&q, &to);
            }
    }
    *ret_nstates = q.nseen;
    free(q.seen);
    free(q.used);
    free(q.todo);
    return right;
}

/* ---- tests -------------------------------------------------------------------------------- */

static void set_world(unsigned nthreads, unsigned nspans, unsigned nslots, int forks) {
    world.nthreads = nthreads;
    world.nspans = nspans;
    world.nslots = nslots;
    world.forks = forks;
}

static void expect_right(size_t least) {
    size_t n;
    assert_true(explore(AS_WRITTEN, &n));
    print_message("%u threads, %u spans, %u slots, %s: %zu states\n", world.nthreads, world.nspans,
                  world.nslots, world.forks ? "a fork" : "no fork", n);
    assert_true(n > least); /* the threads do get into each other's way */
}

/* Larger worlds take some seconds and memory: GOMALLOC_TEST_ROUNDS asks for them. */
static int at_length(void) {
    return getenv("GOMALLOC_TEST_ROUNDS") != NULL;
}

static void no_mark_is_lost_in_one_span(void **state) {
    (void)state;
    set_world(3, 1, 1, 0);
    expect_right(10000);
    if (!SANITIZED) {
        set_world(2, 1, 2, 0);
        expect_right(10000);
    }
    if (at_length()) {
        set_world(3, 1, 2, 0);
        expect_right(100000);
    }
}

static void no_mark_is_lost_in_two_spans(void **state) {
    (void)state;
    set_world(2, 2, 1, 0);
    if (!SANITIZED)
        expect_right(100000);
}

static void no_mark_is_lost_in_a_child(void **state) {
    (void)state;
    set_world(2, 1, 1, 1);
    expect_right(1000);
    set_world(3, 1, 1, 1);
    if (!SANITIZED)
        expect_right(100000);
    set_world(2, 2, 1, 1);
    if (at_length())
        expect_right(100000);
}

/* Each rule, broken, is noticed in one of the worlds. */
static void a_rule_that_is_broken_is_noticed(void **state) {
    (void)state;
    size_t n;
    set_world(3, 1, 1, 0);
    assert_false(explore(D1_AFTER_D2, &n));
    assert_false(explore(NO_RECHECK, &n));
    assert_false(explore(LARGE_HAS_LIST, &n));
    assert_false(explore(NOT_HANDED_ON, &n));
    set_world(2, 1, 2, 1);
    assert_false(explore(CHILD_KEEPS_FLAGS, &n));
    assert_false(explore(CHILD_NOTES_NOTHING, &n));
    assert_false(explore(CHILD_SWEEPS_AGAIN, &n));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_mark_is_lost_in_one_span),
        cmocka_unit_test(no_mark_is_lost_in_two_spans),
        cmocka_unit_test(no_mark_is_lost_in_a_child),
        cmocka_unit_test(a_rule_that_is_broken_is_noticed),
    };
    return cmocka_run_group_tests_name("pending_model", tests, NULL, NULL);
}
